//! Waiting: a list, then a watch, until something holds or the time is up. No sleeps.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use coracle::server::{Server, media, query};
use futures::StreamExt;
use serde_json::Value;
use tokio::pin;

use crate::cluster::plain;
use crate::dump;

/// How long anything may take on a slow machine; nothing that works comes near it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Gives up on work that takes too long, in words of its own.
///
/// # Errors
/// When the work fails or the time is up.
pub async fn until_within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::time::timeout(limit, work).await.with_context(|| format!("waited {limit:?} for {what}"))?
}

/// Waits until the objects of a collection are as `holds` wants them; gives them back. What there is instead when the
/// time is up, and every log, is printed.
///
/// # Errors
/// When the time is up.
pub(crate) async fn until(
    server: &Server,
    collection: &str,
    what: &str,
    mut holds: impl FnMut(&[Value]) -> bool,
) -> anyhow::Result<Vec<Value>> {
    let work = async {
        loop {
            if let Some(found) = follow(server, collection, &mut holds).await? {
                return Ok(found);
            }
        }
    };
    let waited = until_within(DEADLINE, what, work).await;
    if waited.is_err() {
        dump::all(server).await;
    }
    waited
}

/// One list and its watch; nothing when the server ended the watch.
async fn follow(
    server: &Server,
    collection: &str,
    holds: &mut impl FnMut(&[Value]) -> bool,
) -> anyhow::Result<Option<Vec<Value>>> {
    let list = server.get(collection).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let mut objects: BTreeMap<String, Value> = items.into_iter().map(|item| (key(&item), item)).collect();
    let now = |objects: &BTreeMap<String, Value>| objects.values().cloned().collect::<Vec<_>>();
    if holds(&now(&objects)) {
        return Ok(Some(now(&objects)));
    }
    let Some(version) = list["metadata"]["resourceVersion"].as_str() else { bail!("{collection} is no collection") };
    let frames = server
        .watch(&query(collection, &[("watch", Some("1")), ("resourceVersion", Some(version))]), media::JSON)
        .await?;
    pin!(frames);
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(plain)?;
        match frame.kind.as_str() {
            "DELETED" => drop(objects.remove(&key(&frame.object))),
            _ => drop(objects.insert(key(&frame.object), frame.object)),
        }
        if holds(&now(&objects)) {
            return Ok(Some(now(&objects)));
        }
    }
    Ok(None)
}

fn key(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!("{}/{}", metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default())
}

/// Whether a pod, or a node, is ready.
pub fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// The object of this name.
pub fn named<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["metadata"]["name"] == name)
}
