//! Asks everything in a namespace to go, and counts what stays.

use coracle_client::{Client, Error};
use futures::future::join_all;
use serde_json::{Value, json};

use super::plan::Contents;
use crate::discovery::{Discovered, discover};
use crate::resource::Resource;

/// Deletes the pods first and, once there are none, everything else: a pod may need what else is in its namespace until
/// it has stopped.
pub async fn empty(client: &Client, namespace: &str) -> Contents {
    let Discovered { resources, failures } = discover(client).await;
    let mut contents = Contents { undiscovered: failures, ..Contents::default() };
    let deletable = resources.into_iter().filter(|one| one.namespaced && one.has("delete") && one.has("list"));
    let (pods, others): (Vec<Resource>, Vec<Resource>) =
        deletable.partition(|one| one.group.is_empty() && one.plural == "pods");
    contents.delete(client, namespace, &pods).await;
    if contents.remaining.is_empty() && contents.undeleted.is_empty() {
        contents.delete(client, namespace, &others).await;
    }
    contents
}

impl Contents {
    async fn delete(&mut self, client: &Client, namespace: &str, resources: &[Resource]) {
        let deletions = resources.iter().map(|resource| delete(client, namespace, resource));
        for (resource, left) in resources.iter().zip(join_all(deletions).await) {
            match left {
                Ok(left) => self.count(resource, &left),
                // The resource has gone since it was discovered: its definition was deleted.
                Err(error) if error.is_not_found() => {}
                Err(error) => self.undeleted.push(format!("{}: {error}", resource.qualified_name())),
            }
        }
    }

    fn count(&mut self, resource: &Resource, left: &[Left]) {
        if left.is_empty() {
            return;
        }
        self.remaining.insert(resource.qualified_name(), left.len());
        for finalizer in left.iter().flat_map(|one| &one.finalizers) {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }
}

/// An object that has not gone yet.
struct Left {
    name: String,
    finalizers: Vec<String>,
    deleting: bool,
}

async fn delete(client: &Client, namespace: &str, resource: &Resource) -> Result<Vec<Left>, Error> {
    if resource.has("deletecollection") {
        resource.delete_all(client, namespace).await?;
        return list(client, namespace, resource).await;
    }
    for one in list(client, namespace, resource).await?.iter().filter(|one| !one.deleting) {
        match resource.delete(client, namespace, &one.name, &json!({})).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    list(client, namespace, resource).await
}

async fn list(client: &Client, namespace: &str, resource: &Resource) -> Result<Vec<Left>, Error> {
    Ok(resource.list_metadata(client, namespace).await?.iter().map(Left::of).collect())
}

impl Left {
    fn of(object: &Value) -> Self {
        let meta = &object["metadata"];
        let finalizers = meta["finalizers"].as_array().into_iter().flatten();
        Self {
            name: meta["name"].as_str().unwrap_or_default().to_owned(),
            finalizers: finalizers.filter_map(|one| one.as_str().map(str::to_owned)).collect(),
            deleting: meta["deletionTimestamp"].is_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn counts_objects_and_their_finalizers() {
        let resource = Resource {
            group: "apps".into(),
            version: "v1".into(),
            plural: "deployments".into(),
            kind: "Deployment".into(),
            namespaced: true,
            verbs: Vec::new(),
        };
        let left = [
            json!({ "metadata": { "name": "a", "finalizers": ["x", "y"] } }),
            json!({ "metadata": { "finalizers": ["x"] } }),
        ];
        let mut contents = Contents::default();
        contents.count(&resource, &left.iter().map(Left::of).collect::<Vec<_>>());
        assert_eq!(contents.remaining, BTreeMap::from([("deployments.apps".to_owned(), 2)]));
        assert_eq!(contents.finalizers, BTreeMap::from([("x".to_owned(), 2), ("y".to_owned(), 1)]));
    }
}
