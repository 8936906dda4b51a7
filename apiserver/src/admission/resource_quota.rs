//! What a namespace's quotas limit is charged for when it is made: an object that would pass a limit is refused, and one
//! that would not is added to the quota's `status.used` before it is stored.
//!
//! A charge is a compare-and-swap of the quota, so that no two servers give away the same rest. What is charged and then
//! not stored after all is given back by the controller, which counts again; so it is with what is deleted.
//!
//! Source: the admission plugin `ResourceQuota`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use async_trait::async_trait;
use coracle_api::any::AnyObject;
use coracle_api::quantity::Quantity;
use coracle_api::quota::{self, Amounts};
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use tokio::sync::Mutex;

use super::{Plugin, Review};
use crate::cache::{Cached, Scope, Selection};
use crate::limits;
use crate::strategy::{Part, typed, typed_mut};
use crate::writer::{Lost, Writer, path};

/// Writers of one namespace charge one after the other, so that they do not undo each other's swaps. Namespaces that
/// share a lock wait for each other, and no more.
static LOCKS: [Mutex<()>; LOCKS_MAX] = [const { Mutex::const_new(()) }; LOCKS_MAX];
const LOCKS_MAX: usize = 64;

pub(super) struct ResourceQuotas;

#[async_trait]
impl Plugin for ResourceQuotas {
    fn concerns(&self, review: &Review<'_>) -> bool {
        let charged = match review.old {
            None => review.part == Part::Main,
            Some(_) => match review.part {
                Part::Main => {
                    let is_counted = review.is_main::<Service>() || review.is_main::<PersistentVolumeClaim>();
                    is_counted || changes_scope(review)
                }
                Part::Resize => review.object.downcast_ref::<Pod>().is_some(),
                _ => false,
            },
        };
        charged && review.resource.namespaced()
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        let namespace = review.object.namespace();
        if quotas(review).is_empty() || is_there(review) {
            return Ok(());
        }
        let _turn = lock(namespace).lock().await;
        let mut charges = Vec::new();
        // No quota is found exceeded before all are found to be able to tell.
        for cached in quotas(review) {
            check(review, &cached)?;
        }
        for cached in quotas(review) {
            charges.extend(charge(review, &cached)?.map(|quota| (cached, quota)));
        }
        for (cached, quota) in charges {
            store(review, cached, quota).await?;
        }
        Ok(())
    }
}

/// Whether a pod becomes one that ends by itself, or no longer is one.
fn changes_scope(review: &Review<'_>) -> bool {
    let pod = |object: &AnyObject| object.downcast_ref::<Pod>().map(quota::is_terminating);
    review.old.is_some_and(|old| pod(old) != pod(review.object))
}

fn lock(namespace: &str) -> &'static Mutex<()> {
    let mut hasher = DefaultHasher::new();
    namespace.hash(&mut hasher);
    let at = usize::try_from(hasher.finish() % LOCKS_MAX as u64).unwrap_or_default();
    &LOCKS[at]
}

fn quotas(review: &Review<'_>) -> Vec<Arc<Cached>> {
    let resource = review.api.resources.core("resourcequotas");
    let scope = Scope::Namespace(review.object.namespace().to_owned());
    resource.cache.list(&Selection::of(scope), None, None, review.api.cache.seen()).objects
}

/// Whether an object to be created is there already, and so will be refused without being charged for.
fn is_there(review: &Review<'_>) -> bool {
    let at = path(review.object.namespace(), review.object.name());
    review.old.is_none() && review.resource.cache.get(&at).is_some()
}

