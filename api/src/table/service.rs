//! The row of a service: its addresses and its ports, as `80:30080/TCP`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for Service {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        row(self, age(&self.metadata, now))
    }
}

fn row(service: &Service, age: String) -> Vec<Value> {
    let default = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&default);
    let internal = spec.cluster_ips.iter().flatten().next().or(spec.cluster_ip.as_ref());
    vec![
        cells::text(service.metadata.name.as_ref()).into(),
        cells::text(spec.type_.as_ref()).into(),
        cells::text_or(internal, cells::NONE).into(),
        external(service, spec).into(),
        cells::joined_or(spec.ports.iter().flatten().map(port).collect(), cells::NONE).into(),
        age.into(),
        cells::labels(spec.selector.as_ref()).into(),
    ]
}

fn external(service: &Service, spec: &ServiceSpec) -> String {
    let given = spec.external_ips.clone().unwrap_or_default();
    match spec.type_.as_deref() {
        Some("ExternalName") => cells::text(spec.external_name.as_ref()).to_owned(),
        Some("LoadBalancer") => {
            let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
            let ingress = balancer.into_iter().flat_map(|b| b.ingress.iter().flatten());
            let points = ingress.map(|i| cells::text_or(i.ip.as_ref(), cells::text(i.hostname.as_ref())));
            let points: BTreeSet<&str> = points.filter(|point| !point.is_empty()).collect();
            let all = points.into_iter().map(str::to_owned).chain(given).collect();
            cells::joined_or(all, "<pending>")
        }
        Some("ClusterIP" | "NodePort") => cells::joined_or(given, cells::NONE),
        _ => cells::UNKNOWN.to_owned(),
    }
}

fn port(port: &ServicePort) -> String {
    let protocol = cells::text_or(port.protocol.as_ref(), "TCP");
    match port.node_port.filter(|p| *p > 0) {
        Some(node_port) => format!("{}:{node_port}/{protocol}", port.port),
        None => format!("{}/{protocol}", port.port),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use crate::table::tests::line;

    #[test]
    fn addresses_and_ports_are_shown() {
        for (spec, expected) in [
            (
                r#"{"type":"ClusterIP","clusterIP":"1.2.3.4","clusterIPs":["1.2.3.4"],"ports":[{"port":80,"protocol":"TCP"},{"port":53,"protocol":"UDP"}],"selector":{"a":"b"}}"#,
                "s | ClusterIP | 1.2.3.4 | <none> | 80/TCP,53/UDP | <unknown> | a=b",
            ),
            (
                r#"{"type":"NodePort","clusterIP":"1.2.3.4","externalIPs":["5.6.7.8"],"ports":[{"port":80,"nodePort":30080,"protocol":"TCP"}]}"#,
                "s | NodePort | 1.2.3.4 | 5.6.7.8 | 80:30080/TCP | <unknown> | <none>",
            ),
            (
                r#"{"type":"LoadBalancer","clusterIP":"1.2.3.4"}"#,
                "s | LoadBalancer | 1.2.3.4 | <pending> | <none> | <unknown> | <none>",
            ),
            (
                r#"{"type":"LoadBalancer","clusterIP":"None","externalIPs":["9.9.9.9"]},"status":{"loadBalancer":{"ingress":[{"hostname":"lb.a.long.name.test"},{"ip":"1.1.1.2"},{"ip":"1.1.1.1","hostname":"x"},{"ip":"1.1.1.2"}]}}"#,
                "s | LoadBalancer | None | 1.1.1.1,1.1.1.2,lb.a.long.name.test,9.9.9.9 | <none> | <unknown> | <none>",
            ),
            (r#"{"clusterIP":"1.2.3.4"}"#, "s |  | 1.2.3.4 | <unknown> | <none> | <unknown> | <none>"),
            (
                r#"{"type":"ExternalName","externalName":"a.b"}"#,
                "s | ExternalName | <none> | a.b | <none> | <unknown> | <none>",
            ),
        ] {
            assert_eq!(line::<Service>(&format!(r#"{{"metadata":{{"name":"s"}},"spec":{spec}}}"#)), expected);
        }
    }
}
