//! Updates of deployments.

use anyhow::ensure;
use coracle::output::Out;
use coracle::server::media;
use serde_json::{Value, json};

use crate::{World, is_ready};

pub async fn an_update_rolls_and_is_undone(world: &mut World) -> anyhow::Result<()> {
    let (first, second) = (world.guests.waits(), world.guests.talks("new", 1));
    world.deployment("web", &first, 3).await?;
    world.ready_pods("web", 3).await?;
    world.deployment("web", &second, 3).await?;
    runs_only(world, &second).await?;

    undo(world).await?;
    runs_only(world, &first).await?;
    let deployment = world.server.get("/apis/apps/v1/namespaces/default/deployments/web").await?;
    let revision = &deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    ensure!(revision == "3", "going back is a revision too: {revision}");
    let sets = world.server.get("/apis/apps/v1/namespaces/default/replicasets").await?;
    ensure!(sets["items"].as_array().map(Vec::len) == Some(2), "and takes the replica set that was there: {sets}");
    Ok(())
}

pub async fn a_paused_update_waits(world: &mut World) -> anyhow::Result<()> {
    let (first, second) = (world.guests.waits(), world.guests.talks("new", 1));
    world.deployment("web", &first, 2).await?;
    world.ready_pods("web", 2).await?;
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    let pause = |paused: bool| json!({"spec": {"paused": paused}});
    world.server.patch(path, media::MERGE_PATCH, &pause(true)).await?;
    world.deployment("web", &second, 2).await?;
    // What is scaled while it is paused is of the old template.
    world.scale("web", 3).await?;
    world.ready_pods("web", 3).await?;
    runs_only(world, &first).await?;
    world.server.patch(path, media::MERGE_PATCH, &pause(false)).await?;
    runs_only(world, &second).await
}

/// Waits until all pods are ready and of one image.
async fn runs_only(world: &World, image: &str) -> anyhow::Result<()> {
    let all = |pods: &[Value]| {
        let of_image = |pod: &Value| is_ready(pod) && pod["spec"]["containers"][0]["image"] == image;
        !pods.is_empty() && pods.iter().all(of_image)
    };
    world.until(&crate::world::pods_of("web"), &format!("only pods of {image}"), all).await?;
    Ok(())
}

/// The verb itself, on this world's server.
async fn undo(world: &World) -> anyhow::Result<()> {
    let mut said = Vec::new();
    let out: Out<'_> = &mut said;
    coracle::verb::rollout::undo(&world.server, "deploy/web", None, out).await.map_err(crate::cluster::plain)?;
    ensure!(said == b"deployment.apps/web rolled back\n", "{}", String::from_utf8_lossy(&said));
    Ok(())
}
