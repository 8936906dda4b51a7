//! What a pod says of names: `dnsPolicy`, `dnsConfig`, `hostAliases`, `hostname` and `subdomain`. Pure.
//! Source: kubelet, `pkg/kubelet/network/dns` and `ensureHostsFile`; resolv.conf(5).

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, PodSpec};

use super::cluster::DOMAIN;

/// What is asked, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Names that need not be asked for: the lines of `/etc/hosts`, in lower case.
    pub hosts: HashMap<String, Vec<IpAddr>>,
    /// Whether the cluster is asked first.
    pub asks_cluster: bool,
    /// Who is asked then; the host's own name servers when that is left to it.
    pub servers: Option<Vec<IpAddr>>,
    /// Domains that a relative name is tried in.
    pub search: Vec<String>,
    /// Dots from which a name is tried as it is first.
    pub ndots: usize,
}

/// Source: the `options` that the kubelet writes for `ClusterFirst`; resolv.conf(5) for the others.
const NDOTS_CLUSTER: usize = 5;
const NDOTS: usize = 1;
/// Source: resolv.conf(5).
const NDOTS_MAX: usize = 15;

impl Settings {
    /// Reads `pod`, whose address is `ip`, on a host that searches `host_search`.
    pub fn of(pod: &Pod, ip: IpAddr, host_search: &[String]) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let config = spec.dns_config.as_ref();
        let mut settings = Self { hosts: hosts(pod, spec, namespace, ip), ..Self::default() };
        settings.ndots = NDOTS;
        match spec.dns_policy.as_deref() {
            Some("None") => settings.servers = Some(servers(config)),
            Some("Default") => settings.search = host_search.to_vec(),
            _ => {
                settings.asks_cluster = true;
                settings.ndots = NDOTS_CLUSTER;
                settings.search = vec![format!("{namespace}.svc.{DOMAIN}"), format!("svc.{DOMAIN}"), DOMAIN.to_owned()];
                settings.search.extend_from_slice(host_search);
            }
        }
        settings.add(config);
        settings
    }

    /// What `dnsConfig` adds.
    fn add(&mut self, config: Option<&PodDNSConfig>) {
        for domain in config.and_then(|config| config.searches.as_ref()).into_iter().flatten() {
            let domain = domain.trim_end_matches('.').to_ascii_lowercase();
            if !domain.is_empty() && !self.search.contains(&domain) {
                self.search.push(domain);
            }
        }
        let options = config.and_then(|config| config.options.as_ref());
        let ndots = options.into_iter().flatten().rfind(|option| option.name.as_deref() == Some("ndots"));
        if let Some(ndots) = ndots.and_then(|option| option.value.as_ref()?.parse::<usize>().ok()) {
            self.ndots = ndots.min(NDOTS_MAX);
        }
    }

    /// The absolute names that `name` may mean, in the order in which they are tried.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let within = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let itself = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.ndots {
            itself.chain(within).collect()
        } else {
            within.chain(itself).collect()
        }
    }
}

fn hosts(pod: &Pod, spec: &PodSpec, namespace: &str, ip: IpAddr) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    let written = spec.hostname.as_deref().filter(|hostname| !hostname.is_empty());
    if let Some(hostname) = written.or(pod.metadata.name.as_deref()) {
        hosts.insert(hostname.to_ascii_lowercase(), vec![ip]);
        if let Some(subdomain) = spec.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty()) {
            hosts.insert(format!("{hostname}.{subdomain}.{namespace}.svc.{DOMAIN}").to_ascii_lowercase(), vec![ip]);
        }
    }
    for alias in spec.host_aliases.iter().flatten() {
        let Ok(ip) = alias.ip.parse::<IpAddr>() else { continue };
        for hostname in alias.hostnames.iter().flatten() {
            hosts.entry(hostname.to_ascii_lowercase()).or_default().push(ip);
        }
    }
    hosts
}

fn servers(config: Option<&PodDNSConfig>) -> Vec<IpAddr> {
    let written = config.and_then(|config| config.nameservers.as_ref()).into_iter().flatten();
    written.filter_map(|server| server.parse().ok()).collect()
}

