//! The engines of a process, and how they are set.
//!
//! There are two, which differ in one thing: how the initial contents of a memory get there. Small
//! programs have them copied, which for a few pages is several times faster than a mapping and
//! takes none of the mappings that the kernel limits. Large ones, a Python interpreter say, have
//! them mapped copy-on-write from the artifact. The second is made when it is first needed.

use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, WasmBacktraceDetails};

use crate::limits::{BACKTRACE_FRAMES_MAX, FIBER_STACK_BYTES, WASM_STACK_BYTES};

/// The version of wasmtime that this program is built with.
pub const WASMTIME_VERSION: &str = wasmtime_environ::VERSION;

/// How the initial contents of a memory get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryInit {
    /// Each instance writes its own.
    Copied,
    /// Instances share the pages that they do not write to.
    Mapped,
}

/// Makes an engine. Cheap: nothing is allocated for instances ahead of them.
///
/// Memories reserve 4 GiB of address space each, which elides bounds checks and costs no memory:
/// 10,000 of them take a third of what x86-64 has.
///
/// # Errors
///
/// When the host cannot run this configuration.
pub(crate) fn new(memory_init: MemoryInit) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        .wasm_component_model_async(true)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_init_cow(memory_init == MemoryInit::Mapped)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    Engine::new(&config)
}

/// Names everything that compiled code depends on besides the module: two engines whose settings
/// have the same name run each other's artifacts.
pub(crate) fn settings_name(engine: &Engine) -> String {
    let mut hasher = Settings(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Feeds what is hashed to a hash that is the same in every process.
struct Settings(Sha256);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is taken instead")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_same_name_in_every_engine() {
        use MemoryInit::{Copied, Mapped};
        let [copied, again, mapped] =
            [Copied, Copied, Mapped].map(|memory_init| settings_name(&new(memory_init).expect("the host has wasm")));
        assert_eq!(copied, again);
        assert_eq!(copied.len(), 16);
        assert_ne!(copied, mapped);
    }
}
