//! The program as a process: `coracle up` on a folder and a free port.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::network::Network;
use crate::wait::{DEADLINE, until_within};

/// A running `coracle up`.
pub struct Process {
    child: Child,
    folder: TempDir,
    network: Network,
    program: PathBuf,
}

impl Process {
    /// Starts the program on an empty folder; the API answers when this returns.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub async fn up(program: &str) -> anyhow::Result<Self> {
        let (folder, network) = (tempfile::tempdir()?, Network::claim()?);
        let child = start(Path::new(program), folder.path(), &network).await?;
        Ok(Self { child, folder, network, program: program.into() })
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The program, to run verbs of.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Ends it as Ctrl-C does, and waits.
    ///
    /// # Errors
    /// When it fails at that, or takes too long.
    pub async fn interrupt(&mut self) -> anyhow::Result<()> {
        let pid = self.child.id().context("it has ended already")?;
        Command::new("kill").args(["-INT", &pid.to_string()]).status().await?;
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.context("it did not stop")??;
        anyhow::ensure!(status.success(), "it stopped with {status}");
        Ok(())
    }

    /// Ends it as a power cut does.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again, on the same folder.
    ///
    /// # Errors
    /// As [`Process::up`].
    pub async fn again(&mut self) -> anyhow::Result<()> {
        std::fs::remove_file(self.kubeconfig())?;
        self.child = start(&self.program, self.folder.path(), &self.network).await?;
        Ok(())
    }
}

async fn start(program: &Path, folder: &Path, network: &Network) -> anyhow::Result<Child> {
    let mut child = Command::new(program)
        .arg("up")
        .arg("--data-dir")
        .arg(folder)
        .args(["--listen", "127.0.0.1:0", "--pod-cidr", &network.pods(0).to_string()])
        .args(["--service-cidr", &network.services()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let stdout = child.stdout.take().context("no stdout")?;
    until_within(DEADLINE, "the process to be up", up(stdout)).await?;
    Ok(child)
}

/// The process says where its kubeconfig is once the API answers, and goes on to write.
async fn up(stdout: tokio::process::ChildStdout) -> anyhow::Result<()> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("up;") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(());
        }
    }
    bail!("it ended before it was up")
}
