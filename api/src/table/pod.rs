//! The row of a pod: how many containers are ready, the one word that tells best how it is, and restarts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodSpec, PodStatus};
use serde_json::Value;

use super::{Cells, Completed, age, cells, since};
use crate::pods;

impl Cells for Pod {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        row(self, age(&self.metadata, now), now)
    }

    fn completed(&self) -> Option<Completed> {
        match self.status.as_ref()?.phase.as_deref()? {
            "Succeeded" => Some(("Succeeded", "The pod has completed successfully.")),
            "Failed" => Some(("Failed", "The pod failed.")),
            _ => None,
        }
    }
}

fn row(pod: &Pod, age: String, now: Timestamp) -> Vec<Value> {
    let default_spec = PodSpec::default();
    let default_status = PodStatus::default();
    let spec = pod.spec.as_ref().unwrap_or(&default_spec);
    let status = pod.status.as_ref().unwrap_or(&default_status);
    let summary = Summary::of(pod, spec, status);
    let ip = status.pod_ips.iter().flatten().next().map(|ip| &ip.ip).or(status.pod_ip.as_ref());
    vec![
        cells::text(pod.metadata.name.as_ref()).into(),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.reason.into(),
        summary.restarts.text(now).into(),
        age.into(),
        cells::text_or(ip, cells::NONE).into(),
        cells::text_or(spec.node_name.as_ref(), cells::NONE).into(),
        cells::text_or(status.nominated_node_name.as_ref(), cells::NONE).into(),
        readiness_gates(pod, spec).into(),
    ]
}

struct Summary {
    ready: usize,
    containers: usize,
    reason: String,
    restarts: Restarts,
}

/// How often containers were restarted, and when last.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i32,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &ContainerStatus) {
        self.count += container.restart_count;
        let ended =
            container.last_state.as_ref().and_then(|s| s.terminated.as_ref()).and_then(|t| t.finished_at.as_ref());
        self.last = self.last.max(ended.map(|t| t.0));
    }

    fn text(self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count != 0 => format!("{} ({} ago)", self.count, since(Some(last), now)),
            _ => self.count.to_string(),
        }
    }
}

