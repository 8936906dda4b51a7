//! Who owns an object: the reference from a pod to its replica set, and what garbage collection follows.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::object::Object;

/// The one owner that manages the object, if there is one.
#[must_use]
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))
}

/// Whether the object is managed by the owner of this uid.
#[must_use]
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|o| o.uid == uid)
}

/// The reference by which `owner` manages what it creates: the owner is not gone before it.
#[must_use]
pub fn controller_reference<T: Object>(owner: &T) -> OwnerReference {
    let meta = owner.metadata();
    OwnerReference {
        api_version: T::API_VERSION.to_owned(),
        kind: T::KIND.to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSet;

    use super::*;

    #[test]
    fn a_reference_leads_to_its_controller() {
        let mut set = ReplicaSet::default();
        set.metadata.uid = Some("u".to_owned());
        let meta = ObjectMeta { owner_references: Some(vec![controller_reference(&set)]), ..ObjectMeta::default() };
        assert!(is_controlled_by(&meta, "u") && !is_controlled_by(&meta, "v"));
        assert_eq!(controller_of(&meta).map(|o| o.api_version.as_str()), Some("apps/v1"));
    }
}
