//! Which resources the server has, asked of the server: it may serve more kinds than this program knows.

use std::collections::BTreeSet;

use coracle_client::Client;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};

use crate::resource::Resource;

/// What the server has, as far as it said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    pub resources: Vec<Resource>,
    /// What could not be asked for, and why.
    pub failures: Vec<String>,
}

/// Asks for everything. A group that does not answer is a failure in the result, and hides no other.
pub async fn discover(client: &Client) -> Discovered {
    let mut found = Discovered::default();
    let mut seen = BTreeSet::new();
    match client.kube().list_core_api_versions().await {
        Ok(versions) => {
            for version in versions.versions {
                let resources =
                    client.kube().list_core_api_resources(&version).await.map_err(|error| error.to_string());
                found.add("", &version, resources, &mut seen);
            }
        }
        Err(error) => found.failures.push(format!("v1: {error}")),
    }
    match client.kube().list_api_groups().await {
        Ok(groups) => {
            for group in groups.groups {
                for version in preferred_first(&group) {
                    let answer = client.kube().list_api_group_resources(&format!("{}/{version}", group.name)).await;
                    found.add(&group.name, &version, answer.map_err(|error| error.to_string()), &mut seen);
                }
            }
        }
        Err(error) => found.failures.push(format!("apis: {error}")),
    }
    found
}

fn preferred_first(group: &APIGroup) -> Vec<String> {
    let preferred = group.preferred_version.as_ref().map(|version| version.version.clone());
    let others = group.versions.iter().map(|version| version.version.clone());
    let mut versions: Vec<String> = preferred.iter().cloned().collect();
    versions.extend(others.filter(|version| Some(version) != preferred.as_ref()));
    versions
}

impl Discovered {
    /// Takes the resources of one group and version, without those that came with a preferred one.
    fn add(
        &mut self,
        group: &str,
        version: &str,
        answer: Result<APIResourceList, String>,
        seen: &mut BTreeSet<(String, String)>,
    ) {
        let list = match answer {
            Ok(list) => list,
            Err(error) => return self.failures.push(format!("{group}/{version}: {error}")),
        };
        for resource in list.resources.into_iter().filter(|resource| !resource.name.contains('/')) {
            if seen.insert((group.to_owned(), resource.name.clone())) {
                self.resources.push(Resource {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    plural: resource.name,
                    kind: resource.kind,
                    namespaced: resource.namespaced,
                    verbs: resource.verbs,
                });
            }
        }
    }
}
