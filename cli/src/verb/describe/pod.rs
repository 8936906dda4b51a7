//! A pod, and the template of one.

use serde_json::Value;

use crate::tabs;
use crate::verb::describe::page::{Page, scalar, time};
use crate::verb::describe::volumes::volumes;

pub fn describe(pod: &Value, page: &mut Page) {
    let (metadata, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    page.field_of(0, "Name", &metadata["name"]);
    page.field_of(0, "Namespace", &metadata["namespace"]);
    page.field(0, "Priority", spec["priority"].as_i64().unwrap_or(0));
    page.field_of(0, "Service Account", &spec["serviceAccountName"]);
    let node = match (spec["nodeName"].as_str(), status["hostIP"].as_str()) {
        (Some(node), Some(address)) => format!("{node}/{address}"),
        (node, _) => node.unwrap_or("<none>").to_owned(),
    };
    page.field(0, "Node", node);
    if !status["startTime"].is_null() {
        page.field(0, "Start Time", time(&status["startTime"]));
    }
    page.map(0, "Labels", &metadata["labels"], "=");
    page.map(0, "Annotations", &metadata["annotations"], ": ");
    describe_status(pod, page);
    if let Some(owner) = controller(metadata) {
        page.field(0, "Controlled By", owner);
    }
    containers("Init Containers", pod, "initContainers", page);
    containers("Containers", pod, "containers", page);
    page.conditions(&status["conditions"], &[("Type", "type"), ("Status", "status")]);
    volumes(0, &spec["volumes"], page);
    page.field_of(0, "QoS Class", &status["qosClass"]);
    page.map(0, "Node-Selectors", &spec["nodeSelector"], "=");
    page.list(0, "Tolerations", spec["tolerations"].as_array().into_iter().flatten().map(toleration));
}

fn describe_status(pod: &Value, page: &mut Page) {
    let (metadata, status) = (&pod["metadata"], &pod["status"]);
    match metadata["deletionTimestamp"].as_str() {
        Some(since) => {
            page.field(0, "Status", format_args!("Terminating (lasts {})", crate::age::since(since)));
            let grace = scalar(&metadata["deletionGracePeriodSeconds"]);
            page.field(0, "Termination Grace Period", format_args!("{grace}s"));
        }
        None => page.field_of(0, "Status", &status["phase"]),
    }
    page.field_of(0, "Reason", &status["reason"]);
    page.field_of(0, "Message", &status["message"]);
    page.field(0, "IP", scalar(&status["podIP"]));
    match status["podIPs"].as_array().filter(|it| !it.is_empty()) {
        None => page.field(0, "IPs", "<none>"),
        Some(addresses) => {
            page.line(0, "IPs:");
            addresses.iter().for_each(|it| page.field_of(1, "IP", &it["ip"]));
        }
    }
}

/// The template of a workload's pods, aligned by itself.
pub fn template(template: &Value) -> String {
    let mut page = Page::default();
    page.line(0, "Pod Template:");
    describe_template(template, &mut page);
    tabs::DESCRIBE.align(&page.finish())
}

pub fn describe_template(template: &Value, page: &mut Page) {
    let spec = &template["spec"];
    page.map(1, "Labels", &template["metadata"]["labels"], "=");
    if template["metadata"]["annotations"].is_object() {
        page.map(1, "Annotations", &template["metadata"]["annotations"], ": ");
    }
    containers(" Init Containers", template, "initContainers", page);
    containers(" Containers", template, "containers", page);
    volumes(1, &spec["volumes"], page);
    page.map(1, "Node-Selectors", &spec["nodeSelector"], "=");
    page.list(1, "Tolerations", spec["tolerations"].as_array().into_iter().flatten().map(toleration));
}

/// `ReplicaSet/web-5d`
pub fn controller(metadata: &Value) -> Option<String> {
    let owner = metadata["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)?;
    Some(format!("{}/{}", owner["kind"].as_str()?, owner["name"].as_str()?))
}

/// The containers of a pod, with their states, or of a template, which has none.
fn containers(heading: &str, pod: &Value, list: &str, page: &mut Page) {
    let Some(containers) = pod["spec"][list].as_array().filter(|it| !it.is_empty()) else { return };
    let statuses = match list {
        "initContainers" => &pod["status"]["initContainerStatuses"],
        _ => &pod["status"]["containerStatuses"],
    };
    page.line(0, format_args!("{heading}:"));
    for container in containers {
        let status = statuses.as_array().into_iter().flatten().find(|status| status["name"] == container["name"]);
        page.line(1, format_args!("{}:", scalar(&container["name"])));
        describe_container(pod, container, status, page);
    }
}

fn describe_container(pod: &Value, container: &Value, status: Option<&Value>, page: &mut Page) {
    if let Some(status) = status {
        page.field(2, "Container ID", scalar(&status["containerID"]));
    }
    page.field_of(2, "Image", &container["image"]);
    if let Some(status) = status {
        page.field(2, "Image ID", scalar(&status["imageID"]));
    }
    ports(container, page);
    for (name, list) in [("Command", &container["command"]), ("Args", &container["args"])] {
        if let Some(words) = list.as_array().filter(|it| !it.is_empty()) {
            page.line(2, format_args!("{name}:"));
            words.iter().for_each(|word| page.line(3, scalar(word)));
        }
    }
    if let Some(status) = status {
        state("State", &status["state"], page);
        if status["lastState"].as_object().is_some_and(|it| !it.is_empty()) {
            state("Last State", &status["lastState"], page);
        }
        page.field(2, "Ready", if status["ready"] == true { "True" } else { "False" });
        page.field(2, "Restart Count", status["restartCount"].as_i64().unwrap_or(0));
    }
    for name in ["limits", "requests"] {
        if let Some(quantities) = container["resources"][name].as_object().filter(|it| !it.is_empty()) {
            page.line(2, if name == "limits" { "Limits:" } else { "Requests:" });
            quantities.iter().for_each(|(resource, quantity)| page.field_of(3, resource, quantity));
        }
    }
    for (name, field) in [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")] {
        if container[field].is_object() {
            page.field(2, name, probe(&container[field]));
        }
    }
    environment(pod, container, page);
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mounts: Vec<String> = mounts
        .map(|mount| {
            let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
            format!("{} from {} ({mode})", scalar(&mount["mountPath"]), scalar(&mount["name"]))
        })
        .collect();
    block("Mounts", mounts, page);
}

fn ports(container: &Value, page: &mut Page) {
    let ports = || container["ports"].as_array().into_iter().flatten();
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let join = |field: &str| {
        let numbers = ports().map(|port| format!("{}/{}", port[field].as_i64().unwrap_or(0), protocol(port)));
        numbers.collect::<Vec<_>>().join(", ")
    };
    let (name, host_name) = if ports().count() > 1 { ("Ports", "Host Ports") } else { ("Port", "Host Port") };
    let shown = |text: String| if text.is_empty() { "<none>".to_owned() } else { text };
    page.field(2, name, shown(join("containerPort")));
    page.field(2, host_name, shown(join("hostPort")));
}

fn state(name: &str, state: &Value, page: &mut Page) {
    let Some((kind, details)) = state.as_object().and_then(|it| it.iter().next()) else {
        return page.field(2, name, "Waiting");
    };
    let title = match kind.as_str() {
        "running" => "Running",
        "terminated" => "Terminated",
        _ => "Waiting",
    };
    page.field(2, name, title);
    page.field_of(3, "Reason", &details["reason"]);
    page.field_of(3, "Message", &details["message"]);
    page.field_of(3, "Exit Code", &details["exitCode"]);
    for (name, field) in [("Started", "startedAt"), ("Finished", "finishedAt")] {
        if !details[field].is_null() {
            page.field(3, name, time(&details[field]));
        }
    }
}

/// What a variable that is taken from the pod says here, and from where: `web-5d (v1:metadata.name)`.
fn field(pod: &Value, source: &Value) -> String {
    let from = format!("({}:{})", scalar(&source["apiVersion"]), scalar(&source["fieldPath"]));
    let value = match source["fieldPath"].as_str() {
        Some("metadata.name") => scalar(&pod["metadata"]["name"]),
        Some("metadata.namespace") => scalar(&pod["metadata"]["namespace"]),
        _ => String::new(),
    };
    if value.is_empty() { from } else { format!("{value} {from}") }
}

fn environment(pod: &Value, container: &Value, page: &mut Page) {
    let variable = |variable: &Value| {
        let from = &variable["valueFrom"];
        let value = match from.as_object().and_then(|it| it.iter().next()) {
            None => scalar(&variable["value"]),
            Some((kind, source)) => match kind.as_str() {
                "fieldRef" => field(pod, source),
                "resourceFieldRef" => scalar(&source["resource"]),
                kind => {
                    let kind = kind.trim_end_matches("KeyRef");
                    format!("<set to the key '{}' in {kind} '{}'>", scalar(&source["key"]), scalar(&source["name"]))
                }
            },
        };
        format!("{}:\t{value}", scalar(&variable["name"]))
    };
    block("Environment", container["env"].as_array().into_iter().flatten().map(variable).collect(), page);
}

/// A heading with lines under it; `<none>` without any.
fn block(name: &str, lines: Vec<String>, page: &mut Page) {
    if lines.is_empty() {
        return page.field(2, name, "<none>");
    }
    page.line(2, format_args!("{name}:"));
    lines.iter().for_each(|line| page.line(3, line));
}

fn probe(probe: &Value) -> String {
    let number = |field: &str, default: i64| probe[field].as_i64().unwrap_or(default);
    let action = ["httpGet", "tcpSocket", "grpc", "exec"].iter().find_map(|kind| {
        let action = probe.get(*kind)?;
        Some(match *kind {
            "httpGet" => {
                let scheme = action["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
                format!(
                    "http-get {scheme}://{}:{}{}",
                    scalar(&action["host"]),
                    scalar(&action["port"]),
                    scalar(&action["path"])
                )
            }
            "exec" => format!("exec {}", action["command"]),
            "grpc" => format!("grpc <pod>:{}", scalar(&action["port"])),
            _ => format!("tcp-socket {}:{}", scalar(&action["host"]), scalar(&action["port"])),
        })
    });
    format!(
        "{} delay={}s timeout={}s period={}s #success={} #failure={}",
        action.unwrap_or_else(|| "unknown".to_owned()),
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3),
    )
}

/// `key=value:NoExecute op=Exists for 300s`
fn toleration(toleration: &Value) -> String {
    let mut text = scalar(&toleration["key"]);
    if let Some(value) = toleration["value"].as_str() {
        text.push_str(&format!("={value}"));
    }
    if let Some(effect) = toleration["effect"].as_str() {
        text.push_str(&format!(":{effect}"));
    }
    if toleration["operator"] == "Exists" && toleration["value"].is_null() {
        text.push_str(if text.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
        text.push_str(&format!(" for {seconds}s"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_crashed_container_says_why() {
        let pod = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"nodeName": "n", "containers": [{"name": "main", "image": "hello", "args": ["x"]}]},
            "status": {"phase": "Running", "podIP": "127.64.0.2", "podIPs": [{"ip": "127.64.0.2"}], "containerStatuses": [{
                "name": "main", "ready": false, "restartCount": 2, "imageID": "sha256:1",
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            }]},
        });
        let mut page = Page::default();
        describe(&pod, &mut page);
        let text = page.finish();
        for part in [
            "    State:           Waiting\n      Reason:        CrashLoopBackOff\n",
            "      Exit Code:     137\n",
            "    Restart Count:  2\n",
        ] {
            let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat(&text).contains(&flat(part)), "{part} in\n{text}");
        }
    }

    #[test]
    fn tolerations_are_one_line_each() {
        let table = [
            (
                json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
                "a:NoExecute op=Exists for 300s",
            ),
            (json!({"operator": "Exists"}), "op=Exists"),
            (json!({"key": "a", "value": "b", "effect": "NoSchedule"}), "a=b:NoSchedule"),
        ];
        for (value, text) in table {
            assert_eq!(toleration(&value), text);
        }
    }
}
