//! Who controls what: controller references, and the claiming of what a selector matches.
//!
//! A controller owns the objects whose one controller reference names its uid. It adopts orphans that its selector
//! matches and releases what it owns but no longer matches; an object that another controller owns is never touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_api::Object;
use coracle_client::{Client, Error, Index, Informer, Key, Objects, Patch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

/// The reference to the one controller of an object, if it has one.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|reference| reference.controller == Some(true))
}

/// A controller reference to `owner`, which blocks the owner's foreground deletion.
pub fn controller_reference<K: Object>(owner: &K) -> OwnerReference {
    let meta = owner.metadata();
    OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What a controller has to do with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Owned,
    Adopt,
    Release,
    Ignore,
}

/// Decides on one object for the controller with `owner`'s metadata.
///
/// Source: upstream's controller reference manager.
pub fn claim(owner: &ObjectMeta, matches: bool, object: &ObjectMeta) -> Claim {
    let owner_goes = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(reference) if Some(&reference.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if matches => Claim::Owned,
        Some(_) if owner_goes => Claim::Ignore,
        Some(_) => Claim::Release,
        None if owner_goes || !matches || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// The result of claiming: what is owned now, and what has to be done for that.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims<T> {
    pub owned: Vec<T>,
    pub adopt: Vec<T>,
    pub release: Vec<T>,
}

/// Sorts `objects` by their claim.
pub fn claims<T, M>(
    owner: &ObjectMeta,
    objects: Vec<T>,
    meta: M,
    matches: impl Fn(&BTreeMap<String, String>) -> bool,
) -> Claims<T>
where
    M: for<'a> Fn(&'a T) -> &'a ObjectMeta,
{
    let none = BTreeMap::new();
    let mut claims = Claims { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in objects {
        let matched = matches(meta(&object).labels.as_ref().unwrap_or(&none));
        match claim(owner, matched, meta(&object)) {
            Claim::Owned => claims.owned.push(object),
            Claim::Adopt => claims.adopt.push(object),
            Claim::Release => claims.release.push(object),
            Claim::Ignore => {}
        }
    }
    claims
}

/// The objects of a kind by their namespace.
pub fn by_namespace<K: Object>(informer: &Informer<K>) -> Index<K> {
    informer.index("namespace", |object| object.metadata().namespace.iter().cloned().collect())
}

/// The objects of a kind by the uid of their controller; those without one by [`orphans_key`].
pub fn by_controller<K: Object>(informer: &Informer<K>) -> Index<K> {
    informer.index("controller", |object| {
        let meta = object.metadata();
        vec![controller_of(meta).map_or_else(|| orphans_key(meta), |owner| owner.uid.clone())]
    })
}

/// Where an index by controller keeps the uncontrolled objects of a namespace.
pub fn orphans_key(meta: &ObjectMeta) -> String {
    format!("orphans in {}", meta.namespace.as_deref().unwrap_or_default())
}

/// Makes `owner` the controller of `orphans`, and gives those that it now controls; with `finalizer`, if one is given.
///
/// The owner is asked for once more before: a cache may not know yet that it is being deleted, and then an adopted
/// object would be collected with it.
///
/// # Errors
/// Of the requests; an orphan that has gone meanwhile is left out.
pub async fn take<O: Object, K: Object>(
    client: &Client,
    owner: &O,
    objects: &Objects<K>,
    orphans: Vec<Arc<K>>,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<K>>, Error> {
    if orphans.is_empty() || !may_adopt(client, owner).await? {
        return Ok(Vec::new());
    }
    let reference = controller_reference(owner);
    let mut taken = Vec::new();
    for orphan in orphans {
        let meta = orphan.metadata();
        let mut patch = json!({ "metadata": { "uid": meta.uid, "ownerReferences": [{
            "apiVersion": reference.api_version, "kind": reference.kind, "name": reference.name, "uid": reference.uid,
            "controller": true, "blockOwnerDeletion": true,
        }] } });
        if let Some(finalizer) = finalizer {
            patch["metadata"]["finalizers"] = json!([finalizer]);
        }
        match objects.patch(&Key::of_meta(meta).name, &Patch::Strategic(patch)).await {
            Ok(adopted) => taken.push(Arc::new(adopted)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

async fn may_adopt<O: Object>(client: &Client, owner: &O) -> Result<bool, Error> {
    let Key { namespace, name } = Key::of(owner);
    let fresh = client.namespaced::<O>(&namespace).find(&name).await?;
    Ok(fresh.is_some_and(|fresh| {
        let meta = fresh.metadata();
        meta.uid == owner.metadata().uid && meta.deletion_timestamp.is_none()
    }))
}

/// Ends the control of the owner with `owner`'s metadata over `objects`; `finalizer` goes with it, if one is given.
///
/// # Errors
/// Of the requests; an object that is gone, or is another one by now, needs no release.
pub async fn release<K: Object>(
    owner: &ObjectMeta,
    objects: &Objects<K>,
    released: &[Arc<K>],
    finalizer: Option<&str>,
) -> Result<(), Error> {
    for object in released {
        let meta = object.metadata();
        let mut patch = json!({ "metadata": {
            "uid": meta.uid,
            "ownerReferences": [{ "$patch": "delete", "uid": owner.uid }],
        } });
        if let Some(finalizer) = finalizer {
            patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
        }
        match objects.patch(&Key::of_meta(meta).name, &Patch::Strategic(patch)).await {
            Err(error) if !error.is_not_found() && !error.is_invalid() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn claims_follow_reference_and_selector() {
        let owner = ObjectMeta { uid: Some("me".into()), ..ObjectMeta::default() };
        let going = |meta: &ObjectMeta| ObjectMeta {
            deletion_timestamp: Some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..meta.clone()
        };
        let of = |uid: &str| ObjectMeta {
            owner_references: Some(vec![OwnerReference {
                uid: uid.into(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        };
        let orphan = ObjectMeta::default();
        let cases = [
            (owner.clone(), true, of("me"), Claim::Owned),
            (owner.clone(), false, of("me"), Claim::Release),
            (going(&owner), false, of("me"), Claim::Ignore),
            (owner.clone(), true, of("other"), Claim::Ignore),
            (owner.clone(), true, orphan.clone(), Claim::Adopt),
            (owner.clone(), false, orphan.clone(), Claim::Ignore),
            (owner.clone(), true, going(&orphan), Claim::Ignore),
            (going(&owner), true, orphan, Claim::Ignore),
        ];
        for (owner, matches, object, expected) in cases {
            assert_eq!(claim(&owner, matches, &object), expected, "{object:?}");
        }
    }
}
