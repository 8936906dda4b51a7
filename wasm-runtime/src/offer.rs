//! What this host offers for import, and the linkers that provide it.
//!
//! The names stand in tables so that a program can be refused before it is compiled, with every
//! import that is missing; a test holds the tables against the linkers.

use std::sync::OnceLock;

use wasmtime::{Engine, Linker, component};
use wasmtime_wasi::{p0, p1, p2, p3};
use wasmtime_wasi_http::{p2 as http, p3 as http_async};

use crate::inspect::Wasi;
use crate::sandbox::Guest;
use crate::{settings, sockets};

/// Interfaces offered to components at any `0.2.x`, without version.
const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Interfaces offered to components at any `0.3.x`, without version.
const INTERFACES_P3: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/types",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/client",
    "wasi:http/types",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/types",
];

/// Module names under which [`FUNCTIONS`] are offered.
const SNAPSHOTS: &[&str] = &["wasi_snapshot_preview1", "wasi_unstable"];

/// Functions offered to modules.
const FUNCTIONS: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Functions that the second snapshot added.
const FUNCTIONS_P1: &[&str] = &["sock_accept"];

/// Whether a component may import `name`, such as `wasi:io/streams@0.2.3`.
pub(crate) fn offers_interface(name: &str) -> bool {
    let Some((interface, _)) = name.split_once('@') else { return false };
    match Wasi::of_interface(name) {
        Some(Wasi::P2) if INTERFACES.binary_search(&interface).is_ok() => true,
        Some(Wasi::P3) => INTERFACES_P3.binary_search(&interface).is_ok(),
        _ => settings::INTERFACES.contains(&name),
    }
}

/// Whether a module may import `function` from `module`.
pub(crate) fn offers_function(module: &str, function: &str) -> bool {
    SNAPSHOTS.contains(&module) && FUNCTIONS.binary_search(&function).is_ok()
        || module == SNAPSHOTS[0] && FUNCTIONS_P1.contains(&function)
}

/// The linkers, each made when the first program of its form is linked.
#[derive(Default)]
pub(crate) struct Linkers {
    module: OnceLock<Linker<Guest>>,
    component: OnceLock<component::Linker<Guest>>,
}

impl Linkers {
    pub(crate) fn module(&self, engine: &Engine) -> &Linker<Guest> {
        self.module.get_or_init(|| module_linker(engine).expect("our own names do not clash"))
    }

    pub(crate) fn component(&self, engine: &Engine) -> &component::Linker<Guest> {
        self.component.get_or_init(|| component_linker(engine).expect("our own names do not clash"))
    }
}

fn module_linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, Guest::p1)?;
    p0::add_to_linker_async(&mut linker, Guest::p1)?;
    Ok(linker)
}

fn component_linker(engine: &Engine) -> wasmtime::Result<component::Linker<Guest>> {
    let mut linker = component::Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    http::add_only_http_to_linker_async(&mut linker)?;
    p3::add_to_linker(&mut linker)?;
    http_async::add_to_linker(&mut linker)?;
    settings::add_to_linker(&mut linker)?;
    sockets::add_to_linker(&mut linker)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Component;
    use wasmtime::{Extern, Store};

    use super::*;
    use crate::engine::{Allocation, MemoryInit};

    #[test]
    fn the_tables_are_sorted() {
        assert!(INTERFACES.is_sorted());
        assert!(INTERFACES_P3.is_sorted());
        assert!(FUNCTIONS.is_sorted());
    }

    #[test]
    fn what_is_offered_to_components_is_linked() {
        let engine = crate::engine::new(MemoryInit::Copied, Allocation::OnDemand).expect("the host has wasm");
        let linker = component_linker(&engine).expect("links");
        let versioned = |interfaces: &[&str], versions: [&str; 2]| -> Vec<String> {
            interfaces.iter().flat_map(|name| versions.map(|version| format!("{name}@{version}"))).collect()
        };
        let mut names = versioned(INTERFACES, ["0.2.0", "0.2.6"]);
        names.extend(versioned(INTERFACES_P3, ["0.3.0", "0.3.1"]));
        names.extend(settings::INTERFACES.iter().map(ToString::to_string));
        for name in names {
            assert!(offers_interface(&name), "{name}");
            let wasm = wat::parse_str(format!(r#"(component (import "{name}" (instance)))"#)).expect("good text");
            let component = Component::new(&engine, wasm).expect("a component");
            linker.instantiate_pre(&component).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }

    #[test]
    fn what_is_offered_to_modules_is_linked_and_the_other_way_round() {
        let engine = crate::engine::new(MemoryInit::Copied, Allocation::OnDemand).expect("the host has wasm");
        let linker = module_linker(&engine).expect("links");
        let mut store = Store::new(&engine, crate::sandbox::tests::guest());
        let linked: Vec<_> = linker
            .iter(&mut store)
            .filter(|(_, _, item)| matches!(item, Extern::Func(_)))
            .map(|(module, name, _)| (module.to_owned(), name.to_owned()))
            .collect();
        for (module, name) in &linked {
            assert!(offers_function(module, name), "{module}.{name} is linked but not offered");
        }
        assert_eq!(linked.len(), SNAPSHOTS.len() * FUNCTIONS.len() + FUNCTIONS_P1.len());
    }

    #[test]
    fn other_worlds_and_versions_are_not_offered() {
        for name in [
            "wasi:keyvalue/store@0.2.0",
            "wasi:cli/run@0.3.0",
            "wasi:io/streams@0.3.0",
            "wasi:io/poll",
            "wasi:io/poll@0.2.0-rc-2023-11-10",
            "wasi:http/types@0.3.0-rc-2025-09-16",
            "wasi:config/store@0.3.0",
            "host",
        ] {
            assert!(!offers_interface(name), "{name}");
        }
        for (module, name) in [("env", "fd_write"), ("wasi_unstable", "sock_accept"), ("env", "memory")] {
            assert!(!offers_function(module, name), "{module}.{name}");
        }
    }
}
