//! The rows of `networking.k8s.io`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, Ingress, IngressClass, IngressRule, NetworkPolicy, ServiceCIDR};
use serde_json::Value;

use super::{Cells, age, cells};
use crate::selector::format_labels;

/// How many hosts are shown before the rules are counted.
const HOSTS_MAX: usize = 3;

impl Cells for Ingress {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.as_ref();
        let secure = spec.and_then(|s| s.tls.as_ref()).is_some_and(|tls| !tls.is_empty());
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            spec.and_then(|s| s.ingress_class_name.as_deref()).unwrap_or(cells::NONE).into(),
            hosts(spec.and_then(|s| s.rules.as_deref()).unwrap_or_default()).into(),
            addresses(self).into(),
            if secure { "80, 443" } else { "80" }.into(),
            age(&self.metadata, now).into(),
        ]
    }
}

/// `a,b,c + 2 more...`: beyond three, every rule counts, whether it names a host or not.
fn hosts(rules: &[IngressRule]) -> String {
    let named = rules.iter().enumerate().filter(|(_, rule)| !cells::text(rule.host.as_ref()).is_empty());
    let shown: Vec<(usize, &str)> =
        named.take(HOSTS_MAX).map(|(i, rule)| (i, cells::text(rule.host.as_ref()))).collect();
    let names = shown.iter().map(|(_, host)| *host).collect::<Vec<_>>().join(",");
    match shown.get(HOSTS_MAX - 1) {
        Some((last, _)) if last + 1 < rules.len() => format!("{names} + {} more...", rules.len() - HOSTS_MAX),
        _ if names.is_empty() => "*".to_owned(),
        _ => names,
    }
}

fn addresses(ingress: &Ingress) -> String {
    let balancer = ingress.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let points = balancer.iter().flat_map(|b| b.ingress.iter().flatten());
    let all: BTreeSet<&str> = points.map(|p| cells::text_or(p.ip.as_ref(), cells::text(p.hostname.as_ref()))).collect();
    all.into_iter().filter(|address| !address.is_empty()).collect::<Vec<_>>().join(",")
}

impl Cells for IngressClass {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let parameters = self.spec.as_ref().and_then(|s| s.parameters.as_ref()).map(|p| match &p.api_group {
            Some(group) => format!("{}.{group}/{}", p.kind, p.name),
            None => format!("{}/{}", p.kind, p.name),
        });
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            cells::text(self.spec.as_ref().and_then(|s| s.controller.as_ref())).into(),
            parameters.unwrap_or_else(|| cells::NONE.to_owned()).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for NetworkPolicy {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            format_labels(self.spec.as_ref().and_then(|s| s.pod_selector.as_ref())).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for IPAddress {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let parent = &self.spec.parent_ref;
        let resource = match cells::text(parent.group.as_ref()) {
            "" => parent.resource.to_lowercase(),
            group => format!("{}.{group}", parent.resource).to_lowercase(),
        };
        let parent = match cells::text(parent.namespace.as_ref()) {
            "" => format!("{resource}/{}", parent.name),
            namespace => format!("{resource}/{namespace}/{}", parent.name),
        };
        // The age has no column; upstream tells it all the same.
        vec![cells::text(self.metadata.name.as_ref()).into(), parent.into(), age(&self.metadata, now).into()]
    }
}

impl Cells for ServiceCIDR {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let cidrs = self.spec.as_ref().and_then(|s| s.cidrs.as_deref()).unwrap_or_default();
        vec![cells::text(self.metadata.name.as_ref()).into(), cidrs.join(",").into(), age(&self.metadata, now).into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::line;

    const META: &str = r#""metadata":{"name":"a","creationTimestamp":"2026-01-01T00:57:00Z"}"#;

    #[test]
    fn what_kubectl_shows() {
        let ingress = |rest: &str| line::<Ingress>(&format!("{{{META}{rest}}}"));
        assert_eq!(ingress(""), "a | <none> | * |  | 80 | 3m");
        assert_eq!(
            ingress(
                r#","spec":{"ingressClassName":"c","tls":[{}],"rules":[{"host":"x"},{"host":"y"},{"host":"z"},{"host":"w"}]},"status":{"loadBalancer":{"ingress":[{"hostname":"h"},{"ip":"1.2.3.4"}]}}"#
            ),
            "a | c | x,y,z + 1 more... | 1.2.3.4,h | 80, 443 | 3m"
        );
        let class = r#","spec":{"controller":"x/y","parameters":{"apiGroup":"g","kind":"K","name":"n"}}"#;
        assert_eq!(line::<IngressClass>(&format!("{{{META}{class}}}")), "a | x/y | K.g/n | 3m");
        assert_eq!(line::<NetworkPolicy>(&format!(r#"{{{META},"spec":{{}}}}"#)), "a | <none> | 3m");
        for (parent, expected) in [
            (r#"{"resource":"services","namespace":"n","name":"s"}"#, "services/n/s"),
            (r#"{"group":"x.test","resource":"Things","name":"s"}"#, "things.x.test/s"),
        ] {
            let json = format!(r#"{{{META},"spec":{{"parentRef":{parent}}}}}"#);
            assert_eq!(line::<IPAddress>(&json), format!("a | {expected} | 3m"));
        }
        for (rules, expected) in [
            (r#"[{"host":"x"},{}]"#, "x"),
            (r#"[{},{"host":"x"},{"host":"y"},{"host":"z"}]"#, "x,y,z"),
            (r#"[{"host":"x"},{"host":"y"},{"host":"z"},{}]"#, "x,y,z + 1 more..."),
        ] {
            let shown = ingress(&format!(r#","spec":{{"rules":{rules}}}"#));
            assert_eq!(shown, format!("a | <none> | {expected} |  | 80 | 3m"));
        }
        let policy = r#","spec":{"podSelector":{"matchLabels":{"b":"2","a":"1"},"matchExpressions":[{"key":"c","operator":"In","values":["y","x"]},{"key":"d","operator":"DoesNotExist"}]}}"#;
        assert_eq!(line::<NetworkPolicy>(&format!("{{{META}{policy}}}")), "a | a=1,b=2,c in (x,y),!d | 3m");
        let class = r#","spec":{"controller":"x/y","parameters":{"kind":"K","name":"n","scope":"Cluster"}}"#;
        assert_eq!(line::<IngressClass>(&format!("{{{META}{class}}}")), "a | x/y | K/n | 3m");
        let cidrs = r#","spec":{"cidrs":["10.0.0.0/24","2001:db8::/64"]}"#;
        assert_eq!(line::<ServiceCIDR>(&format!("{{{META}{cidrs}}}")), "a | 10.0.0.0/24,2001:db8::/64 | 3m");
    }
}
