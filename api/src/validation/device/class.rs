//! Device classes.

use k8s_openapi::api::resource::v1::DeviceClass;

use super::{config, selectors, too_many};
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::{Validate, meta};

const CONFIGS_MAX: usize = 32;
/// The domain of resources that are not extended.
const KUBERNETES: &str = "kubernetes.io/";

impl Validate for DeviceClass {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        class(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        class(self, errors);
    }
}

fn class(class: &DeviceClass, errors: &mut Errors) {
    let path = Path::new("spec");
    selectors(class.spec.selectors.as_deref().unwrap_or_default(), &path.child("selectors"), errors);
    let configs = class.spec.config.as_deref().unwrap_or_default();
    let list = path.child("config");
    if !too_many(configs, CONFIGS_MAX, &list, errors) {
        for (i, config) in configs.iter().enumerate() {
            config::opaque(config.opaque.as_ref(), &list.index(i), errors);
        }
    }
    if let Some(name) = class.spec.extended_resource_name.as_ref().filter(|name| !is_extended(name)) {
        let rule = "must be a valid extended resource name";
        errors.invalid(&path.child("extendedResourceName"), name, rule);
    }
}

/// Whether this is the name of a resource that is neither native nor a quota of requests.
fn is_extended(name: &str) -> bool {
    name.contains('/')
        && !name.contains(KUBERNETES)
        && !name.starts_with("requests.")
        && names::qualified(&format!("requests.{name}")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::refused;

    #[test]
    fn classes_select_and_configure() {
        for (spec, expected) in [
            (r#"{"extendedResourceName":"a.b/c","selectors":[{"cel":{"expression":"true"}}]}"#, &[][..]),
            (
                r#"{"extendedResourceName":"cpu","selectors":[{},{"cel":{"expression":""}}],"config":[{},{"opaque":{"driver":"A.b","parameters":{}}},{"opaque":{"driver":"a_","parameters":[]}}]}"#,
                &[
                    "spec.selectors[0].cel Required",
                    "spec.selectors[1].cel.expression Required",
                    "spec.config[0].opaque Required",
                    "spec.config[2].opaque.driver Invalid",
                    "spec.config[2].opaque.parameters Invalid",
                    "spec.extendedResourceName Invalid",
                ],
            ),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"c"}},"spec":{spec}}}"#);
            assert_eq!(refused::<DeviceClass>(&json), expected, "{spec}");
        }
    }
}
