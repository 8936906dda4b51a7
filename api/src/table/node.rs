//! The row of a node: whether it is ready, its roles, its version and, wide, its addresses and system.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for Node {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        row(self, age(&self.metadata, now))
    }
}

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

fn row(node: &Node, age: String) -> Vec<Value> {
    let info = node.status.as_ref().and_then(|s| s.node_info.as_ref());
    let system = |text: Option<&String>| Value::from(cells::text_or(text, cells::UNKNOWN));
    vec![
        cells::text(node.metadata.name.as_ref()).into(),
        condition(node).into(),
        cells::joined_or(roles(node), cells::NONE).into(),
        age.into(),
        cells::text(info.map(|i| &i.kubelet_version)).into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        system(info.map(|i| &i.os_image)),
        system(info.map(|i| &i.kernel_version)),
        system(info.map(|i| &i.container_runtime_version)),
    ]
}

fn condition(node: &Node) -> String {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|c| c.type_ == "Ready");
    let word = match ready {
        None => "Unknown",
        Some(c) if c.status == "True" => "Ready",
        Some(_) => "NotReady",
    };
    let closed = node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true);
    if closed { format!("{word},SchedulingDisabled") } else { word.to_owned() }
}

fn roles(node: &Node) -> Vec<String> {
    let role = |(key, value): (&String, &String)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => Some(role.to_owned()),
        None => (key == ROLE_LABEL).then(|| value.clone()),
    };
    let mut roles: Vec<String> =
        node.metadata.labels.iter().flatten().filter_map(role).filter(|r| !r.is_empty()).collect();
    roles.sort();
    roles.dedup();
    roles
}

fn address<'n>(node: &'n Node, type_: &str) -> &'n str {
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_ref());
    addresses.into_iter().flatten().find(|a| a.type_ == type_).map_or(cells::NONE, |a| &a.address)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;

    use crate::table::tests::line;

    #[test]
    fn nodes_tell_how_they_are() {
        let json = r#"{"metadata":{"name":"n","labels":{"node-role.kubernetes.io/worker":"","kubernetes.io/role":"edge"}},"spec":{"unschedulable":true},
            "status":{"conditions":[{"type":"Ready","status":"True"}],"addresses":[{"type":"InternalIP","address":"1.2.3.4"}],
            "nodeInfo":{"kubeletVersion":"v1.36.0","architecture":"","bootID":"","containerRuntimeVersion":"wasmtime://48","kernelVersion":"6","kubeProxyVersion":"","machineID":"","operatingSystem":"","osImage":"Debian","systemUUID":""}}}"#;
        assert_eq!(
            line::<Node>(json),
            "n | Ready,SchedulingDisabled | edge,worker | <unknown> | v1.36.0 | 1.2.3.4 | <none> | Debian | 6 | wasmtime://48"
        );
        assert_eq!(
            line::<Node>(r#"{"metadata":{"name":"n"}}"#),
            "n | Unknown | <none> | <unknown> |  | <none> | <none> | <unknown> | <unknown> | <unknown>"
        );
    }
}
