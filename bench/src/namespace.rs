//! The objects of a measurement: made before, gone after.

use anyhow::Context;
use http::StatusCode;
use serde::Deserialize;

use crate::connection::Connection;
use crate::frames::Frames;
use crate::server::Server;

/// The label that every object of this program carries; its value is the measurement.
pub const LABEL: &str = "coracle-bench";

#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    items: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
}

/// The collection's path: `/api/v1/namespaces/default/pods`.
pub fn collection(namespace: &str, resource: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}")
}

/// How many objects a measurement has in a collection, and the version at which that was so.
///
/// # Errors
/// When the list is refused.
pub async fn count(
    connection: &mut Connection,
    collection: &str,
    measurement: &str,
) -> anyhow::Result<(usize, String)> {
    let path = format!("{collection}?labelSelector={LABEL}%3D{measurement}");
    let body = connection.get(&path).await?.success().with_context(|| format!("list {collection}"))?;
    let list: List = serde_json::from_slice(&body)?;
    Ok((list.items.len(), list.metadata.resource_version))
}

/// The path of a watch on a measurement's objects.
pub fn watch_path(collection: &str, measurement: &str, version: &str) -> String {
    format!("{collection}?watch=1&labelSelector={LABEL}%3D{measurement}&resourceVersion={version}")
}

/// How many objects a measurement has in a collection, and a watch, on a connection of its own, of what becomes of them.
///
/// # Errors
/// When the list or the watch is refused.
pub async fn watch(
    server: &Server,
    connection: &mut Connection,
    collection: &str,
    measurement: &str,
) -> anyhow::Result<(usize, Frames)> {
    let (count, version) = self::count(connection, collection, measurement).await?;
    let path = watch_path(collection, measurement, &version);
    Ok((count, server.connect().await?.watch(&path).await?))
}

/// Deletes what a measurement made in a collection.
///
/// # Errors
/// When the deletion is refused.
pub async fn clear(connection: &mut Connection, collection: &str, measurement: &str) -> anyhow::Result<()> {
    let path = format!("{collection}?labelSelector={LABEL}%3D{measurement}");
    connection.delete(&path).await?.success().with_context(|| format!("delete the collection {collection}"))?;
    Ok(())
}

/// Deletes one object, if it is there.
///
/// # Errors
/// When the deletion is refused.
pub async fn remove(connection: &mut Connection, path: &str) -> anyhow::Result<()> {
    let answer = connection.delete(path).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(());
    }
    answer.success().with_context(|| format!("delete {path}"))?;
    Ok(())
}
