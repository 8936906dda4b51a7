//! `wasi:sockets` where a guest's network differs from the host's.
//!
//! The linkers hold wasmtime's own functions; those that name an address or a name are replaced here by ones that translate
//! it (see [`Network`]) and then call the original. What the translated address may be used for is still asked of
//! [`Network::allows`].

mod lookup;
mod p2;
mod p3;

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::TrappableError;

use crate::sandbox::Guest;

/// Replaces what a guest's own network changes, in a linker that has all of WASI.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    p2::add_to_linker(linker)?;
    p3::add_to_linker(linker)?;
    lookup::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// An outcome as a guest is told it, or the trap that it is.
fn told<T, E>(outcome: Result<T, TrappableError<E>>) -> Result<(Result<T, E>,)>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match outcome {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => error.downcast().map(|code| (Err(code),)),
    }
}
