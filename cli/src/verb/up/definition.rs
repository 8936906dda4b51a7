//! When objects of a kind that was just defined can be made.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::pin;
use tokio::time::timeout;

use crate::failure::{Failure, Result};
use crate::server::{Server, media, query};
use crate::verb::apply::Applied;

/// How long is waited for a definition: a server takes milliseconds, unless the names are not to be had.
const LATE: Duration = Duration::from_secs(5);

/// Waits until the definition is established, if what was applied is one.
///
/// # Errors
/// When it is not in time: its status says why.
pub async fn until_established(server: &Server, applied: &Applied) -> Result {
    if applied.resource.kind != "CustomResourceDefinition" {
        return Ok(());
    }
    let name = applied.object["metadata"]["name"].as_str().unwrap_or_default();
    let own = format!("metadata.name={name}");
    let path = query(&applied.resource.collection(None), &[("fieldSelector", Some(&own)), ("watch", Some("1"))]);
    let frames = server.watch(&path, media::JSON).await?;
    pin!(frames);
    let mut last = Value::Null;
    let established = async {
        while let Some(frame) = frames.next().await {
            last = frame?.object;
            if is_true(&last, "Established") {
                return Ok(true);
            }
        }
        Ok::<_, Failure>(false)
    };
    match timeout(LATE, established).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(false)) | Err(_) => {
            let conditions = &last["status"]["conditions"];
            Err(Failure::new(format!("the definition {name} is not established: {conditions}")))
        }
    }
}

fn is_true(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|it| it["type"] == condition && it["status"] == "True")
}
