//! Programs of clients that are not ours: run against a cluster that is made for each, where the machine has what they
//! need.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::wait::{DEADLINE, until_within};

/// What runs scripts of one language.
pub struct Interpreter {
    program: String,
    environment: Vec<(&'static str, String)>,
}

/// A running `coracle up --test`; it ends when this is dropped, by the end of its stdin.
pub struct Throwaway {
    _child: Child,
    folder: TempDir,
}

impl Throwaway {
    /// Starts one; it is of use when this returns.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn up(program: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut child = Command::new(program)
            .args(["up", "--test", "--kubeconfig-out"])
            .arg(folder.path().join("kubeconfig"))
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let line = until_within(DEADLINE, "the cluster", async { Ok(lines.next_line().await?) }).await?;
        line.context("it ended before it said how it is reached")?;
        Ok(Self { _child: child, folder })
    }

    /// How it is reached.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

impl Interpreter {
    /// A program that is named by the variable, or by itself.
    pub fn new(variable: &str, program: &str) -> Self {
        let program = std::env::var(variable).unwrap_or_else(|_| program.to_owned());
        Self { program, environment: Vec::new() }
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Whether it is there and has what these arguments ask for; says what is skipped for want of it.
    pub async fn has(&self, what: &str, arguments: &[&str]) -> bool {
        let found = self.command().args(arguments).output().await;
        let has = found.is_ok_and(|output| output.status.success());
        if !has {
            eprintln!("skipped: {} has no {what}", self.program);
        }
        has
    }

    /// Runs a script of `tests/clients` to its end.
    ///
    /// # Errors
    /// When it fails, with what it wrote; or takes too long.
    pub async fn run(&self, script: &str, kubeconfig: Option<&Path>, arguments: &[&str]) -> anyhow::Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
        let mut command = self.command();
        command.arg(path).args(arguments).kill_on_drop(true);
        if let Some(kubeconfig) = kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = until_within(DEADLINE * 2, script, async { Ok(command.output().await?) }).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{script}: {}\n{}", text(&output.stdout), text(&output.stderr));
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().cloned());
        command
    }
}
