//! What guests write.

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::wait::{DEADLINE, until_within};
use crate::{World, is_ready};

pub async fn logs_are_read_and_followed(world: &mut World) -> anyhow::Result<()> {
    world.pod("talks", &world.guests.talks("line", 5), json!({})).await?;
    world.pod_until("talks", "running", is_ready).await?;
    // Following waits for lines that are not there yet.
    let path = "/api/v1/namespaces/default/pods/talks/log";
    let mut body = world.server.stream(&format!("{path}?follow=true")).await?;
    let followed = until_within(DEADLINE, "five lines", async {
        let mut text = String::new();
        while text.lines().count() < 5 {
            let part = body.frame().await.context("the log ended")?.map_err(|error| anyhow::anyhow!(error))?;
            text.push_str(&String::from_utf8_lossy(part.data_ref().map_or(&[], |data| data)));
        }
        Ok(text)
    });
    let whole = "line 0\nline 1\nline 2\nline 3\nline 4\n";
    ensure!(followed.await? == whole, "a followed log is the whole log");
    ensure!(world.server.get(path).await? == whole, "and so is one that is read");
    ensure!(world.server.get(&format!("{path}?tailLines=2")).await? == "line 3\nline 4\n", "or its tail");
    let refused = world.server.get(&format!("{path}?container=other")).await;
    ensure!(refused.is_err_and(|error| error.is_bad_request()), "a container that is not there has no log");
    Ok(())
}

pub async fn logs_of_the_container_before_are_kept(world: &mut World) -> anyhow::Result<()> {
    world.pod("fails", &world.guests.talks_and_fails("last words", 1), json!({})).await?;
    let restarted = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1);
    world.pod_until("fails", "restarted", restarted).await?;
    let log = world.server.get("/api/v1/namespaces/default/pods/fails/log?previous=true").await?;
    ensure!(log == "last words 0\n", "{log}");
    Ok(())
}
