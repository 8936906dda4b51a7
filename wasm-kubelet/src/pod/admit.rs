//! Whether a pod still fits on this node: what all its pods request against what is allocatable.
//!
//! The scheduler decides where a pod goes; this is the last word of the node itself, since a pod may come with its
//! node name already in it. Source: kubelet, `lifecycle.predicateAdmitHandler`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use coracle_api::quantity::parse_or_zero;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::state::{Lack, Outcome};

/// An amount of what pods share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub pods: u64,
}

impl Amount {
    /// What a pod requests: the sum of its containers, or the most that an init container wants beside the sidecars
    /// started before it. Source: `PodRequests`.
    pub fn of(spec: &core::PodSpec) -> Self {
        let mut sidecars = Self::default();
        let mut init_peak = Self::default();
        for init in spec.init_containers.iter().flatten() {
            let own = Self::of_container(init);
            if init.restart_policy.as_deref() == Some("Always") {
                sidecars = sidecars.plus(own);
                init_peak = init_peak.max(sidecars);
            } else {
                init_peak = init_peak.max(sidecars.plus(own));
            }
        }
        let main = spec.containers.iter().map(Self::of_container).fold(sidecars, Self::plus);
        let overhead = spec.overhead.as_ref().map_or_else(Self::default, Self::of_map);
        Self { pods: 1, ..main.max(init_peak).plus(overhead) }
    }

    fn of_container(container: &core::Container) -> Self {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests.map_or_else(Self::default, Self::of_map)
    }

    fn of_map(map: &BTreeMap<String, Quantity>) -> Self {
        let cpu_millis = u64::try_from(parse_or_zero(map.get("cpu")).milli()).unwrap_or(0);
        Self { cpu_millis, memory_bytes: parse_or_zero(map.get("memory")).bytes(), pods: 0 }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            pods: self.pods + other.pods,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            pods: self.pods.saturating_sub(other.pods),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.max(other.cpu_millis),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            pods: self.pods.max(other.pods),
        }
    }
}

/// What is allocatable, and what is taken.
#[derive(Debug)]
pub struct Ledger {
    allocatable: Amount,
    taken: Mutex<Amount>,
}

impl Ledger {
    /// Nothing is taken.
    pub fn new(allocatable: Amount) -> Self {
        Self { allocatable, taken: Mutex::default() }
    }

    /// Books a pod that runs here already, whether it fits or not.
    pub fn book(&self, amount: Amount) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.plus(amount);
    }

    /// Books a pod if it fits.
    ///
    /// # Errors
    /// How the pod fails if it does not.
    pub fn admit(&self, amount: Amount) -> Result<(), Outcome> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = lack(amount, *taken, self.allocatable) {
            return Err(outcome);
        }
        *taken = taken.plus(amount);
        Ok(())
    }

    /// Books `wanted` for a pod instead of what it `had`, if the node has it.
    ///
    /// # Errors
    /// What is lacking, and whether it ever can be had.
    pub fn exchange(&self, had: Amount, wanted: Amount) -> Result<(), Lack> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let others = taken.minus(had);
        let never = [
            ("cpu", wanted.cpu_millis, self.allocatable.cpu_millis),
            ("memory", wanted.memory_bytes, self.allocatable.memory_bytes),
        ];
        if let Some((resource, requested, capacity)) = never.into_iter().find(|(_, wanted, all)| wanted > all) {
            let message =
                format!("Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}");
            return Err(Lack { is_infeasible: true, message });
        }
        if let Some(outcome) = lack(wanted, others, self.allocatable) {
            let message = outcome.message.trim_start_matches("Pod was rejected: ").to_owned();
            return Err(Lack { is_infeasible: false, message });
        }
        *taken = others.plus(wanted);
        Ok(())
    }

    /// Gives back what a pod had booked.
    pub fn release(&self, amount: Amount) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.minus(amount);
    }
}

fn lack(wanted: Amount, taken: Amount, allocatable: Amount) -> Option<Outcome> {
    let each = [
        ("pods", wanted.pods, taken.pods, allocatable.pods),
        ("cpu", wanted.cpu_millis, taken.cpu_millis, allocatable.cpu_millis),
        ("memory", wanted.memory_bytes, taken.memory_bytes, allocatable.memory_bytes),
    ];
    let (resource, requested, used, capacity) =
        each.into_iter().find(|(_, wanted, taken, all)| *wanted > 0 && taken.saturating_add(*wanted) > *all)?;
    let message = format!(
        "Pod was rejected: Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    Some(Outcome::failed(format!("OutOf{resource}"), message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;

    fn amount(json: &str) -> Amount {
        let pod = format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},"spec":{json}}}"#);
        Amount::of(&core::Pod::decode(pod.as_bytes()).unwrap().spec.unwrap())
    }

    #[test]
    fn init_containers_count_by_their_peak_and_sidecars_stay() {
        let container =
            |cpu: &str| format!(r#"{{"name":"c","resources":{{"requests":{{"cpu":"{cpu}","memory":"1Mi"}}}}}}"#);
        let sidecar = r#"{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}}"#;
        let one = container("250m");
        let spec = format!(r#"{{"initContainers":[{},{sidecar}],"containers":[{one},{one}]}}"#, container("500m"));
        assert_eq!(amount(&spec), Amount { cpu_millis: 600, memory_bytes: 2 << 20, pods: 1 });
        let spec = format!(r#"{{"initContainers":[{sidecar},{}],"containers":[{one}]}}"#, container("1"));
        assert_eq!(amount(&spec).cpu_millis, 1100);
    }

    #[test]
    fn what_does_not_fit_is_said_and_not_booked() {
        let ledger = Ledger::new(Amount { cpu_millis: 1000, memory_bytes: 100, pods: 2 });
        let pod = |cpu_millis, memory_bytes| Amount { cpu_millis, memory_bytes, pods: 1 };
        ledger.admit(pod(600, 10)).unwrap();
        assert_eq!(ledger.admit(pod(600, 10)).unwrap_err().reason, "OutOfcpu");
        assert_eq!(ledger.admit(pod(0, 95)).unwrap_err().reason, "OutOfmemory");
        ledger.admit(pod(400, 0)).unwrap();
        assert_eq!(ledger.admit(pod(0, 0)).unwrap_err().reason, "OutOfpods");
        ledger.release(pod(600, 10));
        ledger.admit(pod(600, 100)).unwrap();
    }

    #[test]
    fn a_resize_is_booked_refused_for_now_or_for_good() {
        let ledger = Ledger::new(Amount { cpu_millis: 1000, memory_bytes: 100, pods: 2 });
        let pod = |cpu_millis| Amount { cpu_millis, memory_bytes: 10, pods: 1 };
        ledger.admit(pod(400)).unwrap();
        ledger.admit(pod(400)).unwrap();
        let message = |result: Result<(), Lack>| result.map_err(|lack| (lack.is_infeasible, lack.message));
        assert_eq!(
            message(ledger.exchange(pod(400), pod(700))),
            Err((false, "Node didn't have enough resource: cpu, requested: 700, used: 400, capacity: 1000".into()))
        );
        assert_eq!(
            message(ledger.exchange(pod(400), pod(1001))),
            Err((true, "Node didn't have enough capacity: cpu, requested: 1001, capacity: 1000".into()))
        );
        assert_eq!(message(ledger.exchange(pod(400), pod(600))), Ok(()));
        assert_eq!(ledger.admit(pod(1)).unwrap_err().reason, "OutOfpods");
        assert_eq!(message(ledger.exchange(pod(400), pod(401))).map_err(|(infeasible, _)| infeasible), Err(false));
    }
}
