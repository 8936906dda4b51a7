//! What the node and its containers use: Prometheus text and the summary of `/stats/summary`.
//!
//! CPU is time spent inside guests, memory what their memories and tables hold.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::answer;
use crate::pod::Workers;
use crate::runtime::Usage;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A running container and what it uses.
struct Used {
    namespace: String,
    pod: String,
    uid: String,
    container: Arc<str>,
    usage: Usage,
}

fn used(workers: &Workers) -> Vec<Used> {
    let mut all = Vec::new();
    for shared in workers.all() {
        let guests = shared.guests();
        for slot in guests.iter() {
            let Some(live) = &slot.live else { continue };
            all.push(Used {
                namespace: shared.key.namespace.clone(),
                pod: shared.key.name.clone(),
                uid: shared.uid.clone(),
                container: slot.name.clone(),
                usage: live.usage(),
            });
        }
    }
    all.sort_by(|a, b| (&a.namespace, &a.pod, &a.container).cmp(&(&b.namespace, &b.pod, &b.container)));
    all
}

/// `/metrics`: how many of what.
pub async fn node(State(workers): State<Arc<Workers>>) -> Response<Body> {
    let running = used(&workers).len();
    let pods = workers.all().len();
    let text = format!(
        "# HELP kubelet_running_pods Number of pods that this node has\n\
         # TYPE kubelet_running_pods gauge\n\
         kubelet_running_pods {pods}\n\
         # HELP kubelet_running_containers Number of containers currently running\n\
         # TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"running\"}} {running}\n"
    );
    answer(StatusCode::OK, TEXT, text)
}

/// `/metrics/resource`: what each container, pod and the node use.
pub async fn resource(State(workers): State<Arc<Workers>>) -> Response<Body> {
    answer(StatusCode::OK, TEXT, resource_text(&used(&workers)))
}

fn resource_text(used: &[Used]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Usage) -> String| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for Used { namespace, pod, container, usage, .. } in used {
            let value = value(usage);
            let _ =
                writeln!(text, "{name}{{container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"}} {value}");
        }
    };
    let cpu = |usage: &Usage| format!("{:.6}", usage.cpu_time.as_secs_f64());
    let memory = |usage: &Usage| usage.memory_bytes.to_string();
    family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container", &cpu);
    family("container_memory_working_set_bytes", "gauge", "Current working set of the container", &memory);
    let total: f64 = used.iter().map(|each| each.usage.cpu_time.as_secs_f64()).sum();
    let bytes: u64 = used.iter().map(|each| each.usage.memory_bytes).sum();
    let _ = writeln!(text, "# HELP node_cpu_usage_seconds_total Cumulative cpu time consumed by the node's containers");
    let _ = writeln!(text, "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {total:.6}");
    let _ = writeln!(text, "# HELP node_memory_working_set_bytes Current working set of the node's containers");
    let _ = writeln!(text, "# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes {bytes}");
    text
}

/// `/stats/summary`. Source: the kubelet's `stats/v1alpha1.Summary`, as far as it has a meaning here.
pub async fn summary(State(workers): State<Arc<Workers>>) -> Response<Body> {
    let now = workers.host().clock.wall().to_string();
    let used = used(&workers);
    let usage = |usage: &Usage| {
        let nanos = u64::try_from(usage.cpu_time.as_nanos()).unwrap_or(u64::MAX);
        let memory = json!({"time": now, "usageBytes": usage.memory_bytes, "workingSetBytes": usage.memory_bytes});
        (json!({"time": now, "usageCoreNanoSeconds": nanos}), memory)
    };
    let mut total = Usage::default();
    let mut pods: Vec<Value> = Vec::new();
    for of_pod in used.chunk_by(|a, b| a.uid == b.uid) {
        let mut pod_total = Usage::default();
        let containers: Vec<Value> = of_pod
            .iter()
            .map(|each| {
                pod_total.cpu_time += each.usage.cpu_time;
                pod_total.memory_bytes += each.usage.memory_bytes;
                let (cpu, memory) = usage(&each.usage);
                json!({"name": &*each.container, "cpu": cpu, "memory": memory})
            })
            .collect();
        total.cpu_time += pod_total.cpu_time;
        total.memory_bytes += pod_total.memory_bytes;
        let (cpu, memory) = usage(&pod_total);
        let reference = json!({"name": of_pod[0].pod, "namespace": of_pod[0].namespace, "uid": of_pod[0].uid});
        pods.push(json!({"podRef": reference, "containers": containers, "cpu": cpu, "memory": memory}));
    }
    let (cpu, memory) = usage(&total);
    let node = json!({"nodeName": workers.host().config.node_name, "cpu": cpu, "memory": memory});
    answer(StatusCode::OK, "application/json", json!({"node": node, "pods": pods}).to_string())
}
