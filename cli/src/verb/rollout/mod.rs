//! `coracle rollout`: how a deployment's update goes, and back to an earlier one.

mod history;
mod status;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::server::{Access, Named, Server, media};
use crate::verb::logs::seconds;

/// Source: the annotations of kubectl and of the deployment controller.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Wait until the update is done
    Status {
        #[command(flatten)]
        target: Target,
        /// How long: `30s`, `5m` [default: as long as it takes]
        #[arg(long, value_parser = seconds, value_name = "TIME")]
        timeout: Option<u64>,
        /// Say how it stands, and do not wait
        #[arg(long)]
        no_wait: bool,
    },
    /// Go back to the update before, or to a certain one
    Undo {
        #[command(flatten)]
        target: Target,
        #[arg(long, value_name = "REVISION")]
        to_revision: Option<u64>,
    },
    /// Replace all pods by new ones
    Restart {
        #[command(flatten)]
        target: Target,
    },
    /// The updates so far
    History {
        #[command(flatten)]
        target: Target,
        /// What this one looks like
        #[arg(long)]
        revision: Option<u64>,
    },
    /// Let changes gather, without pods for them
    Pause {
        #[command(flatten)]
        target: Target,
    },
    /// Go on after a pause
    Resume {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, clap::Args)]
pub struct Target {
    /// What: `deploy/web`
    #[arg(required = true, value_name = "TYPE/NAME")]
    target: Vec<String>,
}

/// A deployment on its server.
struct Rollout<'a> {
    server: &'a Server,
    named: Named,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such deployment, its update fails, or there is nothing to go back to.
pub async fn run(command: Command, access: &Access, out: Out<'_>) -> Result {
    let server = Server::connect(access).await?;
    match command {
        Command::Status { target, timeout, no_wait } => {
            status::wait(&Rollout::of(&server, &target.target).await?, timeout, !no_wait, out).await
        }
        Command::Undo { target, to_revision } => undo(&server, &target.target.join("/"), to_revision, out).await,
        Command::Restart { target } => {
            let rollout = Rollout::of(&server, &target.target).await?;
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            rollout.patch(json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}})).await?;
            rollout.say("restarted", out)
        }
        Command::History { target, revision } => {
            history::show(&Rollout::of(&server, &target.target).await?, revision, out).await
        }
        Command::Pause { target } => Rollout::of(&server, &target.target).await?.set_paused(true, out).await,
        Command::Resume { target } => Rollout::of(&server, &target.target).await?.set_paused(false, out).await,
    }
}

/// Goes back to an earlier revision, on a server that is reached already.
///
/// # Errors
/// When there is none to go back to.
pub async fn undo(server: &Server, target: &str, to_revision: Option<u64>, out: Out<'_>) -> Result {
    let rollout = Rollout::of(server, &[target.to_owned()]).await?;
    rollout.undo(to_revision).await?;
    rollout.say("rolled back", out)
}

impl<'a> Rollout<'a> {
    async fn of(server: &'a Server, words: &[String]) -> Result<Self> {
        let named = Named::one(&server.discover().await?, words)?;
        if named.resource.kind != "Deployment" {
            return Err(Failure::new(format!("a {} has no rollout", named.resource.kind)));
        }
        Ok(Self { server, named })
    }

    fn path(&self) -> String {
        self.named.resource.object(self.server.namespace(), &self.named.name)
    }

    async fn patch(&self, patch: Value) -> Result {
        self.server.patch(&self.path(), media::MERGE_PATCH, &patch).await?;
        Ok(())
    }

    async fn set_paused(&self, paused: bool, out: Out<'_>) -> Result {
        let is = self.server.get(&self.path()).await?["spec"]["paused"].as_bool().unwrap_or(false);
        let word = if paused { "paused" } else { "resumed" };
        if is == paused {
            let state = if paused { "already paused" } else { "not paused" };
            return Err(Failure::new(format!("{} is {state}", self.named.resource.named(&self.named.name))));
        }
        self.patch(json!({"spec": {"paused": paused}})).await?;
        self.say(word, out)
    }

    /// Puts the template of an earlier revision in place of the present one.
    async fn undo(&self, to_revision: Option<u64>) -> Result {
        let deployment = self.server.get(&self.path()).await?;
        if deployment["spec"]["paused"] == true {
            return Err(Failure::new("a paused deployment cannot be rolled back")
                .with_hint("`coracle rollout resume` it first"));
        }
        let mut template = self.revisions(&deployment).await?.pick(to_revision)?["spec"]["template"].clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        // Whatever else changes meanwhile, and the status does all the time, is not the template's business.
        let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
        self.server.patch(&self.path(), media::JSON_PATCH, &patch).await?;
        Ok(())
    }

    async fn revisions(&self, deployment: &Value) -> Result<history::Revisions> {
        let uid = deployment["metadata"]["uid"].as_str().unwrap_or_default();
        let sets = format!("/apis/apps/v1/namespaces/{}/replicasets", self.server.namespace());
        Ok(history::Revisions::of(&self.server.get(&sets).await?, uid))
    }

    fn say(&self, what: &str, out: Out<'_>) -> Result {
        Ok(writeln!(out, "{} {what}", self.named.resource.named(&self.named.name))?)
    }
}
