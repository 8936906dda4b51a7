//! The classes of pods: what comes first, and what runs them.

use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::rules::{immutable, required_one_of};
use super::{Validate, amounts, labels, meta, pod};
use crate::field::{Errors, Path};
use crate::names;

/// The highest value of a class that is not of the system.
pub const USER_PRIORITY_MAX: i32 = 1_000_000_000;

/// The classes that every cluster has, with their values.
pub const SYSTEM_PRIORITIES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

const SYSTEM_PREFIX: &str = "system-";

impl Validate for PriorityClass {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        let (name, value) = (self.metadata.name.as_deref().unwrap_or_default(), self.value.unwrap_or_default());
        if name.starts_with(SYSTEM_PREFIX) {
            if let Some(why) = unknown_to_system(name, value, self.global_default.unwrap_or_default()) {
                let rule = "priority class names with 'system-' prefix are reserved for system use only. error: ";
                errors.forbidden(&Path::new("metadata").child("name"), &format!("{rule}{why}"));
            }
        } else if value > USER_PRIORITY_MAX {
            let rule = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
            errors.forbidden(&Path::new("value"), &rule);
        }
        if let Some(policy) = &self.preemption_policy {
            required_one_of(policy, &["Never", "PreemptLowerPriority"], &Path::new("preemptionPolicy"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.value.unwrap_or_default() != old.value.unwrap_or_default() {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        immutable(&self.preemption_policy, &old.preemption_policy, &Path::new("preemptionPolicy"), errors);
    }
}

/// Why a class of this name is none of the system's own.
fn unknown_to_system(name: &str, value: i32, global_default: bool) -> Option<String> {
    let Some((_, known)) = SYSTEM_PRIORITIES.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if *known != value {
        return Some(format!("value of {name} PriorityClass must be {known}"));
    }
    global_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

impl Validate for RuntimeClass {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        errors.invalid_each(&Path::new("handler"), &self.handler, names::dns_label(&self.handler));
        let overhead = Path::new("overhead");
        let limits = overhead.child("limits");
        let fixed = self.overhead.iter().flat_map(|overhead| overhead.pod_fixed.iter().flatten());
        for (name, text) in fixed {
            let path = limits.key(name);
            amounts::container_resource_name(name, &path, errors);
            amounts::amount(name, text, &path, errors);
        }
        if let Some(scheduling) = &self.scheduling {
            let path = Path::new("scheduling");
            labels::labels(scheduling.node_selector.as_ref(), &path.child("nodeSelector"), errors);
            let tolerations = scheduling.tolerations.as_deref().unwrap_or_default();
            pod::tolerations(tolerations, &path.child("tolerations"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        immutable(&self.handler, &old.handler, &Path::new("handler"), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    #[test]
    fn priorities_have_their_place() {
        let class = |name: &str, rest: &str| format!(r#"{{"metadata":{{"name":"{name}"}},{rest}}}"#);
        for (class, expected) in [
            (class("a", r#""value":1000000000"#), &[][..]),
            (class("a", r#""value":1000000001"#), &["value Forbidden"]),
            (class("a", r#""value":1,"preemptionPolicy":"Odd""#), &["preemptionPolicy NotSupported"]),
            (class("system-own", r#""value":1"#), &["metadata.name Forbidden"]),
            (class("system-node-critical", r#""value":1"#), &["metadata.name Forbidden"]),
            (class("system-node-critical", r#""value":2000001000"#), &[]),
        ] {
            assert_eq!(refused::<PriorityClass>(&class), expected, "{class}");
        }
        let (old, new) = (class("a", r#""value":1"#), class("a", r#""value":2,"preemptionPolicy":"Never""#));
        assert_eq!(refused_update::<PriorityClass>(&old, &new), ["value Forbidden", "preemptionPolicy Invalid"]);
    }

    #[test]
    fn runtimes_have_a_handler() {
        let class = |rest: &str| format!(r#"{{"metadata":{{"name":"a"}},{rest}}}"#);
        for (rest, expected) in [
            (r#""handler":"wasm""#, &[][..]),
            (r#""handler":"No_Label""#, &["handler Invalid"]),
            (r#""handler":"a","overhead":{"podFixed":{"cpu":"-1"}}"#, &["overhead.limits[cpu] Invalid"]),
            (
                r#""handler":"a","scheduling":{"nodeSelector":{"a b":"c"},"tolerations":[{"operator":"Odd","key":"k"}]}"#,
                &["scheduling.nodeSelector Invalid", "scheduling.tolerations[0].operator NotSupported"],
            ),
        ] {
            assert_eq!(refused::<RuntimeClass>(&class(rest)), expected, "{rest}");
        }
        let (old, new) = (class(r#""handler":"a""#), class(r#""handler":"b""#));
        assert_eq!(refused_update::<RuntimeClass>(&old, &new), ["handler Invalid"]);
    }
}
