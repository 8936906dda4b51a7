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
    let all: Vec<String> = endpoints.subsets.iter().flatten().flat_map(subset).collect();
    vec![cells::text(endpoints.metadata.name.as_ref()).into(), cells::shortened(all, cells::NONE).into(), age.into()]
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
    port.port.map_or_else(|| cells::text_or(port.name.as_ref(), "*").to_owned(), |number| number.to_string())
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
        assert_eq!(line::<core::Endpoints>(r#"{"metadata":{"name":"e"}}"#), "e | <none> | <unknown>");
        assert_eq!(
            line::<discovery::EndpointSlice>(
                r#"{"addressType":"IPv4","metadata":{"name":"e"},"ports":[{"port":80},{}],"endpoints":[{"addresses":["1.1.1.1"]}]}"#
            ),
            "e | IPv4 | 80,* | 1.1.1.1 | <unknown>"
        );
    }
}
