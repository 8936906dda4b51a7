//! The priority levels and flow schemas that every cluster has: `schema/flow.jsonl`, one object a line.
//!
//! The two that are called `exempt` and the two that are called `catch-all` cannot be other than they are here.
//! Source: upstream's `pkg/apis/flowcontrol/bootstrap`.

use std::sync::OnceLock;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};

use crate::defaults::Defaults;
use crate::object::Object;

static TEXT: &str = include_str!("../schema/flow.jsonl");

/// The names of what may not be changed.
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// The priority levels of a fresh cluster.
#[must_use]
pub fn priority_levels() -> &'static [PriorityLevelConfiguration] {
    static LEVELS: OnceLock<Vec<PriorityLevelConfiguration>> = OnceLock::new();
    LEVELS.get_or_init(|| read("PriorityLevelConfiguration"))
}

/// The flow schemas of a fresh cluster.
#[must_use]
pub fn flow_schemas() -> &'static [FlowSchema] {
    static SCHEMAS: OnceLock<Vec<FlowSchema>> = OnceLock::new();
    SCHEMAS.get_or_init(|| read("FlowSchema"))
}

/// What the object of this name must be, if it must be something.
pub(crate) fn mandatory<'a, T: Object>(all: &'a [T], name: &str) -> Option<&'a T> {
    let named = |object: &&T| object.metadata().name.as_deref() == Some(name);
    MANDATORY.contains(&name).then(|| all.iter().find(named)).flatten()
}

fn read<T: Object + Defaults>(kind: &str) -> Vec<T> {
    let named = format!(r#""kind":"{kind}""#);
    let read = |line: &str| {
        let mut object = T::decode(line.as_bytes()).expect("the file is ours");
        object.set_defaults();
        object
    };
    TEXT.lines().filter(|line| line.contains(&named)).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any::AnyObject;
    use crate::validation;

    #[test]
    fn what_every_cluster_has_is_valid() {
        assert_eq!((priority_levels().len(), flow_schemas().len()), (8, 13));
        let levels = priority_levels().iter().map(|level| AnyObject::new(level.clone()));
        let schemas = flow_schemas().iter().map(|schema| AnyObject::new(schema.clone()));
        for object in levels.chain(schemas) {
            assert_eq!(validation::create(&object).to_string(), "[]", "{}", object.name());
        }
        for schema in flow_schemas() {
            let level = &schema.spec.as_ref().expect("a spec").priority_level_configuration.name;
            assert!(priority_levels().iter().any(|l| l.metadata.name.as_ref() == Some(level)), "{level}");
        }
    }
}