/// The domains that this host searches.
pub fn host_search() -> Vec<String> {
    search_of(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

/// The last `search` or `domain` line counts.
fn search_of(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::split_ascii_whitespace);
    let last = lines.rev().find_map(|mut words| matches!(words.next(), Some("search" | "domain")).then_some(words));
    let domains = last.into_iter().flatten().map(|domain| domain.trim_end_matches('.').to_ascii_lowercase());
    domains.filter(|domain| !domain.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use coracle_api::Object;

    use super::*;

    fn settings(spec: &str) -> Settings {
        let pod = format!(r#"{{"metadata":{{"name":"web-0","namespace":"shop"}},"spec":{spec}}}"#);
        let pod = Pod::decode(pod.as_bytes()).unwrap();
        Settings::of(&pod, IpAddr::from([127, 64, 0, 7]), &["corp.example".to_owned()])
    }

    #[test]
    fn names_are_tried_as_a_container_would_try_them() {
        let cluster =
            ["web.shop.svc.cluster.local", "web.svc.cluster.local", "web.cluster.local", "web.corp.example", "web"];
        let deep = r#"{"containers":[],"dnsConfig":{"searches":["a.test.","svc.cluster.local"],"options":[{"name":"ndots","value":"2"}]}}"#;
        for (spec, name, tried) in [
            (r#"{"containers":[]}"#, "web", &cluster[..]),
            (r#"{"containers":[],"dnsPolicy":"ClusterFirst"}"#, "web", &cluster),
            (r#"{"containers":[],"dnsPolicy":"ClusterFirst"}"#, "web.", &["web"]),
            (r#"{"containers":[],"dnsPolicy":"Default"}"#, "web", &["web.corp.example", "web"]),
            (r#"{"containers":[],"dnsPolicy":"Default"}"#, "a.b", &["a.b", "a.b.corp.example"]),
            (r#"{"containers":[],"dnsPolicy":"None"}"#, "web", &["web"]),
            (
                r#"{"containers":[],"dnsPolicy":"None","dnsConfig":{"searches":["a.test"],"options":[{"name":"ndots","value":"3"}]}}"#,
                "b.c",
                &["b.c.a.test", "b.c"],
            ),
            (
                deep,
                "a.b.c",
                &[
                    "a.b.c",
                    "a.b.c.shop.svc.cluster.local",
                    "a.b.c.svc.cluster.local",
                    "a.b.c.cluster.local",
                    "a.b.c.corp.example",
                    "a.b.c.a.test",
                ],
            ),
        ] {
            assert_eq!(settings(spec).candidates(name), tried, "{spec} {name}");
        }
    }

    #[test]
    fn who_is_asked_is_a_matter_of_the_policy() {
        for (policy, asks_cluster, servers) in [
            ("ClusterFirst", true, None),
            ("ClusterFirstWithHostNet", true, None),
            ("Default", false, None),
            ("None", false, Some(vec![IpAddr::from([1, 1, 1, 1])])),
        ] {
            let spec =
                format!(r#"{{"containers":[],"dnsPolicy":"{policy}","dnsConfig":{{"nameservers":["1.1.1.1"]}}}}"#);
            let settings = settings(&spec);
            assert_eq!((settings.asks_cluster, settings.servers), (asks_cluster, servers), "{policy}");
        }
    }

    #[test]
    fn a_pod_knows_itself_and_its_aliases() {
        let settings = settings(
            r#"{"containers":[],"hostname":"Web","subdomain":"front","hostAliases":[
                {"ip":"10.0.0.1","hostnames":["db","DB.test"]},{"ip":"10.0.0.2","hostnames":["db"]}]}"#,
        );
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (name, known) in [
            ("web", vec![ip("127.64.0.7")]),
            ("web.front.shop.svc.cluster.local", vec![ip("127.64.0.7")]),
            ("db", vec![ip("10.0.0.1"), ip("10.0.0.2")]),
            ("db.test", vec![ip("10.0.0.1")]),
        ] {
            assert_eq!(settings.hosts.get(name), Some(&known), "{name}");
        }
        assert_eq!(settings.hosts.len(), 4);
        assert!(self::settings(r#"{"containers":[]}"#).hosts.contains_key("web-0"));
    }

    #[test]
    fn the_last_search_line_counts() {
        let text =
            "nameserver 1.1.1.1\ndomain old.example\n# search not\nsearch a.example. B.example .\noptions ndots:2\n";
        assert_eq!(search_of(text), ["a.example", "b.example"]);
        assert!(search_of("nameserver 1.1.1.1\n").is_empty());
    }
}
