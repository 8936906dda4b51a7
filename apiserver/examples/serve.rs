//! An API server over memory, for a look around with `kubectl` and for replaying recorded exchanges:
//! `cargo run -p coracle-apiserver --example serve -- /tmp/kubeconfig`.

use std::sync::Arc;

use coracle_apiserver::{Config, Identity, NoNodes, Pki};
use coracle_store::MemoryStore;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kubeconfig = std::env::args().nth(1).unwrap_or_else(|| "kubeconfig".to_owned());
    let pki = Arc::new(Pki::in_memory()?);
    let mut config = Config::new(pki.clone());
    // Nobody makes service accounts here.
    config.require_service_accounts = std::env::var_os("REQUIRE_SERVICE_ACCOUNTS").is_some();
    let shutdown = CancellationToken::new();
    let server =
        coracle_apiserver::start(config, Arc::new(MemoryStore::new()), Arc::new(NoNodes), shutdown.clone()).await?;
    if let Some(address) = server.local_addr() {
        let content = pki.client_kubeconfig(&format!("https://{address}"), &Identity::admin())?;
        coracle_apiserver::pki::write_private(kubeconfig.as_ref(), &content)?;
    }
    tokio::signal::ctrl_c().await?;
    shutdown.cancel();
    Ok(server.stopped().await?)
}
