//! `coracle scale`: how many pods a workload has.

use serde_json::json;

use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::server::{Access, Server, Targets, media};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What: `deploy/web`, `rs web`
    #[arg(required = true, value_name = "TYPE/NAME")]
    targets: Vec<String>,

    /// How many
    #[arg(long)]
    replicas: u32,

    /// Only when it has so many now
    #[arg(long, value_name = "REPLICAS")]
    current_replicas: Option<u32>,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such workload, or it cannot be scaled.
pub async fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    let server = Server::connect(access).await?;
    let discovery = server.discover().await?;
    let Targets::Objects(objects) = Targets::parse(&discovery, &options.targets)? else {
        return Err(Failure::new("name what to scale, as TYPE/NAME"));
    };
    for object in objects {
        let path = format!("{}/scale", object.resource.object(server.namespace(), &object.name));
        if let Some(expected) = options.current_replicas {
            let found = server.get(&path).await?["spec"]["replicas"].as_u64().unwrap_or(0);
            if found != u64::from(expected) {
                return Err(Failure::new(format!("expected {expected} replicas, and there are {found}")));
            }
        }
        server.patch(&path, media::MERGE_PATCH, &json!({"spec": {"replicas": options.replicas}})).await?;
        writeln!(out, "{} scaled", object.resource.named(&object.name))?;
    }
    Ok(())
}
