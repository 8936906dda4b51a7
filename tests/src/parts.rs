//! The parts of a cluster as processes of their own, over TLS: API server, scheduler, controllers, and one node.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::network::Network;
use crate::wait::{DEADLINE, until_within};

/// The name of the node.
pub const NODE: &str = "alone";

/// A running control plane, and a node that can be killed and started again.
pub struct Parts {
    program: PathBuf,
    data: TempDir,
    root: TempDir,
    network: Network,
    kubeconfig: PathBuf,
    kubelet: Option<Child>,
    _control_plane: [Child; 3],
}

impl Parts {
    /// Starts the control plane; the API answers when this returns. The node is yet to be started.
    ///
    /// # Errors
    /// When a part cannot be started, or the API does not answer.
    pub async fn start(program: &str) -> anyhow::Result<Self> {
        let (data, root, network) = (tempfile::tempdir()?, tempfile::tempdir()?, Network::claim()?);
        let mut api = Command::new(program)
            .args(["apiserver", "--listen", "127.0.0.1:0", "--node-name", NODE, "--data-dir"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = api.stdout.take().context("no stdout")?;
        let kubeconfig = until_within(DEADLINE, "the API server", kubeconfig_of(stdout)).await?;
        let part = |verb: &str| {
            let kubeconfig = data.path().join("pki").join(format!("{verb}.kubeconfig"));
            Command::new(program).arg(verb).arg("--kubeconfig").arg(kubeconfig).kill_on_drop(true).spawn()
        };
        let control_plane = [part("scheduler")?, part("controller-manager")?, api];
        Ok(Self {
            program: program.into(),
            data,
            root,
            network,
            kubeconfig,
            kubelet: None,
            _control_plane: control_plane,
        })
    }

    /// Starts the node on its folder, whatever it was like before. `more` are further arguments.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start_kubelet(&mut self, more: &[&str]) -> anyhow::Result<()> {
        self.start_kubelet_by(&self.node_folder().join("kubeconfig"), more)
    }

    /// Starts the node with a kubeconfig of its own. It finds its certificate beside that.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start_kubelet_by(&mut self, kubeconfig: &Path, more: &[&str]) -> anyhow::Result<()> {
        let kubelet = Command::new(&self.program)
            .args(["kubelet", "--node-name", NODE, "--listen", "127.0.0.1:0", "--no-proxy", "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--pod-cidr", &self.network.pods(0).to_string(), "--root-dir"])
            .arg(self.root.path())
            .args(more)
            .kill_on_drop(true)
            .spawn()?;
        self.kubelet = Some(kubelet);
        Ok(())
    }

    /// Ends the node as a power cut does, and all that runs on it.
    ///
    /// # Errors
    /// When it has not been started, or cannot be killed.
    pub async fn kill_kubelet(&mut self) -> anyhow::Result<()> {
        Ok(self.kubelet.take().context("no kubelet runs")?.kill().await?)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where the API server has put what the node needs: its kubeconfig and its certificate.
    pub fn node_folder(&self) -> PathBuf {
        self.data.path().join("pki/nodes").join(NODE)
    }

    /// Where the node keeps all that it knows.
    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

/// The API server says where its kubeconfig is, once it answers.
async fn kubeconfig_of(stdout: tokio::process::ChildStdout) -> anyhow::Result<PathBuf> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(path) = line.strip_prefix("kubeconfig") {
            return Ok(PathBuf::from(path.trim()));
        }
    }
    bail!("it ended before it answered")
}
