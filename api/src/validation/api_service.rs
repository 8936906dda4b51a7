//! Who serves a version of a group.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};

use super::meta::Naming;
use super::rules::{named_if_set, one_of, required, text};
use super::{Validate, meta};
use crate::field::{Errors, Path};
use crate::names;

const GROUP_PRIORITY_MAX: i32 = 20_000;
const VERSION_PRIORITY_MAX: i32 = 1000;

impl Validate for APIService {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, Naming { name: names::path_segment, namespaced: false }, errors);
        spec(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        spec(self, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        let path = Path::new("status");
        let list = path.child("conditions");
        let conditions = self.status.iter().flat_map(|s| s.conditions.iter().flatten());
        for (i, condition) in conditions.enumerate() {
            one_of(&condition.status, &["True", "False", "Unknown"], &list.index(i).child("status"), errors);
        }
    }
}

fn spec(service: &APIService, errors: &mut Errors) {
    let none = APIServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let (group, version) = (text(spec.group.as_ref()), text(spec.version.as_ref()));
    let name = text(service.metadata.name.as_ref());
    if !name.is_empty() && names::path_segment(name).is_empty() && name != format!("{version}.{group}") {
        let rule = format!("must be `spec.version+\".\"+spec.group`: \"{version}.{group}\"");
        errors.invalid(&Path::new("metadata").child("name"), name, &rule);
    }
    let path = Path::new("spec");
    if group.is_empty() && version != "v1" {
        errors.required(&path.child("group"), "only v1 may have an empty group and it better be legacy kube");
    }
    named_if_set(spec.group.as_ref(), names::dns_subdomain, &path.child("group"), errors);
    errors.invalid_each(&path.child("version"), version, names::dns_1035_label(version));
    let at = path.child("groupPriorityMinimum");
    priority(spec.group_priority_minimum, GROUP_PRIORITY_MAX, &at, errors);
    priority(spec.version_priority, VERSION_PRIORITY_MAX, &path.child("versionPriority"), errors);
    server(spec, &path, errors);
}

fn priority(value: i32, max: i32, path: &Path<'_>, errors: &mut Errors) {
    if value <= 0 || value > max {
        errors.invalid(path, &value, &format!("must be positive and less than {max}"));
    }
}

/// What is served by this server needs no trust; what a service serves is found and trusted.
fn server(spec: &APIServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let bundle_bytes = spec.ca_bundle.as_ref().map_or(0, |b| b.0.len());
    let insecure = spec.insecure_skip_tls_verify == Some(true);
    let (bundle, skip) = (path.child("caBundle"), path.child("insecureSkipTLSVerify"));
    let Some(service) = &spec.service else {
        if bundle_bytes > 0 {
            let value = format!("{bundle_bytes} bytes");
            errors.invalid(&bundle, &value, "local APIServices may not have a caBundle");
        }
        if insecure {
            errors.invalid(&skip, &true, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    };
    let at = path.child("service");
    required(text(service.namespace.as_ref()), &at.child("namespace"), errors);
    required(text(service.name.as_ref()), &at.child("name"), errors);
    if let Some(port) = service.port {
        errors.invalid_each(&at.child("port"), &port, names::port_number(port));
    }
    if insecure && bundle_bytes > 0 {
        errors.invalid(&skip, &true, "may not be true if caBundle is present");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_status};

    #[test]
    fn services_are_named_by_what_they_serve() {
        let service = |name: &str, spec: &str| format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{spec}}}"#);
        const LOCAL: &str = r#"{"group":"a.b","version":"v1","groupPriorityMinimum":1,"versionPriority":1}"#;
        for (name, spec, expected) in [
            ("v1.a.b", LOCAL, &[][..]),
            ("v1.", r#"{"version":"v1","groupPriorityMinimum":1,"versionPriority":1}"#, &[]),
            ("v2.a.b", LOCAL, &["metadata.name Invalid"]),
            (
                "v2.",
                r#"{"version":"v2","groupPriorityMinimum":20001,"insecureSkipTLSVerify":true}"#,
                &[
                    "spec.group Required",
                    "spec.groupPriorityMinimum Invalid",
                    "spec.versionPriority Invalid",
                    "spec.insecureSkipTLSVerify Invalid",
                ],
            ),
            (
                "v1.a.b",
                r#"{"group":"a.b","version":"v1","groupPriorityMinimum":1,"versionPriority":1,"service":{"port":0},"insecureSkipTLSVerify":true,"caBundle":"YQ=="}"#,
                &[
                    "spec.service.namespace Required",
                    "spec.service.name Required",
                    "spec.service.port Invalid",
                    "spec.insecureSkipTLSVerify Invalid",
                ],
            ),
        ] {
            assert_eq!(refused::<APIService>(&service(name, spec)), expected, "{name}");
        }
        let status =
            r#"{"metadata":{"name":"v1.a.b"},"status":{"conditions":[{"type":"Available","status":"Maybe"}]}}"#;
        let expected = ["status.conditions[0].status NotSupported"];
        assert_eq!(refused_status::<APIService>(&service("v1.a.b", LOCAL), status), expected);
    }
}
