//! The variables by which a pod finds the services of its namespace. Source: kubelet, `getServiceEnvVarMap` and
//! `pkg/kubelet/envvars`.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

/// The service by which pods find the API server, wherever they are.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// The variables for a pod of this namespace: of the API server's service always, of the namespace's own where `links` are
/// wanted. Sorted by service.
pub fn variables<S: Borrow<core::Service>>(services: &[S], namespace: &str, links: bool) -> Vec<(String, String)> {
    let mut seen: BTreeMap<&str, &core::Service> = BTreeMap::new();
    for service in services.iter().map(Borrow::borrow).filter(|service| address(service).is_some()) {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let own = service.metadata.namespace.as_deref().unwrap_or_default();
        if links && own == namespace {
            seen.insert(name, service);
        } else if (own, name) == MASTER {
            seen.entry(name).or_insert(service);
        }
    }
    seen.into_iter().flat_map(|(name, service)| of_service(name, service)).collect()
}

fn address(service: &core::Service) -> Option<&str> {
    let address = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (!matches!(address, "" | "None")).then_some(address)
}

fn of_service(name: &str, service: &core::Service) -> Vec<(String, String)> {
    let ports: Vec<&core::ServicePort> = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).collect();
    let (Some(address), Some(first)) = (address(service), ports.first()) else { return Vec::new() };
    let prefix = spelt(name);
    let mut variables = vec![
        (format!("{prefix}_SERVICE_HOST"), address.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in &ports {
        if let Some(own) = port.name.as_deref().filter(|own| !own.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", spelt(own)), port.port.to_string()));
        }
    }
    for (at, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{}", protocol.to_lowercase(), joined(address, port.port));
        if at == 0 {
            variables.push((format!("{prefix}_PORT"), url.clone()));
        }
        let own = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.push((own.clone(), url));
        variables.push((format!("{own}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{own}_PORT"), port.port.to_string()));
        variables.push((format!("{own}_ADDR"), address.to_owned()));
    }
    variables
}

fn spelt(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

fn joined(address: &str, port: i32) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;
    use expect_test::expect;

    #[test]
    fn services_are_told_as_upstream_does() {
        let service = |namespace: &str, name: &str, spec: &str| {
            let meta = format!(r#"{{"namespace":"{namespace}","name":"{name}"}}"#);
            core::Service::decode(format!(r#"{{"metadata":{meta},"spec":{spec}}}"#).as_bytes()).unwrap()
        };
        let services = [
            service("default", "kubernetes", r#"{"clusterIP":"10.0.0.1","ports":[{"name":"https","port":443}]}"#),
            service(
                "n",
                "my-db",
                r#"{"clusterIP":"fd00::1","ports":[{"name":"sql-main","port":5432},{"name":"d","port":53,"protocol":"UDP"}]}"#,
            ),
            service("n", "headless", r#"{"clusterIP":"None","ports":[{"port":80}]}"#),
            service("n", "outside", r#"{"externalName":"x"}"#),
            service("other", "web", r#"{"clusterIP":"10.0.0.3","ports":[{"port":80}]}"#),
        ];
        let names = |namespace, links| {
            let all = variables(&services, namespace, links);
            all.into_iter()
                .filter(|(name, _)| name.ends_with("_SERVICE_HOST"))
                .map(|(_, value)| value)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("n", true), ["10.0.0.1", "fd00::1"]);
        assert_eq!(names("n", false), ["10.0.0.1"]);
        assert_eq!(names("default", false), ["10.0.0.1"]);
        assert_eq!(names("other", true), ["10.0.0.1", "10.0.0.3"]);
        let lines: Vec<String> =
            variables(&services, "n", true).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let want = expect![[r#"
            KUBERNETES_SERVICE_HOST=10.0.0.1
            KUBERNETES_SERVICE_PORT=443
            KUBERNETES_SERVICE_PORT_HTTPS=443
            KUBERNETES_PORT=tcp://10.0.0.1:443
            KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443
            KUBERNETES_PORT_443_TCP_PROTO=tcp
            KUBERNETES_PORT_443_TCP_PORT=443
            KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1
            MY_DB_SERVICE_HOST=fd00::1
            MY_DB_SERVICE_PORT=5432
            MY_DB_SERVICE_PORT_SQL_MAIN=5432
            MY_DB_SERVICE_PORT_D=53
            MY_DB_PORT=tcp://[fd00::1]:5432
            MY_DB_PORT_5432_TCP=tcp://[fd00::1]:5432
            MY_DB_PORT_5432_TCP_PROTO=tcp
            MY_DB_PORT_5432_TCP_PORT=5432
            MY_DB_PORT_5432_TCP_ADDR=fd00::1
            MY_DB_PORT_53_UDP=udp://[fd00::1]:53
            MY_DB_PORT_53_UDP_PROTO=udp
            MY_DB_PORT_53_UDP_PORT=53
            MY_DB_PORT_53_UDP_ADDR=fd00::1"#]];
        want.assert_eq(&lines.join("\n"));
    }
}
