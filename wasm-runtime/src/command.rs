//! Runs a command: a module's `_start`, or a component's `wasi:cli/run`.

use wasmtime::{InstancePre, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::sandbox::Guest;

/// Runs `_start` to its end, after telling `started`.
pub(crate) async fn run_module(
    program: &InstancePre<Guest>,
    mut store: Store<Guest>,
    started: impl FnOnce(),
) -> wasmtime::Result<()> {
    let instance = program.instantiate_async(&mut store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    started();
    start.call_async(&mut store, ()).await
}

/// Runs `wasi:cli/run` to its end, after telling `started`. Its error is exit code 1.
pub(crate) async fn run_component(
    program: &CommandPre<Guest>,
    mut store: Store<Guest>,
    started: impl FnOnce(),
) -> wasmtime::Result<()> {
    let command = program.instantiate_async(&mut store).await?;
    started();
    match command.wasi_cli_run().call_run(&mut store).await? {
        Ok(()) => Ok(()),
        Err(()) => Err(I32Exit(1).into()),
    }
}
