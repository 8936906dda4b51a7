//! Claims to devices, and the templates of claims.

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceConstraint, DeviceRequest, DeviceSelector, DeviceToleration, ResourceClaim, ResourceClaimSpec,
    ResourceClaimTemplate,
};

use super::{config, fully_qualified, selectors, status, tolerations, too_many};
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{immutable, named, text, unique};
use crate::validation::{Validate, meta};

const REQUESTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const NOT_A_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

impl Validate for ResourceClaim {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        spec(&self.spec, &Path::new("spec"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        immutable(&self.spec, &old.spec, &Path::new("spec"), errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        status::update(self, old, errors);
    }
}

impl Validate for ResourceClaimTemplate {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        let path = Path::new("spec");
        meta::template(self.spec.metadata.as_ref(), &path.child("metadata"), errors);
        spec(&self.spec.spec, &path.child("spec"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        immutable(&self.spec, &old.spec, &Path::new("spec"), errors);
    }
}

/// The requests of a claim, and the alternatives of each.
pub(super) struct Requests<'a>(&'a [DeviceRequest]);

impl<'a> Requests<'a> {
    pub(super) fn of(spec: &'a ResourceClaimSpec) -> Self {
        Self(spec.devices.as_ref().and_then(|d| d.requests.as_deref()).unwrap_or_default())
    }

    fn has(&self, request: &str, alternative: Option<&str>) -> bool {
        let named = self.0.iter().filter(|r| r.name == request);
        let mut alternatives = named.map(|r| r.first_available.as_deref().unwrap_or_default());
        alternatives.any(|all| alternative.is_none_or(|name| all.iter().any(|a| a.name == name)))
    }

    /// `request` or `request/alternative` must be one of them.
    pub(super) fn reference(&self, name: &str, path: &Path<'_>, errors: &mut Errors) {
        let (request, alternative) = match name.split_once('/') {
            Some((_, rest)) if rest.contains('/') => return errors.invalid(path, name, NOT_A_REQUEST),
            Some((request, alternative)) => (request, Some(alternative)),
            None => (name, None),
        };
        for part in [Some(request), alternative].into_iter().flatten() {
            errors.invalid_each(path, part, names::dns_label(part));
        }
        if !self.has(request, alternative) {
            errors.invalid(path, name, NOT_A_REQUEST);
        }
    }

    pub(super) fn references(&self, names: Option<&[String]>, list: &Path<'_>, errors: &mut Errors) {
        let names = names.unwrap_or_default();
        if too_many(names, REQUESTS_MAX, list, errors) {
            return;
        }
        for (i, name) in names.iter().enumerate() {
            self.reference(name, &list.index(i), errors);
        }
        unique(names, |name| Some(name.clone()), list, None, errors);
    }
}

fn spec(spec: &ResourceClaimSpec, path: &Path<'_>, errors: &mut Errors) {
    let none = DeviceClaim::default();
    let devices = spec.devices.as_ref().unwrap_or(&none);
    let names = Requests::of(spec);
    let path = path.child("devices");
    let requests = devices.requests.as_deref().unwrap_or_default();
    let list = path.child("requests");
    if !too_many(requests, REQUESTS_MAX, &list, errors) {
        for (i, request) in requests.iter().enumerate() {
            self::request(request, &list.index(i), errors);
        }
        unique(requests, |r| Some(r.name.clone()), &list, None, errors);
    }
    let constraints = devices.constraints.as_deref().unwrap_or_default();
    let list = path.child("constraints");
    if !too_many(constraints, REQUESTS_MAX, &list, errors) {
        for (i, constraint) in constraints.iter().enumerate() {
            self::constraint(constraint, &names, &list.index(i), errors);
        }
    }
    let configs = devices.config.as_deref().unwrap_or_default();
    let list = path.child("config");
    if !too_many(configs, REQUESTS_MAX, &list, errors) {
        for (i, config) in configs.iter().enumerate() {
            let path = list.index(i);
            names.references(config.requests.as_deref(), &path.child("requests"), errors);
            config::opaque(config.opaque.as_ref(), &path, errors);
        }
    }
}

fn request(request: &DeviceRequest, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(&path.child("name"), &request.name, names::dns_label(&request.name));
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    match (&request.exactly, alternatives) {
        (None, []) => errors.required(path, "exactly one of `exactly` or `firstAvailable` is required"),
        (Some(_), [_, ..]) => {
            let rule = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(path, &(), rule);
        }
        (Some(exactly), []) => {
            let wish = Wish {
                class: &exactly.device_class_name,
                selectors: exactly.selectors.as_deref(),
                mode: text(exactly.allocation_mode.as_ref()),
                count: exactly.count.unwrap_or_default(),
                tolerations: exactly.tolerations.as_deref(),
            };
            wish.check(&path.child("exactly"), errors);
        }
        (None, alternatives) => {
            let list = path.child("firstAvailable");
            if too_many(alternatives, ALTERNATIVES_MAX, &list, errors) {
                return;
            }
            for (i, alternative) in alternatives.iter().enumerate() {
                let path = list.index(i);
                errors.invalid_each(&path.child("name"), &alternative.name, names::dns_label(&alternative.name));
                let wish = Wish {
                    class: &alternative.device_class_name,
                    selectors: alternative.selectors.as_deref(),
                    mode: text(alternative.allocation_mode.as_ref()),
                    count: alternative.count.unwrap_or_default(),
                    tolerations: alternative.tolerations.as_deref(),
                };
                wish.check(&path, errors);
            }
            unique(alternatives, |a| Some(a.name.clone()), &list, None, errors);
        }
    }
}

/// Which devices are wanted, and how many: the part that requests and their alternatives have in common.
struct Wish<'a> {
    class: &'a str,
    selectors: Option<&'a [DeviceSelector]>,
    mode: &'a str,
    count: i64,
    tolerations: Option<&'a [DeviceToleration]>,
}

impl Wish<'_> {
    fn check(&self, path: &Path<'_>, errors: &mut Errors) {
        named(self.class, names::dns_subdomain, &path.child("deviceClassName"), errors);
        selectors(self.selectors.unwrap_or_default(), &path.child("selectors"), errors);
        let at = path.child("count");
        match self.mode {
            "All" if self.count != 0 => {
                errors.invalid(&at, &self.count, "must not be specified when allocationMode is 'All'");
            }
            "ExactCount" if self.count <= 0 => errors.invalid(&at, &self.count, "must be greater than zero"),
            "All" | "ExactCount" => {}
            other => errors.not_supported(&path.child("allocationMode"), other, &["All", "ExactCount"]),
        }
        tolerations(self.tolerations.unwrap_or_default(), &path.child("tolerations"), errors);
    }
}

