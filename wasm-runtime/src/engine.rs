//! The one engine of a process, and how it is set.

use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, WasmBacktraceDetails};

use crate::limits::{BACKTRACE_FRAMES_MAX, FIBER_STACK_BYTES, WASM_STACK_BYTES};

/// Makes the engine. Cheap: nothing is allocated for instances ahead of them.
///
/// Memories reserve 4 GiB of address space each, which elides bounds checks and costs no memory:
/// 10,000 of them take a third of what x86-64 has. Their initial contents are mapped
/// copy-on-write from the artifact.
///
/// # Errors
///
/// When the host cannot run this configuration.
pub(crate) fn new() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_init_cow(true)
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
        let names = [new(), new()].map(|engine| settings_name(&engine.expect("the host has wasm")));
        assert_eq!(names[0], names[1]);
        assert_eq!(names[0].len(), 16);
    }
}
