//! How far an update has come, and the wait for its end.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::pin;

use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::server::{media, query};
use crate::verb::rollout::Rollout;

/// How an update stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not done yet, because of this.
    Waiting(String),
    Done(String),
    Failed(String),
}

pub(super) async fn wait(rollout: &Rollout<'_>, timeout: Option<u64>, wait: bool, out: Out<'_>) -> Result {
    let done = follow(rollout, wait, out);
    match timeout {
        None => done.await,
        Some(limit) => tokio::time::timeout(Duration::from_secs(limit), done)
            .await
            .unwrap_or_else(|_| Err(Failure::new("timed out waiting for the rollout"))),
    }
}

async fn follow(rollout: &Rollout<'_>, wait: bool, out: Out<'_>) -> Result {
    let selector = format!("metadata.name={}", rollout.named.name);
    let collection = rollout.named.resource.collection(Some(rollout.server.namespace()));
    let collection = query(&collection, &[("fieldSelector", Some(&selector))]);
    let mut said = String::new();
    loop {
        let deployment = rollout.server.get(&rollout.path()).await?;
        if say(&deployment, &mut said, out)? || !wait {
            return Ok(());
        }
        let version = deployment["metadata"]["resourceVersion"].as_str();
        let parameters = [("watch", Some("1")), ("resourceVersion", version)];
        let frames = rollout.server.watch(&query(&collection, &parameters), media::JSON).await?;
        pin!(frames);
        while let Some(frame) = frames.next().await {
            let frame = frame?;
            if frame.kind == "DELETED" {
                return Err(Failure::new("the deployment was deleted"));
            }
            if say(&frame.object, &mut said, out)? {
                return Ok(());
            }
        }
    }
}

/// Says what is new; whether it is done.
fn say(deployment: &Value, said: &mut String, out: Out<'_>) -> Result<bool> {
    let (done, words) = match progress(deployment) {
        Progress::Failed(words) => return Err(Failure::new(words)),
        Progress::Waiting(words) => (false, words),
        Progress::Done(words) => (true, words),
    };
    if *said != words {
        writeln!(out, "{words}")?;
        out.flush()?;
        *said = words;
    }
    Ok(done)
}

/// Judges a deployment.
///
/// Source: kubectl's `DeploymentStatusViewer`.
pub fn progress(deployment: &Value) -> Progress {
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let waiting =
        |what: String| Progress::Waiting(format!("Waiting for deployment \"{name}\" rollout to finish: {what}..."));
    if number(&deployment["metadata"]["generation"]) > number(&status["observedGeneration"]) {
        return Progress::Waiting("Waiting for deployment spec update to be observed...".to_owned());
    }
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    if conditions.any(|it| it["type"] == "Progressing" && it["reason"] == "ProgressDeadlineExceeded") {
        return Progress::Failed(format!("deployment \"{name}\" exceeded its progress deadline"));
    }
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let (all, updated, available) =
        (number(&status["replicas"]), number(&status["updatedReplicas"]), number(&status["availableReplicas"]));
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if all > updated {
        return waiting(format!("{} old replicas are pending termination", all - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Progress::Done(format!("deployment \"{name}\" successfully rolled out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_said_in_kubectls_words() {
        let deployment = |observed: i64, all: i64, updated: i64, available: i64| {
            json!({
                "metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3},
                "status": {"observedGeneration": observed, "replicas": all, "updatedReplicas": updated, "availableReplicas": available},
            })
        };
        let table = [
            (deployment(1, 3, 3, 3), "Waiting for deployment spec update to be observed..."),
            (
                deployment(2, 4, 1, 3),
                "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...",
            ),
            (
                deployment(2, 4, 3, 3),
                "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...",
            ),
            (
                deployment(2, 3, 3, 2),
                "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...",
            ),
        ];
        for (deployment, words) in table {
            assert_eq!(progress(&deployment), Progress::Waiting(words.to_owned()));
        }
        let done = progress(&deployment(2, 3, 3, 3));
        assert_eq!(done, Progress::Done("deployment \"web\" successfully rolled out".to_owned()));
        let mut late = deployment(2, 4, 1, 3);
        late["status"]["conditions"] = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
        assert_eq!(progress(&late), Progress::Failed("deployment \"web\" exceeded its progress deadline".to_owned()));
    }
}
