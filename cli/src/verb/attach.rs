//! `coracle attach`: what a running container writes, and what it is answered, at this terminal.

use tokio::io::{stderr, stdin, stdout};

use super::exec::At;
use crate::failure::Result;
use crate::remote::{Ask, Streams, attachable, container, ended, run as ask};
use crate::server::{Access, Server};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    at: At,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such container, or the connection breaks.
pub async fn run(options: Options, access: &Access) -> Result {
    let Options { at } = options;
    let server = Server::connect(access).await?;
    let target = attachable(&server, &at.target, at.pod_running_timeout).await?;
    target.still_runs("attach")?;
    let found = container(&target.pod, at.container.as_deref());
    let (container, said) = found.map_err(|failure| failure.with_context("cannot attach to the container"))?;
    if let Some(said) = said {
        at.say(&said);
    }
    let name = container["name"].as_str().unwrap_or_default();
    let has_tty = container["tty"] == true;
    if at.tty && !has_tty {
        at.say(&format!("error: Unable to use a TTY - container {name} did not allocate one"));
    }
    // Whoever writes to a terminal does so, wanted or not.
    let raw = at.terminal(has_tty)?;
    at.say(
        "All commands and output from this session will be recorded in container logs, including credentials and \
         sensitive information passed through the command prompt.",
    );
    at.say("If you don't see a command prompt, try pressing enter.");
    let is_raw = raw.is_some();
    let wanted = Ask { what: "attach", container: name, command: &[], stderr: !is_raw, tty: is_raw };
    let streams = Streams { stdin: at.stdin.then(stdin), stdout: stdout(), stderr: stderr() };
    let status = ask(&server, &target, &wanted, streams).await;
    drop(raw);
    ended(&status?)?;
    if is_raw {
        let (pod, namespace) = (target.name(), server.namespace());
        at.say(&format!("Session ended, resume using 'coracle attach {pod} -c {name} -n {namespace} -i -t' command"));
    }
    Ok(())
}
