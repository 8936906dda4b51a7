//! Custom resources, pure: what the definition of one says about its objects, and what a definition must be.
//!
//! A [`Structural`] is the schema of one version. In the order in which a written object goes through them: [`prune`]
//! removes what the schema doesn't know, [`default`] sets what nobody set, [`validate`] tells what is wrong, rules in CEL
//! included. A [`CustomObject`] carries the [`CustomModel`] of its version, by which all that is done to it. [`columns`]
//! makes the cells of tables, [`scale`] reads and judges the paths of the scale subresource. What a
//! `CustomResourceDefinition` itself must be is in `validation` and `defaults`, as for every kind.
//!
//! Nothing here panics or runs without bound, whatever schema, rule or object it is given.

pub mod cel;
pub mod columns;
mod defaults;
pub mod json_path;
pub mod kinds;
pub mod object;
mod ownership;
mod pattern;
mod prune;
pub mod scale;
pub mod structural;
mod validate;

pub use defaults::default;
pub use object::{CustomModel, CustomObject};
pub use prune::prune;
pub use structural::{ListType, Structural, Type};
pub use validate::validate;

pub(crate) use pattern::Compiler as Patterns;
pub(crate) use validate::{fits_format, is_known_format, validate_default};

/// Whether a text is a regular expression as Kubernetes reads them.
///
/// # Errors
/// Why it is none.
pub(crate) fn check_pattern(text: &str) -> Result<(), String> {
    pattern::compile(text, usize::MAX).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

    use super::Structural;

    /// A schema as it is written.
    pub(super) fn schema(text: &str) -> Arc<Structural> {
        let props: JSONSchemaProps = serde_json::from_str(text).expect("a schema");
        Structural::new(&props).expect("a schema that can be used")
    }
}
