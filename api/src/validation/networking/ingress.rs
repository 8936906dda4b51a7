//! Ingresses.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, IngressTLS,
};

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{named, named_if_set, port, text};
use crate::validation::{Validate, ip, meta};

/// The older way to name the class of an ingress.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const NOT_IN_PATH: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const NOT_AT_END: [&str; 2] = ["/..", "/."];
const ABSOLUTE: &str = "must be an absolute path";
const NOT_AN_ADDRESS: &str = "must be a DNS name, not an IP address";

impl Validate for Ingress {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        spec(self, None, errors);
        class_said_twice(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        spec(self, Some(old), errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        status(self, errors);
    }
}

/// What was wrong with the stored object already, and so may stay.
#[derive(Clone, Copy, Default)]
struct Tolerated {
    secret_names: bool,
    wildcard_rules: bool,
}

impl Tolerated {
    fn of(old: &Ingress) -> Self {
        let Some(spec) = &old.spec else { return Self::default() };
        let wrong_name = |tls: &IngressTLS| {
            tls.secret_name.as_ref().is_some_and(|n| !n.is_empty() && !names::dns_subdomain(n).is_empty())
        };
        let wrong_rule = |rule: &IngressRule| {
            let mut errors = Errors::new();
            http(rule, &Path::ROOT, &mut errors);
            text(rule.host.as_ref()).contains('*') && !errors.is_empty()
        };
        Self {
            secret_names: spec.tls.iter().flatten().any(wrong_name),
            wildcard_rules: spec.rules.iter().flatten().any(wrong_rule),
        }
    }
}

fn class_said_twice(ingress: &Ingress, errors: &mut Errors) {
    let annotation = ingress.metadata.annotations.as_ref().and_then(|a| a.get(CLASS_ANNOTATION));
    let class = ingress.spec.as_ref().and_then(|s| s.ingress_class_name.as_ref());
    if let (Some(annotation), Some(class)) = (annotation, class)
        && annotation != class
    {
        let path = Path::new("annotations");
        let rule = "must match `ingressClassName` when both are specified";
        errors.invalid(&path.child(CLASS_ANNOTATION), annotation, rule);
    }
}

fn spec(ingress: &Ingress, old: Option<&Ingress>, errors: &mut Errors) {
    let none = IngressSpec::default();
    let spec = ingress.spec.as_ref().unwrap_or(&none);
    let tolerated = old.map(Tolerated::of).unwrap_or_default();
    let path = Path::new("spec");
    let rules = spec.rules.as_deref().unwrap_or_default();
    if rules.is_empty() && spec.default_backend.is_none() {
        errors.invalid(&path, rules, "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(default) = &spec.default_backend {
        backend(default, &path.child("defaultBackend"), errors);
    }
    let list = path.child("rules");
    for (i, rule) in rules.iter().enumerate() {
        self::rule(rule, tolerated, &list.index(i), errors);
    }
    let list = path.child("tls");
    for (i, tls) in spec.tls.iter().flatten().enumerate() {
        self::tls(tls, tolerated, &list.index(i), errors);
    }
    if let Some(class) = &spec.ingress_class_name {
        errors.invalid_each(&path.child("ingressClassName"), class, names::dns_subdomain(class));
    }
}

/// A name of hosts, which may begin with `*.`.
fn host(host: &str, path: &Path<'_>, errors: &mut Errors) {
    let wrong = if host.contains('*') { names::wildcard_dns_subdomain(host) } else { names::dns_subdomain(host) };
    errors.invalid_each(path, host, wrong);
}

fn tls(tls: &IngressTLS, tolerated: Tolerated, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("hosts");
    for (i, name) in tls.hosts.iter().flatten().enumerate() {
        host(name, &list.index(i), errors);
    }
    if !tolerated.secret_names {
        named_if_set(tls.secret_name.as_ref(), names::dns_subdomain, &path.child("secretName"), errors);
    }
}

fn rule(rule: &IngressRule, tolerated: Tolerated, path: &Path<'_>, errors: &mut Errors) {
    let name = text(rule.host.as_ref());
    if !name.is_empty() {
        if name.parse::<IpAddr>().is_ok() {
            errors.invalid(&path.child("host"), name, NOT_AN_ADDRESS);
        }
        host(name, &path.child("host"), errors);
    }
    if !(name.contains('*') && tolerated.wildcard_rules) {
        http(rule, path, errors);
    }
}

fn http(rule: &IngressRule, path: &Path<'_>, errors: &mut Errors) {
    let Some(http) = &rule.http else { return };
    let path = path.child("http");
    let list = path.child("paths");
    if http.paths.is_empty() {
        errors.required(&list, "");
    }
    for (i, path) in http.paths.iter().enumerate() {
        http_path(path, &list.index(i), errors);
    }
}

fn http_path(http: &HTTPIngressPath, path: &Path<'_>, errors: &mut Errors) {
    let value = text(http.path.as_ref());
    let at = path.child("path");
    match http.path_type.as_str() {
        "" => return errors.required(&path.child("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !value.starts_with('/') {
                errors.invalid(&at, value, ABSOLUTE);
            }
            for part in NOT_IN_PATH.into_iter().filter(|part| value.contains(part)) {
                errors.invalid(&at, value, &format!("must not contain '{part}'"));
            }
            for end in NOT_AT_END.into_iter().filter(|end| value.ends_with(end)) {
                errors.invalid(&at, value, &format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !value.is_empty() && !value.starts_with('/') {
                errors.invalid(&at, value, ABSOLUTE);
            }
        }
        other => errors.not_supported(&path.child("pathType"), other, &PATH_TYPES),
    }
    backend(&http.backend, &path.child("backend"), errors);
}

/// What traffic goes to: a service, or another resource.
fn backend(backend: &IngressBackend, path: &Path<'_>, errors: &mut Errors) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => errors.invalid(path, "", "cannot set both resource and service backends"),
        (Some(resource), None) => reference(resource, &path.child("resource"), errors),
        (None, Some(service)) => service_backend(service, path, errors),
        (None, None) => errors.invalid(path, "", "resource or service backend is required"),
    }
}

fn service_backend(service: &IngressServiceBackend, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("service");
    named(&service.name, names::dns_1035_label, &at.child("name"), errors);
    let name = service.port.as_ref().map(|p| text(p.name.as_ref())).unwrap_or_default();
    let number = service.port.as_ref().and_then(|p| p.number).unwrap_or_default();
    let at = at.child("port");
    match (name, number) {
        ("", 0) => errors.required(path, "port name or number is required"),
        ("", number) => port(number, &at.child("number"), errors),
        (name, 0) => errors.invalid_each(&at.child("name"), name, names::port_name(name)),
        _ => errors.invalid(path, "", "cannot set both port name & port number"),
    }
}

fn reference(reference: &TypedLocalObjectReference, path: &Path<'_>, errors: &mut Errors) {
    if let Some(group) = &reference.api_group {
        errors.invalid_each(&path.child("apiGroup"), group, names::dns_subdomain(group));
    }
    named(&reference.kind, names::path_segment, &path.child("kind"), errors);
    named(&reference.name, names::path_segment, &path.child("name"), errors);
}

fn status(ingress: &Ingress, errors: &mut Errors) {
    let path = Path::new("status");
    let path = path.child("loadBalancer");
    let list = path.child("ingress");
    let balancer = ingress.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    for (i, point) in balancer.iter().flat_map(|b| b.ingress.iter().flatten()).enumerate() {
        let path = list.index(i);
        if let Some(address) = point.ip.as_ref().filter(|ip| !ip.is_empty()) {
            ip::address(address, &path.child("ip"), errors);
        }
        named_if_set(point.hostname.as_ref(), names::dns_subdomain, &path.child("hostname"), errors);
        let name = text(point.hostname.as_ref());
        if name.parse::<IpAddr>().is_ok() {
            errors.invalid(&path.child("hostname"), name, NOT_AN_ADDRESS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_status, refused_update};

    fn ingress(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"i","namespace":"n"}},"spec":{spec}}}"#)
    }

    fn path(path: &str) -> String {
        format!(r#"{{"rules":[{{"http":{{"paths":[{path}]}}}}]}}"#)
    }

    #[test]
    fn rules_lead_somewhere() {
        const BACKEND: &str = r#""backend":{"service":{"name":"s","port":{"number":80}}}"#;
        let at = |field: &str| format!("spec.rules[0].http.paths[0].{field}");
        for (spec, expected) in [
            ("{}".to_owned(), vec!["spec Invalid".to_owned()]),
            (path(&format!(r#"{{"pathType":"Prefix","path":"/a",{BACKEND}}}"#)), vec![]),
            (path(&format!("{{{BACKEND}}}")), vec![at("pathType Required")]),
            (path(&format!(r#"{{"pathType":"Glob",{BACKEND}}}"#)), vec![at("pathType NotSupported")]),
            (path(&format!(r#"{{"pathType":"Exact","path":"a",{BACKEND}}}"#)), vec![at("path Invalid")]),
            (
                path(&format!(r#"{{"pathType":"Exact","path":"/a//b/..",{BACKEND}}}"#)),
                vec![at("path Invalid"), at("path Invalid")],
            ),
            (path(&format!(r#"{{"pathType":"ImplementationSpecific",{BACKEND}}}"#)), vec![]),
            (path(r#"{"pathType":"Prefix","path":"/"}"#), vec![at("backend Invalid")]),
            (
                path(r#"{"pathType":"Prefix","path":"/","backend":{"service":{"name":"S","port":{}}}}"#),
                vec![at("backend.service.name Invalid"), at("backend Required")],
            ),
            (
                path(r#"{"pathType":"Prefix","path":"/","backend":{"service":{"name":"s","port":{"number":70000}}}}"#),
                vec![at("backend.service.port.number Invalid")],
            ),
            (
                path(r#"{"pathType":"Prefix","path":"/","backend":{"resource":{"kind":"","name":"a/b"}}}"#),
                vec![at("backend.resource.kind Required"), at("backend.resource.name Invalid")],
            ),
            (r#"{"rules":[{"http":{"paths":[]}}]}"#.to_owned(), vec!["spec.rules[0].http.paths Required".to_owned()]),
            (
                r#"{"rules":[{"host":"1.2.3.4"},{"host":"*"},{"host":"*.a.b"}],"tls":[{"hosts":["A"],"secretName":"B_"}]}"#.to_owned(),
                ["spec.rules[0].host", "spec.rules[1].host", "spec.tls[0].hosts[0]", "spec.tls[0].secretName"]
                    .map(|f| format!("{f} Invalid"))
                    .to_vec(),
            ),
        ] {
            assert_eq!(refused::<Ingress>(&ingress(&spec)), expected, "{spec}");
        }
    }

    #[test]
    fn the_class_is_said_once() {
        let json = r#"{"metadata":{"name":"i","namespace":"n","annotations":{"kubernetes.io/ingress.class":"a"}},"spec":{"ingressClassName":"b","rules":[{}]}}"#;
        assert_eq!(refused::<Ingress>(json), ["annotations.kubernetes.io/ingress.class Invalid"]);
        assert_eq!(refused_update::<Ingress>(json, json), [""; 0]);
    }

    #[test]
    fn what_is_stored_may_stay_and_points_are_real() {
        let wrong = ingress(r#"{"rules":[{}],"tls":[{"secretName":"B_"}]}"#);
        assert_eq!(refused_update::<Ingress>(&wrong, &wrong), [""; 0]);
        let right = ingress(r#"{"rules":[{}]}"#);
        assert_eq!(refused_update::<Ingress>(&right, &wrong), ["spec.tls[0].secretName Invalid"]);
        let status = r#"{"metadata":{"name":"i","namespace":"n"},"status":{"loadBalancer":{"ingress":[{"ip":"x"},{"hostname":"1.2.3.4"}]}}}"#;
        let at = "status.loadBalancer.ingress";
        assert_eq!(
            refused_status::<Ingress>(&right, status),
            [format!("{at}[0].ip Invalid"), format!("{at}[1].hostname Invalid")]
        );
    }
}
