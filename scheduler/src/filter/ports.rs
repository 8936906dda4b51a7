//! Two pods of a node cannot have one host port. Source: `NodePorts`.

use crate::event::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub port: i32,
    pub protocol: String,
    /// `None`: of all addresses.
    pub address: Option<String>,
}

impl HostPort {
    pub fn conflicts(&self, other: &Self) -> bool {
        let addresses = match (&self.address, &other.address) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        addresses && self.port == other.port && self.protocol == other.protocol
    }
}

pub fn reason(pod: &PodInfo, node: &NodeInfo) -> Option<String> {
    let taken = pod.host_ports.iter().any(|port| node.load.ports.iter().any(|used| used.conflicts(port)));
    taken.then(|| "node(s) didn't have free ports for the requested pod ports".into())
}

pub fn is_helped(pod: &PodInfo, event: &ClusterEvent<'_>) -> bool {
    match event {
        ClusterEvent::NodeAdded(node) => reason(pod, node).is_none(),
        ClusterEvent::NodeChanged { .. } => false,
        ClusterEvent::PodGone(gone) => {
            pod.host_ports.iter().any(|port| gone.host_ports.iter().any(|freed| freed.conflicts(port)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_conflict_on_a_shared_address_only() {
        let port = |address: Option<&str>, protocol: &str, port| HostPort {
            port,
            protocol: protocol.into(),
            address: address.map(str::to_owned),
        };
        let taken = port(Some("10.0.0.1"), "TCP", 80);
        let cases = [
            (port(None, "TCP", 80), true),
            (port(Some("10.0.0.1"), "TCP", 80), true),
            (port(Some("10.0.0.2"), "TCP", 80), false),
            (port(None, "UDP", 80), false),
            (port(None, "TCP", 81), false),
        ];
        for (asked, expected) in cases {
            assert_eq!(asked.conflicts(&taken), expected, "{asked:?}");
        }
    }
}
