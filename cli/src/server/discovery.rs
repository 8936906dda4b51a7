//! What a server serves, in two requests: aggregated discovery.

use kube::client::{APIGroupDiscoveryList, APIResourceDiscovery};

use crate::failure::{Failure, Result};
use crate::server::{Resource, Server};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Every resource of a server: core first, then the groups in the server's order, each with all its versions, the
/// preferred one first.
#[derive(Clone, Debug)]
pub struct Discovery {
    resources: Vec<Resource>,
}

impl Discovery {
    pub(super) async fn of(server: &Server) -> Result<Self> {
        let (core, groups) = tokio::try_join!(server.get_as("/api", AGGREGATED), server.get_as("/apis", AGGREGATED))?;
        let mut resources = Vec::new();
        for list in [core, groups] {
            resources.extend(read(serde_json::from_value(list)?));
        }
        if resources.is_empty() {
            return Err(Failure::new("the server names no kinds").with_hint("is it older than Kubernetes 1.27?"));
        }
        Ok(Self { resources })
    }

    /// The kind that a person calls `word`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn named(&self, word: &str) -> Result<&Resource> {
        let found = self.resources.iter().find(|resource| resource.answers_to(word));
        found.ok_or_else(|| Failure::new(format!("the server doesn't have a resource type \"{word}\"")))
    }

    /// The kinds that `word` stands for: one, or a category such as `all`.
    ///
    /// # Errors
    /// When it stands for none.
    pub fn expand(&self, word: &str) -> Result<Vec<&Resource>> {
        let category = |resource: &&Resource| resource.categories.iter().any(|it| it == word) && resource.can("list");
        let mut resources: Vec<&Resource> = self.resources.iter().filter(category).collect();
        if resources.is_empty() {
            return Ok(vec![self.named(word)?]);
        }
        let mut seen = std::collections::HashSet::new();
        resources.retain(|resource| seen.insert(resource.qualified()));
        Ok(resources)
    }

    /// The kind of a manifest.
    ///
    /// # Errors
    /// When the server does not serve it.
    pub fn of_manifest(&self, api_version: &str, kind: &str) -> Result<&Resource> {
        let found = self.resources.iter().find(|it| it.kind == kind && it.api_version() == api_version);
        found.ok_or_else(|| {
            let failure = Failure::new(format!("no matches for kind \"{kind}\" in version \"{api_version}\""));
            match self.resources.iter().find(|it| it.kind == kind) {
                Some(near) => failure.with_hint(format!("{kind} is served as apiVersion: {}", near.api_version())),
                None => failure,
            }
        })
    }
}

fn read(list: APIGroupDiscoveryList) -> Vec<Resource> {
    let mut resources = Vec::new();
    for group in list.items {
        let name = group.metadata.and_then(|it| it.name).unwrap_or_default();
        for version in group.versions {
            let number = version.version.unwrap_or_default();
            resources.extend(version.resources.into_iter().map(|resource| read_one(&name, &number, resource)));
        }
    }
    resources
}

fn read_one(group: &str, version: &str, found: APIResourceDiscovery) -> Resource {
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: found.resource.unwrap_or_default(),
        singular: found.singular_resource.unwrap_or_default(),
        kind: found.response_kind.and_then(|it| it.kind).unwrap_or_default(),
        short_names: found.short_names,
        categories: found.categories,
        namespaced: found.scope.as_deref() == Some("Namespaced"),
        verbs: found.verbs,
    }
}
