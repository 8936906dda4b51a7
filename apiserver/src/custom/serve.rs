//! From a definition to the resources that are served of it.

use std::sync::Arc;

use coracle_api::custom::kinds::{Kinds, kinds};
use coracle_api::custom::structural::SchemaError;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};

use super::status::{self, ESTABLISHED, NAMES_ACCEPTED};
use crate::api::Api;
use crate::cache::{Cached, KindCache};
use crate::fields;
use crate::resource::Resource;

/// What is served of one definition.
pub(super) struct Served {
    of: Edition,
    pub(super) cache: Arc<KindCache>,
    pub(super) resources: Vec<Arc<Resource>>,
    /// The resource in the version that is stored, which may not be served.
    pub(super) stored: Arc<Resource>,
}

/// Which form of a definition something was made of.
#[derive(PartialEq)]
struct Edition {
    uid: Option<String>,
    generation: Option<i64>,
    names: CustomResourceDefinitionNames,
    is_terminating: bool,
}

/// Whether a definition is served: once it has its names, and ever after.
pub(super) fn is_wanted(definition: &CustomResourceDefinition) -> bool {
    status::is_true(definition, NAMES_ACCEPTED) || status::is_true(definition, ESTABLISHED)
}

/// Makes the resources of a definition anew where it has changed. The cache is kept where objects look as before; with
/// another schema they are read anew, and who watches them begins anew, as upstream has it. `definition` is without its
/// schemas, which `whole` reads where they are needed. `None`: the store cannot be read now.
///
/// # Errors
/// When a schema cannot be used.
pub(super) async fn make(
    api: &Arc<Api>,
    definition: &CustomResourceDefinition,
    whole: impl FnOnce() -> Option<CustomResourceDefinition>,
    cached: &Arc<Cached>,
    before: Option<&Served>,
) -> Result<Option<Served>, SchemaError> {
    let of = Edition::of(definition);
    let kept = before.filter(|before| before.of.uid == of.uid && before.of.generation == of.generation);
    if let Some(before) = kept.filter(|before| before.of == of) {
        let Served { cache, resources, stored, .. } = before;
        return Ok(Some(Served { of, cache: cache.clone(), resources: resources.clone(), stored: stored.clone() }));
    }
    let Some(whole) = whole() else { return Ok(None) };
    let Kinds { stored, served } = kinds(&whole, &of.names)?;
    drop(whole);
    let cache = match kept {
        Some(before) => before.cache.clone(),
        None => match api.cache.add(fields::layout(&stored)).await {
            Some(cache) => cache,
            None => return Ok(None),
        },
    };
    let versions: Arc<[_]> = served.clone().into();
    let resource = |kind| {
        let mut resource = Resource::new(kind, stored.clone(), cache.clone());
        resource.versions = versions.clone();
        resource.definition = Some(cached.clone());
        Arc::new(resource)
    };
    let resources = served.into_iter().map(resource).collect();
    Ok(Some(Served { of, resources, stored: resource(stored.clone()), cache: cache.clone() }))
}

impl Edition {
    fn of(definition: &CustomResourceDefinition) -> Self {
        let meta = &definition.metadata;
        Self {
            uid: meta.uid.clone(),
            generation: meta.generation,
            names: definition.status.as_ref().and_then(|status| status.accepted_names.clone()).unwrap_or_default(),
            is_terminating: meta.deletion_timestamp.is_some(),
        }
    }
}
