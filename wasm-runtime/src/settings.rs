//! `wasi:config`: what a guest is configured with is its environment.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift, Linker, Lower};
use wasmtime::{Result, StoreContextMut};

use crate::sandbox::Guest;

/// The names under which the interface has gone, whose functions are the same.
pub(crate) const INTERFACES: &[&str] = &[
    "wasi:config/runtime@0.2.0-draft",
    "wasi:config/store@0.2.0",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-rc.1",
];

/// Why a value cannot be read, which does not happen here.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Values = Vec<(String, String)>;

/// Offers the environment under each of [`INTERFACES`].
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    for interface in INTERFACES {
        let mut store = linker.instance(interface)?;
        store.func_wrap("get", |store: StoreContextMut<'_, Guest>, (key,): (String,)| {
            let found = env(&store).iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
            Ok((Ok::<_, Error>(found),))
        })?;
        store.func_wrap("get-all", |store: StoreContextMut<'_, Guest>, (): ()| {
            Ok((Ok::<Values, Error>(env(&store).to_vec()),))
        })?;
    }
    Ok(())
}

fn env(store: &StoreContextMut<'_, Guest>) -> Arc<[(String, String)]> {
    store.data().env()
}
