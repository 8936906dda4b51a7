//! Runs a command: a module's `_start`, or a component's `wasi:cli/run`.

use wasmtime::{InstancePre, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p3::bindings::CommandPre as AsyncCommandPre;

use crate::sandbox::Guest;

/// Runs `_initialize`, after telling `started`, and `_start` to its end. A module has at least one of them.
pub(crate) async fn run_module(
    program: &InstancePre<Guest>,
    mut store: Store<Guest>,
    started: impl FnOnce(),
) -> wasmtime::Result<()> {
    let instance = program.instantiate_async(&mut store).await?;
    started();
    for name in ["_initialize", "_start"] {
        if let Some(function) = instance.get_func(&mut store, name) {
            function.typed::<(), ()>(&store)?.call_async(&mut store, ()).await?;
        }
    }
    Ok(())
}

/// Runs `wasi:cli/run@0.2` to its end, after telling `started`. Its error is exit code 1.
pub(crate) async fn run_component(
    program: &CommandPre<Guest>,
    mut store: Store<Guest>,
    started: impl FnOnce(),
) -> wasmtime::Result<()> {
    let command = program.instantiate_async(&mut store).await?;
    started();
    exit(command.wasi_cli_run().call_run(&mut store).await?)
}

/// Runs `wasi:cli/run@0.3` to its end, after telling `started`. Its error is exit code 1.
pub(crate) async fn run_async_component(
    program: &AsyncCommandPre<Guest>,
    mut store: Store<Guest>,
    started: impl FnOnce(),
) -> wasmtime::Result<()> {
    let command = program.instantiate_async(&mut store).await?;
    started();
    exit(store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await).await??)
}

fn exit(outcome: Result<(), ()>) -> wasmtime::Result<()> {
    outcome.map_err(|()| I32Exit(1).into())
}
