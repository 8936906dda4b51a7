//! The JavaScript client, as it is: an informer that is cut off and goes on. The script is in `tests/clients/node`.

use std::path::Path;

use coracle_tests::{Interpreter, Throwaway};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test]
async fn an_informer_misses_nothing() -> anyhow::Result<()> {
    let modules = std::env::var("CORACLE_NODE_MODULES").unwrap_or_else(|_| ".".to_owned());
    let modules = std::path::absolute(Path::new(&modules))?.display().to_string();
    let node = Interpreter::new("CORACLE_NODE", "node").with("CORACLE_NODE_MODULES", modules);
    let find = "require('node:module').createRequire(process.env.CORACLE_NODE_MODULES + '/')\
                .resolve('@kubernetes/client-node')";
    if !node.has("@kubernetes/client-node", &["-e", find]).await {
        return Ok(());
    }
    let cluster = Throwaway::up(PROGRAM, &[]).await?;
    node.run("node/informer.mjs", Some(&cluster.kubeconfig()), &[]).await
}
