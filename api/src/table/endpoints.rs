//! The rows of endpoints and endpoint slices: a few addresses, and how many more there are.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for discovery::EndpointSlice {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        slice(self, age(&self.metadata, now))
    }
}

impl Cells for core::Endpoints {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        endpoints(self, age(&self.metadata, now))
    }
}

fn endpoints(endpoints: &core::Endpoints, age: String) -> Vec<Value> {
    let subsets = endpoints.subsets.as_deref().unwrap_or_default();
    let all: Vec<String> = subsets.iter().flat_map(subset).collect();
    // Subsets whose addresses are all not ready show nothing, and not that there are none.
    let none = if subsets.is_empty() { cells::NONE } else { "" };
    vec![cells::text(endpoints.metadata.name.as_ref()).into(), cells::shortened(all, none).into(), age.into()]
}

/// Every address with every port, or alone where there are no ports.
fn subset(subset: &core::EndpointSubset) -> Vec<String> {
    let addresses = || subset.addresses.iter().flatten();
    let with_port =
        |ip: &str, port: i32| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    match subset.ports.as_deref() {
        None | Some([]) => addresses().map(|a| a.ip.clone()).collect(),
        Some(ports) => ports.iter().flat_map(|p| addresses().map(|a| with_port(&a.ip, p.port))).collect(),
    }
}

fn slice(slice: &discovery::EndpointSlice, age: String) -> Vec<Value> {
    let ports = slice.ports.iter().flatten().map(port).collect();
    let addresses = slice.endpoints.iter().flatten().flat_map(|e| e.addresses.clone()).collect();
    vec![
        cells::text(slice.metadata.name.as_ref()).into(),
        slice.address_type.as_str().into(),
        cells::shortened(ports, cells::UNSET).into(),
        cells::shortened(addresses, cells::UNSET).into(),
        age.into(),
    ]
}

fn port(port: &discovery::EndpointPort) -> String {
    port.port.map_or_else(|| port.name.as_deref().unwrap_or("*").to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};

    use crate::table::tests::line;

    #[test]
    fn addresses_are_shortened() {
        let subsets = r#"[{"addresses":[{"ip":"1.1.1.1"},{"ip":"1.1.1.2"}],"ports":[{"port":80},{"port":81}]}]"#;
        assert_eq!(
            line::<core::Endpoints>(&format!(r#"{{"metadata":{{"name":"e"}},"subsets":{subsets}}}"#)),
            "e | 1.1.1.1:80,1.1.1.2:80,1.1.1.1:81 + 1 more... | <unknown>"
        );
        for (subsets, expected) in [
            ("[]", "<none>"),
            (r#"[{"notReadyAddresses":[{"ip":"1.1.1.1"}],"ports":[{"port":80}]}]"#, ""),
            (r#"[{"addresses":[{"ip":"1.1.1.1"},{"ip":"::1"}]}]"#, "1.1.1.1,::1"),
            (r#"[{"addresses":[{"ip":"::1"}],"ports":[{"port":80}]}]"#, "[::1]:80"),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"e"}},"subsets":{subsets}}}"#);
            assert_eq!(line::<core::Endpoints>(&json), format!("e | {expected} | <unknown>"));
        }
        for (ports, endpoints, expected) in [
            ("[]", "[]", "<unset> | <unset>"),
            (r#"[{"name":""}]"#, r#"[{"addresses":["a","b"]},{"addresses":["c"]}]"#, "<unset> | a,b,c"),
            (
                r#"[{"port":1},{"port":2},{"name":"x"},{"port":4},{"port":5}]"#,
                r#"[{"addresses":["a","b"]},{"addresses":["c","d"]}]"#,
                "1,2,x + 2 more... | a,b,c + 1 more...",
            ),
        ] {
            let json = format!(
                r#"{{"addressType":"IPv4","metadata":{{"name":"e"}},"ports":{ports},"endpoints":{endpoints}}}"#
            );
            assert_eq!(line::<discovery::EndpointSlice>(&json), format!("e | IPv4 | {expected} | <unknown>"));
        }
        assert_eq!(
            line::<discovery::EndpointSlice>(
                r#"{"addressType":"IPv4","metadata":{"name":"e"},"ports":[{"port":80},{}],"endpoints":[{"addresses":["1.1.1.1"]}]}"#
            ),
            "e | IPv4 | 80,* | 1.1.1.1 | <unknown>"
        );
    }
}
