//! The operator as a program: `operator crd` prints its definition for `kubectl apply -f -`, `operator` runs it on the
//! cluster of the kubeconfig.

use coracle_sample_operator::{Site, run};
use kube::CustomResourceExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("crd") {
        serde_json::to_writer_pretty(std::io::stdout(), &Site::crd())?;
        return Ok(());
    }
    let stopped = async {
        // Without signals it runs until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    run(kube::Client::try_default().await?, stopped).await;
    Ok(())
}
