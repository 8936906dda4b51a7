//! What a pod calls itself. Source: kubelet, `GeneratePodHostNameAndDomain`.

use coracle_client::PodRef;
use k8s_openapi::api::core::v1 as core;

/// Longest name of a host. Source: Linux.
const CHARS_MAX: usize = 63;

/// The domain of the cluster's names.
const DOMAIN: &str = "cluster.local";

/// The value of `HOSTNAME`.
pub fn hostname(spec: &core::PodSpec, pod: &PodRef) -> String {
    let written = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(name) = written(&spec.hostname_override) {
        return name;
    }
    let mut name = written(&spec.hostname).unwrap_or_else(|| pod.name.clone());
    name.truncate(name.floor_char_boundary(CHARS_MAX));
    let name = name.trim_end_matches(['-', '.']).to_owned();
    match written(&spec.subdomain).filter(|_| spec.set_hostname_as_fqdn == Some(true)) {
        Some(subdomain) => format!("{name}.{subdomain}.{}.svc.{DOMAIN}", pod.namespace),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;

    #[test]
    fn a_pod_is_called_as_it_wants() {
        let long = "a".repeat(62) + "-b";
        let table = [
            ("{}", "p", "p"),
            (r#"{"hostname":"web","subdomain":"s"}"#, "p", "web"),
            (r#"{"hostname":"web","subdomain":"s","setHostnameAsFQDN":true}"#, "p", "web.s.n.svc.cluster.local"),
            (r#"{"hostname":"web","setHostnameAsFQDN":true}"#, "p", "web"),
            (r#"{"hostname":"web","hostnameOverride":"over.example"}"#, "p", "over.example"),
            ("{}", &long, &long[..62]),
        ];
        for (spec, name, want) in table {
            let pod = core::Pod::decode(format!(r#"{{"metadata":{{"name":"p"}},"spec":{spec}}}"#).as_bytes()).unwrap();
            let pod_ref = PodRef { namespace: "n".into(), name: name.into(), uid: String::new() };
            assert_eq!(hostname(pod.spec.as_ref().unwrap(), &pod_ref), want, "{spec}");
        }
    }
}
