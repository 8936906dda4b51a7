//! Which cluster, as whom, and where in it: the flags that every verb has.

use std::env;
use std::path::PathBuf;

use crate::data_dir::DataDir;

/// Where a verb goes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Access {
    /// The cluster's kubeconfig [default: $KUBECONFIG, then that of `coracle up`, then ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,

    /// The namespace [default: that of the context]
    #[arg(long, short, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
}

impl Access {
    /// The kubeconfig to read; none where kube's own rules decide (several files in `$KUBECONFIG`, `~/.kube/config`, the
    /// service account of a pod).
    pub fn kubeconfig_path(&self) -> Option<PathBuf> {
        if self.kubeconfig.is_some() {
            return self.kubeconfig.clone();
        }
        if env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty()) {
            return None;
        }
        DataDir::default_path().map(|path| DataDir::new(path).kubeconfig()).filter(|path| path.exists())
    }
}
