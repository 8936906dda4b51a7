//! A program with kubectl's habits, run on one cluster.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::wait::{DEADLINE, until_within};

/// `kubectl`, or `coracle` itself.
pub struct Tool<'a> {
    program: &'a Path,
    kubeconfig: &'a Path,
    variables: Vec<(&'static str, &'static str)>,
}

/// The kubectl of this machine, if there is one.
pub fn kubectl() -> Option<PathBuf> {
    let found =
        std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("kubectl")).find(|it| it.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no kubectl on this machine");
    }
    found
}

impl<'a> Tool<'a> {
    pub fn new(program: &'a Path, kubeconfig: &'a Path) -> Self {
        Self { program, kubeconfig, variables: Vec::new() }
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Runs it; what it printed.
    ///
    /// # Errors
    /// When it fails, with what it complained.
    pub async fn run(&self, line: &str) -> anyhow::Result<String> {
        self.with(line, "").await
    }

    /// Runs it where it must fail; what it complained.
    ///
    /// # Errors
    /// When it does not fail.
    pub async fn refused(&self, line: &str) -> anyhow::Result<String> {
        let output = self.output(line, "").await?;
        ensure!(!output.status.success(), "{line} did not fail");
        Ok(String::from_utf8(output.stderr)?)
    }

    /// Runs it with something on stdin.
    ///
    /// # Errors
    /// As [`Tool::run`].
    pub async fn with(&self, line: &str, stdin: &str) -> anyhow::Result<String> {
        let output = self.output(line, stdin).await?;
        ensure!(output.status.success(), "{line}: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts it, with pipes.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(&self, line: &str) -> anyhow::Result<Child> {
        let mut command = Command::new(self.program);
        command.arg("--kubeconfig").arg(self.kubeconfig).args(line.split_whitespace());
        command.envs(self.variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(command.stderr(Stdio::piped()).kill_on_drop(true).spawn()?)
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn output(&self, line: &str, stdin: &str) -> anyhow::Result<Output> {
        let mut child = self.start(line)?;
        let mut pipe = child.stdin.take().context("no stdin")?;
        let given = async {
            // Who has ended reads no more.
            let _ = pipe.write_all(stdin.as_bytes()).await;
            drop(pipe);
        };
        let ended = async { Ok(tokio::join!(given, child.wait_with_output()).1?) };
        until_within(DEADLINE, line, ended).await
    }
}
