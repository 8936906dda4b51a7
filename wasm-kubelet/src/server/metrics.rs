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
pub(super) struct Used {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) container: Arc<str>,
    pub(super) usage: Usage,
}

pub(super) fn used(workers: &Workers) -> Vec<Used> {
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
    let now_ms = workers.host().clock.wall().as_millisecond();
    answer(StatusCode::OK, TEXT, resource_text(&used(&workers), now_ms))
}

/// A family of numbers: each with its labels.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

impl Family<'_> {
    fn write(&self, text: &mut String, now_ms: i64, values: impl Iterator<Item = (String, String)>) {
        let Self { name, kind, help } = self;
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value} {now_ms}");
        }
    }
}

/// Source: the kubelet's `resourceMetricsCollector`.
fn resource_text(used: &[Used], now_ms: i64) -> String {
    let mut text = String::new();
    let cpu = |usage: &Usage| format!("{:.6}", usage.cpu_time.as_secs_f64());
    let memory = |usage: &Usage| usage.memory_bytes.to_string();
    let both = [
        ("cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the", cpu as fn(&Usage) -> String),
        ("memory_working_set_bytes", "gauge", "Current working set of the", memory),
    ];
    let in_pod = |used: &Used| format!("namespace=\"{}\",pod=\"{}\"", used.namespace, used.pod);
    for (name, kind, help, value) in both {
        let (own, help) = (format!("container_{name}"), format!("{help} container"));
        let each = used
            .iter()
            .map(|used| (format!("{{container=\"{}\",{}}}", used.container, in_pod(used)), value(&used.usage)));
        Family { name: &own, kind, help: &help }.write(&mut text, now_ms, each);
    }
    for (name, kind, help, value) in both {
        let (own, help) = (format!("pod_{name}"), format!("{help} pod"));
        let pods = used.chunk_by(|a, b| a.uid == b.uid);
        let each = pods.map(|of_pod| (format!("{{{}}}", in_pod(&of_pod[0])), value(&total(of_pod))));
        Family { name: &own, kind, help: &help }.write(&mut text, now_ms, each);
    }
    for (name, kind, help, value) in both {
        let (own, help) = (format!("node_{name}"), format!("{help} node's containers"));
        let one = std::iter::once((String::new(), value(&total(used))));
        Family { name: &own, kind, help: &help }.write(&mut text, now_ms, one);
    }
    text.push_str(
        "# HELP resource_scrape_error 1 if there was an error while getting container metrics, 0 otherwise\n",
    );
    text.push_str("# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n");
    text
}

fn total(used: &[Used]) -> Usage {
    let mut total = Usage::default();
    for Used { usage, .. } in used {
        total.cpu_time += usage.cpu_time;
        total.memory_bytes += usage.memory_bytes;
    }
    total
}

/// `/stats/summary`. Source: the kubelet's `stats/v1alpha1.Summary`, as far as it has a meaning here.
pub async fn summary(State(workers): State<Arc<Workers>>) -> Response<Body> {
    let now = workers.host().clock.wall().to_string();
    let used = used(&workers);
    let rates = &workers.host().rates;
    // The rate of several is known when that of one of them is: the others have just begun.
    let stats = |of: &[Used]| {
        let usage = total(of);
        let nanos = u64::try_from(usage.cpu_time.as_nanos()).unwrap_or(u64::MAX);
        let memory = json!({"time": now, "usageBytes": usage.memory_bytes, "workingSetBytes": usage.memory_bytes});
        let mut cpu = json!({"time": now, "usageCoreNanoSeconds": nanos});
        let known: Vec<u64> = of.iter().filter_map(|each| rates.of(each)).collect();
        if !known.is_empty() {
            cpu["usageNanoCores"] = known.iter().sum::<u64>().into();
        }
        (cpu, memory)
    };
    let mut pods: Vec<Value> = Vec::new();
    for of_pod in used.chunk_by(|a, b| a.uid == b.uid) {
        let containers: Vec<Value> = of_pod
            .iter()
            .map(|each| {
                let (cpu, memory) = stats(std::slice::from_ref(each));
                json!({"name": &*each.container, "cpu": cpu, "memory": memory})
            })
            .collect();
        let (cpu, memory) = stats(of_pod);
        let reference = json!({"name": of_pod[0].pod, "namespace": of_pod[0].namespace, "uid": of_pod[0].uid});
        pods.push(json!({"podRef": reference, "containers": containers, "cpu": cpu, "memory": memory}));
    }
    let (mut cpu, memory) = stats(&used);
    if used.is_empty() {
        cpu["usageNanoCores"] = 0.into();
    }
    let node = json!({"nodeName": workers.host().config.node_name, "cpu": cpu, "memory": memory});
    answer(StatusCode::OK, "application/json", json!({"node": node, "pods": pods}).to_string())
}
