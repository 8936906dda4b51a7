//! What to do about an object with owners. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::graph::{FOREGROUND, ORPHAN, has_finalizer};

/// What an owner is, after the server was asked where the graph did not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is there, and keeps its dependents.
    Solid,
    /// It is there, and waits for its dependents to go.
    Waiting,
    /// It is not there.
    Absent,
}

/// How an object's own dependents are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Propagation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    Keep,
    /// It has an owner still: let it keep these references, and forget the others.
    Unlink(Vec<OwnerReference>),
    Delete {
        /// Before, it must no longer block its owners: it is in a circle of those that wait for each other.
        unblock: bool,
        propagation: Propagation,
    },
}

/// Decides on an object with these owners; there is at least one.
pub fn plan(meta: &ObjectMeta, owners: &[(OwnerReference, Owner)], has_dependents: bool, in_circle: bool) -> Plan {
    let any = |kind: Owner| owners.iter().any(|(_, owner)| *owner == kind);
    if any(Owner::Solid) {
        if !any(Owner::Waiting) && !any(Owner::Absent) {
            return Plan::Keep;
        }
        let solid = owners.iter().filter(|(_, owner)| *owner == Owner::Solid);
        return Plan::Unlink(solid.map(|(reference, _)| reference.clone()).collect());
    }
    if any(Owner::Waiting) && has_dependents {
        return Plan::Delete { unblock: in_circle, propagation: Propagation::Foreground };
    }
    let propagation = if has_finalizer(meta, ORPHAN) {
        Propagation::Orphan
    } else if has_finalizer(meta, FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    Plan::Delete { unblock: false, propagation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_owner_left_is_deleted() {
        use Owner::{Absent, Solid, Waiting};
        let delete = |unblock, propagation| Plan::Delete { unblock, propagation };
        let unlink = Plan::Unlink(vec![OwnerReference { uid: "0".into(), ..OwnerReference::default() }]);
        let cases = [
            (vec![Solid], false, false, Plan::Keep),
            (vec![Solid, Absent], false, false, unlink.clone()),
            (vec![Solid, Waiting], true, false, unlink),
            (vec![Absent], false, false, delete(false, Propagation::Background)),
            (vec![Absent], true, true, delete(false, Propagation::Background)),
            (vec![Waiting], false, false, delete(false, Propagation::Background)),
            (vec![Waiting, Absent], true, false, delete(false, Propagation::Foreground)),
            (vec![Waiting], true, true, delete(true, Propagation::Foreground)),
        ];
        for (owners, has_dependents, in_circle, expected) in cases {
            let owners: Vec<_> = owners
                .into_iter()
                .enumerate()
                .map(|(at, owner)| (OwnerReference { uid: at.to_string(), ..OwnerReference::default() }, owner))
                .collect();
            assert_eq!(plan(&ObjectMeta::default(), &owners, has_dependents, in_circle), expected, "{owners:?}");
        }
    }
}