/// The quota with the object charged to it; `None` when it does not count for it.
fn charge(review: &Review<'_>, cached: &Cached) -> Result<Option<AnyObject>, ApiError> {
    let mut loaded = review.api.resources.core("resourcequotas").load(cached)?;
    let quota = typed::<ResourceQuota>(&loaded);
    let name = quota.metadata.name.clone().unwrap_or_default();
    let Some(status) = quota.status.as_ref().filter(|_| quota::is_in_scope(quota, review.object)) else {
        return Ok(None);
    };
    let hard = quota::amounts(status.hard.as_ref());
    let used = quota::amounts(status.used.as_ref());
    let asked = asked(review, quota);
    let asked: Amounts =
        asked.into_iter().filter(|(name, amount)| hard.contains_key(name) && !amount.is_zero()).collect();
    let sum = |name: &String, amount: &Quantity| used.get(name).copied().unwrap_or(Quantity::ZERO) + *amount;
    let exceeded: Vec<&String> =
        asked.iter().filter(|(name, one)| sum(name, one) > hard[*name]).map(|(name, _)| name).collect();
    if !exceeded.is_empty() {
        let of = |list: &Amounts| {
            let told = exceeded.iter().filter_map(|name| Some(format!("{name}={}", list.get(*name)?)));
            told.collect::<Vec<_>>().join(",")
        };
        let (asked, used, hard) = (of(&asked), of(&used), of(&hard));
        let why = format!("exceeded quota: {name}, requested: {asked}, used: {used}, limited: {hard}");
        return Err(review.forbidden(why));
    }
    if asked.is_empty() {
        return Ok(None);
    }
    let mut total = used.clone();
    total.extend(asked.iter().map(|(name, amount)| (name.clone(), sum(name, amount))));
    // What is stored has no revision.
    loaded.meta_mut().resource_version = None;
    typed_mut::<ResourceQuota>(&mut loaded).status.get_or_insert_default().used = Some(quota::texts(&total));
    Ok(Some(loaded))
}

/// Refuses an object that does not say what the quota limits, or that the quota limits before it was counted for it.
fn check(review: &Review<'_>, cached: &Cached) -> Result<(), ApiError> {
    let loaded = review.api.resources.core("resourcequotas").load(cached)?;
    let quota = typed::<ResourceQuota>(&loaded);
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let kind = &review.resource.kind;
    let Some(status) = quota.status.as_ref().filter(|_| quota::is_in_scope(quota, review.object)) else {
        return Ok(());
    };
    let hard = status.hard.iter().flatten().map(|(name, _)| name.as_str());
    let limited: Vec<&str> = hard.filter(|name| quota::counts_for(&kind.group, &kind.plural, name)).collect();
    if let Some(pod) = review.object.downcast_ref::<Pod>()
        && let Some(unsaid) = quota::unsaid(pod, &limited)
    {
        return Err(review.forbidden(format!("failed quota: {name}: must specify {unsaid}")));
    }
    let is_known = |name: &&&str| status.used.as_ref().is_some_and(|used| used.contains_key(**name));
    if limited.iter().all(|name| is_known(&name)) {
        return Ok(());
    }
    Err(review.forbidden(format!("status unknown for quota: {name}, resources: {}", limited.join(","))))
}

/// What the object counts for, beyond what it replaces if that counts for the quota already.
fn asked(review: &Review<'_>, quota: &ResourceQuota) -> Amounts {
    let kind = &review.resource.kind;
    let mut usage = quota::usage(&kind.group, &kind.plural, review.object);
    let counted = review.old.filter(|old| quota::is_in_scope(quota, old));
    let before = counted.map(|old| quota::usage(&kind.group, &kind.plural, old)).unwrap_or_default();
    for (name, amount) in &mut usage {
        let less = *amount - before.get(name).copied().unwrap_or(Quantity::ZERO);
        *amount = if less.is_negative() { Quantity::ZERO } else { less };
    }
    usage
}

/// Writes the charge; charges again what another server has come before with.
async fn store(review: &Review<'_>, mut cached: Arc<Cached>, mut quota: AnyObject) -> Result<(), ApiError> {
    let resource = review.api.resources.core("resourcequotas");
    let writer = Writer { api: review.api, resource, dry_run: review.dry_run };
    for _ in 0..limits::WRITE_TRIES_MAX {
        match writer.replace(&cached, &quota).await {
            Ok(_) | Err(Lost::Raced(None)) => return Ok(()),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Raced(Some(newer))) => {
                cached = newer;
                match charge(review, &cached)? {
                    Some(again) => quota = again,
                    None => return Ok(()),
                }
            }
        }
    }
    Err(writer.modified(quota.name()))
}
