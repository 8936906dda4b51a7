//! Follows the metadata of a kind that this program need not know. Keeps nothing: who is told keeps what it needs.

use bytes::Bytes;
use coracle_api::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, OwnerReference, Time};
use serde::Deserialize;

use super::Selection;
use super::reflector::{Reading, Reflector};
use crate::{Client, path};

/// What happened to the objects of a kind. Of their metadata there are uid, name, namespace, resource version, owners,
/// finalizers and the time of deletion.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataChange {
    /// These are all that there are.
    Replaced(Vec<ObjectMeta>),
    /// One is new or changed.
    Applied(ObjectMeta),
    /// One is gone; as it was last.
    Deleted(ObjectMeta),
}

/// Tells of all objects at `path` (`/apis/apps/v1/deployments`), for ever.
///
/// # Cancel safety
/// Nothing is told after the future is dropped; who follows anew is told of everything.
pub async fn follow_metadata(client: Client, path: String, mut tell: impl FnMut(MetadataChange)) {
    follow(Reflector::of_metadata(client, path, &Selection::default()), &mut tell).await;
}

/// Tells that one object of a namespace is there, has changed or is gone, for ever: once when it is known how it is, and
/// then of each change. Asks for this object alone, which is all that a node may see of config maps and secrets.
///
/// # Cancel safety
/// As [`follow_metadata`].
pub async fn follow_object<K: Object>(client: Client, namespace: String, name: String, tell: impl Fn()) {
    let path = path::collection::<K>(Some(&namespace));
    let selection = Selection { field_selector: Some(format!("metadata.name={name}")), ..Selection::default() };
    follow(Reflector::of_metadata(client, path, &selection), &mut |_| tell()).await;
}

async fn follow(mut reflector: Reflector, tell: &mut impl FnMut(MetadataChange)) {
    let mut listing = Vec::new();
    loop {
        match reflector.next().await {
            Reading::Restarted => listing.clear(),
            Reading::Page(page) => match serde_json::from_slice::<List>(&page) {
                Ok(list) => {
                    listing.extend(list.items.into_iter().map(|item| item.metadata.into()));
                    reflector.paged(ListMeta {
                        resource_version: list.metadata.resource_version,
                        continue_: list.metadata.r#continue,
                        ..ListMeta::default()
                    });
                }
                Err(error) => reflector.failed(&error),
            },
            Reading::Listed(object) => listing.extend(decoded(&object)),
            Reading::Unlisted(object) => {
                let uid = decoded(&object).and_then(|meta| meta.uid);
                listing.retain(|one: &ObjectMeta| one.uid != uid);
            }
            Reading::ListEnd => tell(MetadataChange::Replaced(latest(std::mem::take(&mut listing)))),
            Reading::Applied(object) => {
                if let Some(meta) = decoded(&object) {
                    reflector.reached(&meta);
                    tell(MetadataChange::Applied(meta));
                }
            }
            Reading::Deleted(object) => {
                if let Some(meta) = decoded(&object) {
                    reflector.reached(&meta);
                    tell(MetadataChange::Deleted(meta));
                }
            }
        }
    }
}

/// What this module keeps of the metadata of an object, of whichever kind.
///
/// # Errors
/// When it is no object.
pub(crate) fn metadata_of(json: &[u8]) -> serde_json::Result<ObjectMeta> {
    serde_json::from_slice::<Item>(json).map(|item| item.metadata.into())
}

/// What changed while it was listed was listed twice: only the last counts.
fn latest(listed: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
    let by_uid: std::collections::HashMap<_, _> = listed.into_iter().map(|meta| (meta.uid.clone(), meta)).collect();
    by_uid.into_values().collect()
}

fn decoded(json: &Bytes) -> Option<ObjectMeta> {
    match metadata_of(json) {
        Ok(metadata) => Some(metadata),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "ignored an object without metadata");
            None
        }
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Option<String>,
    r#continue: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    deletion_timestamp: Option<Time>,
}

impl From<Metadata> for ObjectMeta {
    fn from(read: Metadata) -> Self {
        Self {
            uid: read.uid,
            name: read.name,
            namespace: read.namespace,
            resource_version: read.resource_version,
            owner_references: read.owner_references,
            finalizers: read.finalizers,
            deletion_timestamp: read.deletion_timestamp,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use tokio::sync::mpsc;

    use super::*;
    use crate::testing::{FakeServer, Faults};

    /// The next change, with the names of what it is about.
    async fn next(changes: &mut mpsc::UnboundedReceiver<MetadataChange>) -> (&'static str, Vec<String>) {
        let change = tokio::time::timeout(Duration::from_secs(60), changes.recv()).await.expect("in time");
        let (what, objects) = match change.expect("is followed") {
            MetadataChange::Replaced(all) => ("all", all),
            MetadataChange::Applied(one) => ("applied", vec![one]),
            MetadataChange::Deleted(one) => ("deleted", vec![one]),
        };
        let mut names: Vec<_> = objects.into_iter().filter_map(|meta| meta.name).collect();
        names.sort();
        (what, names)
    }

    #[tokio::test(start_paused = true)]
    async fn tells_of_what_there_is_and_then_of_changes() {
        for no_streaming_lists in [false, true] {
            let server = FakeServer::new();
            server.set_faults(Faults { no_streaming_lists, ..Faults::default() });
            let map = |name: &str| ConfigMap {
                metadata: ObjectMeta { name: Some(name.into()), namespace: Some("a".into()), ..ObjectMeta::default() },
                ..ConfigMap::default()
            };
            server.put(&map("one"));
            server.put(&map("two"));
            let (sender, mut changes) = mpsc::unbounded_channel();
            let following = follow_metadata(server.client(), "/api/v1/configmaps".into(), move |change| {
                drop(sender.send(change));
            });
            let following = tokio::spawn(following);
            assert_eq!(next(&mut changes).await, ("all", vec!["one".into(), "two".into()]));
            server.put(&map("three"));
            assert_eq!(next(&mut changes).await, ("applied", vec!["three".into()]));
            server.remove::<ConfigMap>("a", "one");
            assert_eq!(next(&mut changes).await, ("deleted", vec!["one".into()]));
            following.abort();
        }
    }
}