fn constraint(constraint: &DeviceConstraint, names: &Requests<'_>, path: &Path<'_>, errors: &mut Errors) {
    names.references(constraint.requests.as_deref(), &path.child("requests"), errors);
    match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(name), _) => fully_qualified(name, &path.child("matchAttribute"), errors),
        (None, Some(name)) => fully_qualified(name, &path.child("distinctAttribute"), errors),
        (None, None) => {
            let rule =
                "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
            errors.required(path, rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    fn claim(devices: &str) -> String {
        format!(r#"{{"metadata":{{"name":"c","namespace":"n"}},"spec":{{"devices":{devices}}}}}"#)
    }

    #[test]
    fn claims_request_devices() {
        let at = |field: &str| format!("spec.devices.{field}");
        for (devices, expected) in [
            (r#"{"requests":[{"name":"r","exactly":{"deviceClassName":"c"}}]}"#, vec![]),
            (
                r#"{"requests":[{"name":"A"},{"name":"b","exactly":{},"firstAvailable":[{"name":"x"}]}]}"#,
                vec![at("requests[0].name Invalid"), at("requests[0] Required"), at("requests[1] Invalid")],
            ),
            (
                r#"{"requests":[{"name":"r","exactly":{"deviceClassName":"","allocationMode":"All","count":2,"tolerations":[{"key":"a b","operator":"X","effect":"Y"}]}},{"name":"r","firstAvailable":[{"name":"x","deviceClassName":"c","allocationMode":"Z"}]}]}"#,
                vec![
                    at("requests[0].exactly.deviceClassName Required"),
                    at("requests[0].exactly.count Invalid"),
                    at("requests[0].exactly.tolerations[0].key Invalid"),
                    at("requests[0].exactly.tolerations[0].operator NotSupported"),
                    at("requests[0].exactly.tolerations[0].effect NotSupported"),
                    at("requests[1].firstAvailable[0].allocationMode NotSupported"),
                    at("requests[1] Duplicate"),
                ],
            ),
            (
                r#"{"requests":[{"name":"r","firstAvailable":[{"name":"x","deviceClassName":"c"}]}],"constraints":[{"requests":["r","r/x","r/y","r"]},{"matchAttribute":"a"},{"distinctAttribute":"a.b/c-d"}],"config":[{"requests":["q"]}]}"#,
                vec![
                    at("constraints[0].requests[2] Invalid"),
                    at("constraints[0].requests[3] Duplicate"),
                    at("constraints[0] Required"),
                    at("constraints[1].matchAttribute Invalid"),
                    at("constraints[2].distinctAttribute Invalid"),
                    at("config[0].requests[0] Invalid"),
                    at("config[0].opaque Required"),
                ],
            ),
        ] {
            assert_eq!(refused::<ResourceClaim>(&claim(devices)), expected, "{devices}");
        }
        let old = claim(r#"{"requests":[{"name":"r","exactly":{"deviceClassName":"c"}}]}"#);
        assert_eq!(refused_update::<ResourceClaim>(&old, &claim("{}")), ["spec Invalid"]);
        let template = r#"{"metadata":{"name":"t","namespace":"n"},"spec":{"metadata":{"labels":{"a b":"c"}},"spec":{"devices":{"requests":[{"name":"r"}]}}}}"#;
        let expected = ["spec.metadata.labels Invalid", "spec.spec.devices.requests[0] Required"];
        assert_eq!(refused::<ResourceClaimTemplate>(template), expected);
    }
}
