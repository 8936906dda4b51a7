//! Why a pod was evicted, in upstream's words. Pure. Source: kubelet, `evictionMessage`.

use std::fmt::Write as _;

use coracle_api::quantity::Quantity;

use super::signal::{Observations, Resource};
use super::threshold::Threshold;

/// What a container uses of a resource, and what it asked for.
#[derive(Clone, Debug)]
pub struct Share {
    pub container: String,
    pub used: Quantity,
    pub requested: Quantity,
}

/// The message of a pod that goes for `resource`. `due` are the thresholds that something is done for.
pub fn evicted(resource: Resource, due: &[Threshold], observed: &Observations, shares: &[Share]) -> String {
    let name = resource.as_str();
    let mut message = format!("The node was low on resource: {name}. ");
    let threshold = due.iter().find(|threshold| threshold.signal.resource() == resource);
    if let Some((threshold, level)) = threshold.and_then(|it| Some((it, observed.of(it.signal)?))) {
        let (quantity, available) = (threshold.value.of(level), level.amount(threshold.signal));
        let _ = write!(message, "Threshold quantity: {quantity}, available: {available}. ");
    }
    for Share { container, used, requested } in shares.iter().filter(|share| share.used > share.requested) {
        let _ = write!(
            message,
            "Container {container} was using {used}, request is {requested}, has larger consumption of {name}. "
        );
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::eviction::signal::{Level, Signal};
    use crate::node::eviction::threshold::{Eviction, Value};

    #[test]
    fn it_says_what_lacks_and_who_took_more_than_it_asked_for() {
        let due = Eviction::default().thresholds;
        let observed = Observations {
            memory: Level { available: 90 << 20, capacity: 1 << 30 },
            inodes: Level { available: 1500, capacity: 100_000 },
            ..Observations::default()
        };
        let share = |container: &str, used: u64, requested: &str| Share {
            container: container.into(),
            used: Quantity::from_bytes(used),
            requested: requested.parse().unwrap_or(Quantity::ZERO),
        };
        let shares = [share("a", 300 << 20, "100Mi"), share("b", 1 << 20, "1Gi"), share("c", 4096, "0")];
        assert_eq!(
            evicted(Resource::Memory, &due, &observed, &shares),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. \
             Container a was using 300Mi, request is 100Mi, has larger consumption of memory. \
             Container c was using 4Ki, request is 0, has larger consumption of memory. "
        );
        let five_percent = Threshold { value: Value::Percent(5.0), ..due[2] };
        assert_eq!(five_percent.signal, Signal::NodeFsInodesFree);
        assert_eq!(
            evicted(Resource::Inodes, &[five_percent], &observed, &[]),
            "The node was low on resource: inodes. Threshold quantity: 5000, available: 1500. "
        );
        assert_eq!(
            evicted(Resource::Storage, &due, &observed, &[]),
            "The node was low on resource: ephemeral-storage. "
        );
    }
}
