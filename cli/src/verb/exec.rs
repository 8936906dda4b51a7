//! `coracle exec`: a container's module again, with other arguments, at this terminal.

use std::time::Duration;

use tokio::io::{stderr, stdin, stdout};

use crate::failure::{Failure, Result};
use crate::remote::{Ask, Streams, attachable, container, ended, run as ask};
use crate::server::{Access, Server};
use crate::terminal::{self, Raw};
use crate::verb::run::time;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) at: At,

    /// What was once the command; it follows `--` now
    #[arg(hide = true)]
    misplaced: Vec<String>,

    /// The program's name and arguments, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The container that is meant, and how it is spoken to.
#[derive(Debug, clap::Args)]
pub(super) struct At {
    /// The pod, or what it belongs to: `web-5d`, `deploy/web`
    #[arg(value_name = "POD | TYPE/NAME")]
    pub target: String,

    /// The container
    #[arg(long, short, value_name = "NAME")]
    pub container: Option<String>,

    /// Pass standard input on
    #[arg(long, short = 'i')]
    pub stdin: bool,

    /// Standard input is a terminal
    #[arg(long, short)]
    pub tty: bool,

    /// Say nothing but what the container says
    #[arg(long, short)]
    pub quiet: bool,

    /// How long a pod is waited for
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1m")]
    pub pod_running_timeout: Duration,
}

impl At {
    /// Says something beside the container's own words.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }

    /// The terminal to be spoken over, where one is wanted, and is there. Source: kubectl's `SetupTTY`.
    pub fn terminal(&self, wanted: bool) -> Result<Option<Raw>> {
        if !wanted || !self.stdin {
            return Ok(None);
        }
        if !terminal::is_typed() {
            self.say("Unable to use a TTY - input is not a terminal or the right kind of file");
            return Ok(None);
        }
        Ok(Some(Raw::enter()?))
    }
}

/// Runs the verb.
///
/// # Errors
/// When it cannot be run; with the command's own code, when that is not 0.
pub async fn run(options: Options, access: &Access) -> Result {
    let Options { at, misplaced, command } = options;
    if !misplaced.is_empty() {
        return Err(Failure::new("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead"));
    }
    if command.is_empty() {
        return Err(Failure::new("you must specify at least one command for the container"));
    }
    let server = Server::connect(access).await?;
    let target = attachable(&server, &at.target, at.pod_running_timeout).await?;
    target.still_runs("exec into")?;
    let (container, said) = container(&target.pod, at.container.as_deref())?;
    if let Some(said) = said {
        at.say(&said);
    }
    let container = container["name"].as_str().unwrap_or_default();
    let raw = at.terminal(at.tty)?;
    let wanted = Ask { what: "exec", container, command: &command, stderr: raw.is_none(), tty: raw.is_some() };
    let streams = Streams { stdin: at.stdin.then(stdin), stdout: stdout(), stderr: stderr() };
    let status = ask(&server, &target, &wanted, streams).await;
    drop(raw);
    ended(&status?)
}
