//! The engines of a process, and how they are set.
//!
//! They differ in how the initial contents of a memory get there. Small programs have them copied,
//! which for a few pages is several times faster than a mapping and takes none of the mappings that
//! the kernel limits. Large ones, a Python interpreter say, have them mapped copy-on-write from the
//! artifact. And they differ in where an instance lives: those of servers, of which there is one a
//! request, have their memory and stack from a pool, since to map and unmap them would take a third
//! of the time of a small request. All but the first are made when they are first needed.

use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::limits::{
    BACKTRACE_FRAMES_MAX, FIBER_STACK_BYTES, MAPPED_BYTES_MIN, POOLED_INSTANCES_MAX, POOLED_MODULES_MAX,
    POOLED_RESIDENT_BYTES, POOLED_TABLE_ELEMENTS_MAX, POOLED_TABLES_MAX, WASM_STACK_BYTES,
};

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

impl MemoryInit {
    /// What suits a program of `bytes`.
    pub(crate) fn of(bytes: u64) -> Self {
        if bytes < MAPPED_BYTES_MIN as u64 { Self::Copied } else { Self::Mapped }
    }
}

/// Where an instance's memory and stack come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// The kernel, and they go back to it.
    OnDemand,
    /// A pool of [`POOLED_INSTANCES_MAX`]: whoever makes more fails. A program that does not fit is refused when it is
    /// mapped.
    Pooled,
}

/// Makes an engine. Cheap: nothing but address space is taken for instances ahead of them.
///
/// Memories reserve 4 GiB of address space each, which elides bounds checks and costs no memory:
/// 10,000 of them take a third of what x86-64 has.
///
/// # Errors
///
/// When the host cannot run this configuration.
pub(crate) fn new(memory_init: MemoryInit, allocation: Allocation) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        .wasm_component_model_async(true)
        .allocation_strategy(match allocation {
            Allocation::OnDemand => InstanceAllocationStrategy::OnDemand,
            Allocation::Pooled => InstanceAllocationStrategy::Pooling(pool()),
        })
        .memory_init_cow(memory_init == MemoryInit::Mapped)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    Engine::new(&config)
}

/// A pool in which every part of an instance has its place.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOLED_INSTANCES_MAX)
        .total_memories(POOLED_INSTANCES_MAX)
        .total_stacks(POOLED_INSTANCES_MAX)
        .total_gc_heaps(POOLED_INSTANCES_MAX)
        .total_core_instances(POOLED_INSTANCES_MAX * POOLED_MODULES_MAX)
        .total_tables(POOLED_INSTANCES_MAX * POOLED_TABLES_MAX)
        .max_memories_per_component(1)
        .max_core_instances_per_component(POOLED_MODULES_MAX)
        .max_tables_per_component(POOLED_TABLES_MAX)
        .table_elements(POOLED_TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(POOLED_RESIDENT_BYTES)
        .table_keep_resident(POOLED_RESIDENT_BYTES)
        .async_stack_keep_resident(POOLED_RESIDENT_BYTES);
    pool
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
        let name = |memory_init, allocation| settings_name(&new(memory_init, allocation).expect("the host has wasm"));
        let copied = name(Copied, Allocation::OnDemand);
        let mapped = name(Mapped, Allocation::OnDemand);
        assert_eq!(copied, name(Copied, Allocation::OnDemand));
        assert_eq!([&copied, &mapped], [&name(Copied, Allocation::Pooled), &name(Mapped, Allocation::Pooled)]);
        assert_eq!(copied.len(), 16);
        assert_ne!(copied, mapped);
    }
}