impl Summary {
    fn of(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> Self {
        let init: &[Container] = spec.init_containers.as_deref().unwrap_or_default();
        let mut summary = Summary {
            ready: 0,
            containers: spec.containers.len() + init.iter().filter(|c| pods::is_sidecar(c)).count(),
            reason: own_reason(pod, status),
            restarts: Restarts::default(),
        };
        let (initializing, sidecar_restarts) = summary.see_init_containers(init, status);
        let initialized = pods::condition(pod, "Initialized").is_some_and(|c| c.status == "True");
        if !initializing || initialized {
            summary.restarts = sidecar_restarts;
            summary.see_containers(pod, status);
        }
        if pod.metadata.deletion_timestamp.is_some() {
            if status.reason.as_deref() == Some("NodeLost") {
                summary.reason = "Unknown".to_owned();
            } else if !pods::is_finished(pod) {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// Whether the pod is still initializing, and the restarts of sidecars alone.
    fn see_init_containers(&mut self, init: &[Container], status: &PodStatus) -> (bool, Restarts) {
        let mut sidecar_restarts = Restarts::default();
        for (i, container) in status.init_container_statuses.iter().flatten().enumerate() {
            let sidecar = init.iter().any(|c| c.name == container.name && pods::is_sidecar(c));
            self.restarts.add(container);
            if sidecar {
                sidecar_restarts.add(container);
            }
            let state = container.state.as_ref();
            if state.and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0) {
                continue;
            }
            if sidecar && container.started == Some(true) {
                self.ready += usize::from(container.ready);
                continue;
            }
            let why = state.and_then(stopped_or_waiting).filter(|why| why != "PodInitializing");
            self.reason = why.map_or_else(|| format!("Init:{i}/{}", init.len()), |why| format!("Init:{why}"));
            return (true, sidecar_restarts);
        }
        (false, sidecar_restarts)
    }

    fn see_containers(&mut self, pod: &Pod, status: &PodStatus) {
        let (mut running, mut failed) = (false, None);
        for container in status.container_statuses.iter().flatten().rev() {
            self.restarts.add(container);
            let Some(state) = &container.state else { continue };
            if let Some(why) = stopped_or_waiting(state) {
                if state.terminated.as_ref().is_some_and(|ended| ended.exit_code != 0) {
                    failed = Some(why.clone());
                }
                self.reason = why;
            } else if container.ready && state.running.is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            self.reason = match failed {
                _ if running && pods::is_ready(pod) => "Running".to_owned(),
                Some(why) => why,
                None if running => "NotReady".to_owned(),
                None => return,
            };
        }
    }
}

fn own_reason(pod: &Pod, status: &PodStatus) -> String {
    let gated = pods::condition(pod, "PodScheduled").is_some_and(|c| c.reason.as_deref() == Some("SchedulingGated"));
    if gated {
        return "SchedulingGated".to_owned();
    }
    cells::text_or(status.reason.as_ref(), cells::text(status.phase.as_ref())).to_owned()
}

/// Why a container doesn't run.
fn stopped_or_waiting(state: &ContainerState) -> Option<String> {
    let waiting = state.waiting.as_ref().and_then(|w| w.reason.clone()).filter(|r| !r.is_empty());
    waiting.or_else(|| {
        let ended = state.terminated.as_ref()?;
        let signal = ended.signal.filter(|s| *s != 0);
        Some(match ended.reason.as_deref().filter(|r| !r.is_empty()) {
            Some(reason) => reason.to_owned(),
            None => signal.map_or_else(|| format!("ExitCode:{}", ended.exit_code), |s| format!("Signal:{s}")),
        })
    })
}

fn readiness_gates(pod: &Pod, spec: &PodSpec) -> String {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    if gates.is_empty() {
        return cells::NONE.to_owned();
    }
    let open = gates.iter().filter(|g| pods::condition(pod, &g.condition_type).is_some_and(|c| c.status == "True"));
    format!("{}/{}", open.count(), gates.len())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use crate::table::tests::line;

    fn pod(spec: &str, status: &str, meta: &str) -> String {
        let json = format!(
            r#"{{"metadata":{{"name":"p","creationTimestamp":"2026-01-01T00:55:00Z"{meta}}},"spec":{{"containers":[{{"name":"a"}}]{spec}}},"status":{{{status}}}}}"#
        );
        line::<Pod>(&json).split(" | ").skip(1).take(3).collect::<Vec<_>>().join(" ")
    }

    fn container(state: &str, ready: bool, more: &str) -> String {
        format!(r#"{{"name":"a","ready":{ready},"restartCount":2,"image":"","imageID":"","state":{{{state}}}{more}}}"#)
    }

    #[test]
    fn one_word_tells_how_a_pod_is() {
        let running = container(r#""running":{}"#, true, "");
        let completed = container(r#""terminated":{"exitCode":0,"reason":"Completed"}"#, false, "");
        let failed = container(r#""terminated":{"exitCode":1,"reason":"Error"}"#, false, "");
        let ready = r#""conditions":[{"type":"Ready","status":"True"}]"#;
        let last = r#","lastState":{"terminated":{"exitCode":1,"finishedAt":"2026-01-01T00:54:30Z"}}"#;
        for (spec, status, meta, expected) in [
            ("", r#""phase":"Pending""#.to_owned(), "", "0/1 Pending 0"),
            ("", format!(r#""phase":"Running","containerStatuses":[{running}]"#), "", "1/1 Running 2"),
            ("", format!(r#""phase":"Running","containerStatuses":[{}]"#, container(r#""running":{}"#, true, last)), "", "1/1 Running 2 (5m30s ago)"),
            ("", format!(r#""phase":"Running","containerStatuses":[{}]"#, container(r#""waiting":{"reason":"CrashLoopBackOff"}"#, false, "")), "", "0/1 CrashLoopBackOff 2"),
            ("", format!(r#""phase":"Succeeded","containerStatuses":[{}]"#, container(r#""terminated":{"exitCode":0,"reason":"Completed"}"#, false, "")), "", "0/1 Completed 2"),
            ("", format!(r#""phase":"Failed","containerStatuses":[{}]"#, container(r#""terminated":{"exitCode":3}"#, false, "")), "", "0/1 ExitCode:3 2"),
            ("", format!(r#""phase":"Running","containerStatuses":[{running}]"#), r#","deletionTimestamp":"2026-01-01T00:00:00Z""#, "1/1 Terminating 2"),
            (r#","initContainers":[{"name":"i"},{"name":"j"}]"#, r#""phase":"Pending","initContainerStatuses":[{"name":"i","ready":false,"restartCount":0,"image":"","imageID":"","state":{"running":{}}}]"#.to_owned(), "", "0/1 Init:0/2 0"),
            (r#","initContainers":[{"name":"i"}]"#, r#""phase":"Pending","initContainerStatuses":[{"name":"i","ready":false,"restartCount":1,"image":"","imageID":"","state":{"terminated":{"exitCode":2,"reason":"Error"}}}]"#.to_owned(), "", "0/1 Init:Error 1"),
            (r#","initContainers":[{"name":"i","restartPolicy":"Always"}]"#, format!(r#""phase":"Running","initContainerStatuses":[{{"name":"i","ready":true,"started":true,"restartCount":0,"image":"","imageID":"","state":{{"running":{{}}}}}}],"containerStatuses":[{running}]"#), "", "2/2 Running 2"),
            ("", r#""phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"SchedulingGated"}]"#.to_owned(), "", "0/1 SchedulingGated 0"),
            ("", r#""phase":"Failed","reason":"Evicted""#.to_owned(), "", "0/1 Evicted 0"),
            ("", format!(r#""phase":"Running","containerStatuses":[{completed},{running}]"#), "", "1/1 NotReady 4"),
            ("", format!(r#""phase":"Running",{ready},"containerStatuses":[{completed},{running}]"#), "", "1/1 Running 4"),
            ("", format!(r#""phase":"Running",{ready},"containerStatuses":[{completed},{failed},{running}]"#), "", "1/1 Running 6"),
            ("", format!(r#""phase":"Running","containerStatuses":[{completed},{failed},{running}]"#), "", "1/1 Error 6"),
            ("", format!(r#""phase":"Failed","containerStatuses":[{completed},{failed}]"#), "", "0/1 Error 4"),
            ("", format!(r#""phase":"Failed","containerStatuses":[{}]"#, container(r#""terminated":{"exitCode":137,"signal":9}"#, false, "")), "", "0/1 Signal:9 2"),
            (r#","initContainers":[{"name":"i"}]"#, r#""phase":"Pending","initContainerStatuses":[{"name":"i","ready":false,"restartCount":3,"image":"","imageID":"","lastState":{"terminated":{"exitCode":2,"finishedAt":"2026-01-01T00:50:00Z"}},"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]"#.to_owned(), "", "0/1 Init:CrashLoopBackOff 3 (10m ago)"),
            (r#","initContainers":[{"name":"i"},{"name":"j","restartPolicy":"Always"}]"#, r#""phase":"Pending","initContainerStatuses":[{"name":"i","ready":true,"restartCount":0,"image":"","imageID":"","state":{"terminated":{"exitCode":0}}},{"name":"j","ready":false,"started":false,"restartCount":1,"image":"","imageID":"","state":{"running":{}}}]"#.to_owned(), "", "0/2 Init:1/2 1"),
            ("", r#""phase":"Running","reason":"NodeLost""#.to_owned(), r#","deletionTimestamp":"2026-01-01T00:00:00Z""#, "0/1 Unknown 0"),
            ("", r#""phase":"Succeeded""#.to_owned(), r#","deletionTimestamp":"2026-01-01T00:00:00Z""#, "0/1 Succeeded 0"),
        ] {
            assert_eq!(pod(spec, &status, meta), expected);
        }
    }

    #[test]
    fn a_wide_row_says_where_a_pod_is() {
        let json = r#"{"metadata":{"name":"p"},"spec":{"containers":[],"nodeName":"n","readinessGates":[{"conditionType":"x"}]},"status":{"podIP":"1.2.3.4"}}"#;
        assert_eq!(line::<Pod>(json), "p | 0/0 |  | 0 | <unknown> | 1.2.3.4 | n | <none> | 0/1");
    }
}
