//! What a node has, and what of it is for pods.

use super::eviction::{Eviction, Level, Signal};
use super::machine::Machine;
use crate::config::Config;
use crate::pod::admit::Amount;

/// Amounts of what is shared out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub amount: Amount,
    /// On the disk that holds the node's folder.
    pub storage_bytes: u64,
}

/// All there is, by what the kubelet was told or else by the machine.
pub fn capacity(config: &Config, machine: &Machine) -> Resources {
    let amount = Amount {
        cpu_millis: config.capacity.cpu_millis.unwrap_or(machine.cpu_millis),
        memory_bytes: config.capacity.memory_bytes.unwrap_or(machine.memory_bytes),
        pods: config.max_pods.into(),
    };
    Resources { amount, storage_bytes: config.capacity.storage_bytes.unwrap_or(machine.disk_bytes) }
}

/// What pods may have of it: not that last bit below which the node evicts them. What the kubelet was told to claim is given
/// out whole, since the thresholds are the machine's.
///
/// Source: kubelet, `GetNodeAllocatableReservation`.
pub fn allocatable(config: &Config, capacity: Resources) -> Resources {
    let Resources { mut amount, mut storage_bytes } = capacity;
    if config.capacity.memory_bytes.is_none() {
        amount.memory_bytes -= reserved(&config.eviction, Signal::MemoryAvailable, amount.memory_bytes);
    }
    if config.capacity.storage_bytes.is_none() {
        storage_bytes -= reserved(&config.eviction, Signal::NodeFsAvailable, storage_bytes);
    }
    Resources { amount, storage_bytes }
}

/// What a hard threshold keeps of what there is.
fn reserved(eviction: &Eviction, signal: Signal, capacity: u64) -> u64 {
    let level = Level { capacity, available: capacity };
    let hard = eviction.thresholds.iter().find(|threshold| threshold.signal == signal && threshold.grace.is_none());
    hard.map_or(0, |threshold| threshold.value.of(level).bytes().min(capacity))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Capacity;
    use crate::node::eviction::{Limit, Threshold};

    #[test]
    fn what_is_below_a_hard_threshold_is_nobodys() {
        let machine = Machine { cpu_millis: 2000, memory_bytes: 1 << 30, disk_bytes: 10 << 30, ..Machine::default() };
        let of = |change: &dyn Fn(&mut Config)| {
            let mut config = Config::new("a", "/nowhere");
            change(&mut config);
            let Resources { amount, storage_bytes } = allocatable(&config, capacity(&config, &machine));
            assert_eq!(amount.cpu_millis, 2000);
            (amount.memory_bytes >> 20, storage_bytes >> 20)
        };
        assert_eq!(of(&|_| {}), (924, 9 << 10), "100Mi and a tenth");
        assert_eq!(of(&|config| config.eviction.thresholds.clear()), (1024, 10 << 10));
        let threshold = |text: &str, grace| {
            let Limit { signal, value } = text.parse().unwrap();
            Threshold { signal, value, grace, reclaim_min: None }
        };
        let soft = Some(std::time::Duration::from_secs(1));
        assert_eq!(of(&|it| it.eviction.thresholds = vec![threshold("memory.available<50%", soft)]), (1024, 10 << 10));
        assert_eq!(of(&|it| it.eviction.thresholds = vec![threshold("memory.available<2Gi", None)]), (0, 10 << 10));
        let claims = Capacity { memory_bytes: Some(64 << 20), storage_bytes: Some(1 << 30), ..Capacity::default() };
        assert_eq!(of(&|config| config.capacity = claims), (64, 1024));
    }
}
