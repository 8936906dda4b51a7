//! What a node is to claim of what there is: an option that `coracle up` and `coracle kubelet` share.

use coracle_api::quantity::Quantity;
use coracle_kubelet::Capacity;

use crate::failure::{Failure, Result};

/// One resource, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    resource: Resource,
    amount: Quantity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Cpu,
    Memory,
    Storage,
}

/// Reads `memory=4Gi`.
///
/// # Errors
/// When it is none, or of a resource that no node has.
pub fn claim(text: &str) -> std::result::Result<Claim, String> {
    let (resource, amount) = text.split_once('=').ok_or("it is not RESOURCE=AMOUNT, such as memory=4Gi")?;
    let resource = match resource {
        "cpu" => Resource::Cpu,
        "memory" => Resource::Memory,
        "ephemeral-storage" => Resource::Storage,
        "pods" => return Err("how many pods a node has room for is said by --max-pods".to_owned()),
        other => return Err(format!("a node claims cpu, memory and ephemeral-storage, and no {other:?}")),
    };
    let amount: Quantity = amount.parse().map_err(|error| format!("{amount:?} is no amount: {error}"))?;
    if amount.is_negative() || amount.is_zero() {
        return Err("the amount must be positive".to_owned());
    }
    Ok(Claim { resource, amount })
}

/// What these claims are together.
///
/// # Errors
/// When a resource comes twice.
pub fn capacity(claims: &[Claim]) -> Result<Capacity> {
    let mut capacity = Capacity::default();
    for Claim { resource, amount } in claims {
        let (name, slot, value) = match resource {
            Resource::Cpu => ("cpu", &mut capacity.cpu_millis, u64::try_from(amount.milli()).unwrap_or(0)),
            Resource::Memory => ("memory", &mut capacity.memory_bytes, amount.bytes()),
            Resource::Storage => ("ephemeral-storage", &mut capacity.storage_bytes, amount.bytes()),
        };
        if slot.replace(value).is_some() {
            return Err(Failure::new(format!("--capacity: {name} comes twice")));
        }
    }
    Ok(capacity)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_node_claims_is_read() {
        let of = |texts: &[&str]| {
            let claims: Vec<_> = texts.iter().map(|text| claim(text)).collect::<std::result::Result<_, _>>()?;
            let Capacity { cpu_millis, memory_bytes, storage_bytes } =
                capacity(&claims).map_err(|failure| failure.message())?;
            Ok::<_, String>((cpu_millis, memory_bytes, storage_bytes))
        };
        assert_eq!(of(&["cpu=1500m", "memory=64Mi"]), Ok((Some(1500), Some(64 << 20), None)));
        assert_eq!(of(&["ephemeral-storage=1Gi"]), Ok((None, None, Some(1 << 30))));
        for (wrong, why) in [
            (vec!["memory"], "RESOURCE=AMOUNT"),
            (vec!["memory=x"], "no amount"),
            (vec!["memory=-1"], "positive"),
            (vec!["cpu=0"], "positive"),
            (vec!["pods=5"], "--max-pods"),
            (vec!["gpu=1"], "\"gpu\""),
            (vec!["cpu=1", "cpu=2"], "cpu comes twice"),
        ] {
            let error = of(&wrong).unwrap_err();
            assert!(error.contains(why), "{wrong:?}: {error}");
        }
    }
}
