//! The `Node` object, made of what the machine has. Pure. Source: kubelet's `nodestatus` setters.

use std::collections::BTreeMap;
use std::net::IpAddr;

use coracle_api::Object;
use coracle_api::quantity::Quantity;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::eviction::Pressures;
use super::machine::Machine;
use super::resources::Resources;
use crate::pod::admit::Amount;

/// The version of Kubernetes that this kubelet stands for.
pub const KUBELET_VERSION: &str = concat!("v1.36.2+coracle-", env!("CARGO_PKG_VERSION"));

/// What this node says of itself.
#[derive(Clone, Debug)]
pub struct Description {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub address: IpAddr,
    pub port: u16,
    pub pod_cidr: String,
    pub runtime_version: String,
    pub machine: Machine,
    pub capacity: Resources,
    pub allocatable: Resources,
}

/// One condition of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: &'static str,
    pub is_true: bool,
    pub reason: &'static str,
    pub message: &'static str,
}

/// `Ready` of a node that shuts down. Source: kubelet, `ReadyCondition` and the shutdown manager's `ShutdownStatus`.
pub const SHUTTING_DOWN: Condition =
    Condition { kind: "Ready", is_true: false, reason: "KubeletNotReady", message: "node is shutting down" };

/// The labels that every node has, and those that this one is given.
pub fn labels(
    name: &str,
    machine: &Machine,
    runtime: Vec<(String, String)>,
    own: &[(String, String)],
) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine.architecture),
        ("coracle.dev/runtime", "wasm"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    labels.extend(runtime);
    labels.extend(own.iter().cloned());
    labels
}

/// The conditions, as things are.
pub fn conditions(pressures: Pressures) -> [Condition; 4] {
    let pressure = |kind, is_true, [bad, good]: [(&'static str, &'static str); 2]| {
        let (reason, message) = if is_true { bad } else { good };
        Condition { kind, is_true, reason, message }
    };
    [
        pressure(
            "MemoryPressure",
            pressures.memory,
            [
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ],
        ),
        pressure(
            "DiskPressure",
            pressures.disk,
            [
                ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ],
        ),
        pressure(
            "PIDPressure",
            pressures.pid,
            [
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                ("KubeletHasSufficientPID", "a guest has no processes"),
            ],
        ),
        Condition { kind: "Ready", is_true: true, reason: "KubeletReady", message: "kubelet is posting ready status" },
    ]
}

/// The object to register, with all that there is to say: a node that is there without its capacity has room for no pod,
/// and the scheduler would say so of every pod that waits.
pub fn node(description: &Description, conditions: &[(Condition, Timestamp)], now: Timestamp) -> core::Node {
    let said = status_patch(description, conditions, now).to_string();
    let said = core::Node::decode(said.as_bytes()).expect("the patch of a node's status is a part of a node");
    core::Node {
        metadata: ObjectMeta {
            name: Some(description.name.clone()),
            labels: Some(description.labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(core::NodeSpec {
            pod_cidr: Some(description.pod_cidr.clone()),
            pod_cidrs: Some(vec![description.pod_cidr.clone()]),
            ..core::NodeSpec::default()
        }),
        ..said
    }
}

/// The patch that sets the labels of a node that was there before.
pub fn labels_patch(description: &Description) -> Value {
    json!({"metadata": {"labels": description.labels}})
}

/// The strategic merge patch of the node's status. `since` says when each condition became what it is.
pub fn status_patch(description: &Description, conditions: &[(Condition, Timestamp)], now: Timestamp) -> Value {
    let time = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time).to_string();
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(condition, since)| {
            json!({
                "type": condition.kind,
                "status": if condition.is_true { "True" } else { "False" },
                "reason": condition.reason,
                "message": condition.message,
                "lastHeartbeatTime": time(now),
                "lastTransitionTime": time(*since),
            })
        })
        .collect();
    let machine = &description.machine;
    json!({"status": {
        "addresses": [
            {"type": "InternalIP", "address": description.address.to_string()},
            {"type": "Hostname", "address": description.name},
        ],
        "capacity": resources(description.capacity),
        "allocatable": resources(description.allocatable),
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": description.port}},
        "nodeInfo": {
            "architecture": machine.architecture,
            "bootID": machine.boot_id,
            "containerRuntimeVersion": description.runtime_version,
            "kernelVersion": machine.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.machine_id,
        },
    }})
}

fn resources(Resources { amount, storage_bytes }: Resources) -> Value {
    let Amount { cpu_millis, memory_bytes, pods } = amount;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let each = [
        ("cpu", Quantity::from_milli(number(cpu_millis)).to_string()),
        ("memory", format!("{}Ki", memory_bytes / 1024)),
        ("pods", pods.to_string()),
        ("ephemeral-storage", format!("{}Ki", storage_bytes / 1024)),
    ];
    Value::Object(each.into_iter().map(|(name, amount)| (name.to_owned(), amount.into())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_follow_what_is_short() {
        let of = |memory, disk| conditions(Pressures { memory, disk, pid: false }).map(|it| (it.is_true, it.reason));
        assert_eq!(
            of(true, false),
            [
                (true, "KubeletHasInsufficientMemory"),
                (false, "KubeletHasNoDiskPressure"),
                (false, "KubeletHasSufficientPID"),
                (true, "KubeletReady")
            ]
        );
        assert_eq!(of(false, true)[..2], [(false, "KubeletHasSufficientMemory"), (true, "KubeletHasDiskPressure")]);
    }
}
