//! DELETE of an object: at once, after a grace period, or when its finalizers let it go.
//!
//! Source: upstream's `rest.BeforeDelete` and `Store.Delete` with their helpers.

use std::sync::Arc;

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::codec::Format;
use coracle_api::status::{self, ApiError, GroupResource};
use coracle_api::warnings;
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::SignedDuration;

use super::options::{DeleteOptions, Propagation};
use super::{Call, namespaces};
use crate::cache::Cached;
use crate::strategy::Strategy;
use crate::writer::{Lost, Writer};
use crate::{body, clock, limits, negotiate, respond};

/// The finalizer that holds an object until its dependents have been left behind.
const ORPHAN: &str = "orphan";

/// The finalizer that holds an object until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";

/// What became of an object.
pub(super) struct Deleted {
    /// As it was, or as it is now that its deletion has begun.
    pub(super) object: Arc<Cached>,
    pub(super) uid: Option<String>,
    pub(super) is_gone: bool,
}

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = read_options(call, body).await?;
    namespaces::check_mortal(call)?;
    warn_without_policy(call, &options);
    let deleted = delete(call, call.namespace(), call.name(), &options).await?;
    if deleted.is_gone && !call.resource().strategy.shows_deleted() {
        let status = status::deleted(&call.resource().kind, call.name(), deleted.uid.as_deref());
        return Ok(respond::status(&status, call.accept));
    }
    // Only a client that asked for it in the older way is told that it is not done yet.
    let accepted = !deleted.is_gone && options.orphan_dependents == Some(false);
    call.show(if accepted { StatusCode::ACCEPTED } else { StatusCode::OK }, &deleted.object)
}

/// Tells who does not say what becomes of dependents, where that may surprise.
pub(super) fn warn_without_policy(call: &Call, options: &DeleteOptions) {
    if options.propagation.is_none() && options.orphan_dependents.is_none() {
        let kind = &call.resource().kind;
        call.warn(warnings::on_delete_without_policy(&kind.group, &kind.kind).map(str::to_owned));
    }
}

/// Reads the options of a deletion.
pub(super) async fn read_options(call: &Call, body: Body) -> Result<DeleteOptions, ApiError> {
    let body = body::read(body).await?;
    let format = if body.is_empty() { Format::Json } else { negotiate::body_type(&call.headers)? };
    DeleteOptions::parse(&call.query, &body, format)
}

/// Deletes an object, or begins to.
///
/// # Errors
/// When there is none, or it is not the one that was meant.
pub(super) async fn delete(
    call: &Call,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let writer = call.writer(options.dry_run);
    let mut current = writer.current(namespace, name).await?;
    for _ in 0..limits::WRITE_TRIES_MAX {
        let old = call.resource().load(&current)?;
        if check_preconditions(&writer, name, &old, options).is_err() {
            // The cache may be behind another server's write: the store decides.
            current = writer.reload(namespace, name).await?;
            check_preconditions(&writer, name, &call.resource().load(&current)?, options)?;
            continue;
        }
        match step(&writer, &current, &old, options).await {
            Ok(deleted) => return Ok(deleted),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Raced(None)) => return Err(writer.not_found(name)),
            Err(Lost::Raced(Some(newer))) => current = newer,
        }
    }
    Err(writer.modified(name))
}

fn check_preconditions(
    writer: &Writer<'_>,
    name: &str,
    object: &AnyObject,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let (preconditions, meta) = (&options.preconditions, object.meta());
    let mismatch = |what: &str, asked: Option<&str>, own: Option<&str>, hint: &str| {
        let own = own.unwrap_or_default();
        let asked = asked.filter(|asked| *asked != own)?;
        let kind = &writer.resource.kind;
        Some(ApiError::Conflict {
            // Upstream names the kind where others have the resource.
            resource: GroupResource { group: kind.group.clone(), resource: kind.kind.clone() },
            name: name.to_owned(),
            message: format!(
                "the {what} in the precondition ({asked}) does not match the {what} in record ({own}). {hint}"
            ),
        })
    };
    let recreated = "The object might have been deleted and then recreated";
    let changed = "The object might have been modified";
    let uid = mismatch("UID", preconditions.uid.as_deref(), meta.uid.as_deref(), recreated);
    let version = || {
        let own = meta.resource_version.as_deref();
        mismatch("ResourceVersion", preconditions.resource_version.as_deref(), own, changed)
    };
    uid.or_else(version).map_or(Ok(()), Err)
}

/// One try over one present state.
async fn step(
    writer: &Writer<'_>,
    current: &Arc<Cached>,
    old: &AnyObject,
    options: &DeleteOptions,
) -> Result<Deleted, Lost> {
    let strategy = writer.resource.strategy;
    let uid = old.meta().uid.clone();
    let marked = match plan(strategy, old, options) {
        Plan::Nothing => return Ok(Deleted { object: current.clone(), uid, is_gone: false }),
        Plan::Mark(mut marked) => {
            marked.meta_mut().resource_version = None;
            return Ok(Deleted { object: writer.replace(current, &marked).await?, uid, is_gone: false });
        }
        Plan::Remove(marked) => marked,
    };
    writer.remove(current).await?;
    if !writer.dry_run {
        strategy.released(writer.api, old);
    }
    let object = match marked {
        Some(mut marked) => {
            marked.meta_mut().resource_version = None;
            Arc::new(writer.unsaved_at(current, &marked))
        }
        None => current.clone(),
    };
    Ok(Deleted { object, uid, is_gone: true })
}

/// What is to be done to delete an object.
enum Plan {
    /// It is being deleted already, and nothing changes.
    Nothing,
    /// Its deletion begins, or its time gets shorter.
    Mark(AnyObject),
    /// It goes, shown as it then is if the kind ends gracefully.
    Remove(Option<AnyObject>),
}

/// Decides it.
fn plan(strategy: &dyn Strategy, old: &AnyObject, options: &DeleteOptions) -> Plan {
    let mut marked = old.clone();
    let grace = match old.meta().deletion_timestamp {
        Some(_) => match shorten(marked.meta_mut(), options.grace_seconds) {
            Grace::Pending => return Plan::Nothing,
            Grace::Over => None,
            Grace::Shortened(seconds) => Some(seconds),
        },
        None => {
            let grace = strategy.grace_seconds(old, options.grace_seconds);
            let finalizers = finalizers(strategy, old, options);
            marked.meta_mut().finalizers = (!finalizers.is_empty()).then_some(finalizers);
            let held = marked.meta().finalizers.is_some() || strategy.held_beyond_finalizers(&marked);
            if grace.is_some() || held {
                begin(marked.meta_mut(), grace.unwrap_or_default());
                strategy.begin_deletion(&mut marked);
            }
            grace
        }
    };
    let held = marked.meta().finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
        || strategy.held_beyond_finalizers(&marked);
    match grace {
        _ if held => Plan::Mark(marked),
        None => Plan::Remove(None),
        Some(0) => Plan::Remove(Some(marked)),
        Some(_) => Plan::Mark(marked),
    }
}

/// Marks the beginning of a deletion.
fn begin(meta: &mut ObjectMeta, seconds: i64) {
    meta.deletion_timestamp = Some(Time(later(clock::now(), seconds)));
    meta.deletion_grace_period_seconds = Some(seconds);
    if let Some(generation) = meta.generation.filter(|generation| *generation > 0) {
        meta.generation = Some(generation + 1);
    }
}

/// What a further deletion does to one that has begun.
enum Grace {
    Pending,
    Over,
    Shortened(i64),
}

/// The time that is left can only get shorter.
fn shorten(meta: &mut ObjectMeta, asked: Option<i64>) -> Grace {
    let Some(own) = meta.deletion_grace_period_seconds else { return Grace::Over };
    match asked {
        Some(asked) if asked < own => {
            let asked = asked.max(0);
            if let Some(Time(at)) = meta.deletion_timestamp {
                meta.deletion_timestamp = Some(Time(later(at, asked - own)));
            }
            meta.deletion_grace_period_seconds = Some(asked);
            Grace::Shortened(asked)
        }
        // Nothing held it but its grace period, which is over.
        _ if own == 0 => Grace::Shortened(0),
        _ => Grace::Pending,
    }
}

fn later(time: k8s_openapi::jiff::Timestamp, seconds: i64) -> k8s_openapi::jiff::Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(time)
}

/// The finalizers that an object has from here on, by what becomes of its dependents.
fn finalizers(strategy: &dyn Strategy, object: &AnyObject, options: &DeleteOptions) -> Vec<String> {
    let own = object.meta().finalizers.clone().unwrap_or_default();
    let has = |name: &str| own.iter().any(|finalizer| finalizer == name);
    let propagation = match (options.orphan_dependents, options.propagation) {
        (Some(true), _) => Propagation::Orphan,
        (Some(false), _) => Propagation::Background,
        (None, Some(propagation)) => propagation,
        (None, None) if has(ORPHAN) => Propagation::Orphan,
        (None, None) if has(FOREGROUND) => Propagation::Foreground,
        (None, None) if strategy.orphans_by_default() => Propagation::Orphan,
        (None, None) => Propagation::Background,
    };
    let added = match propagation {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    let others = own.iter().filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND).cloned();
    let kind = strategy.deletion_finalizer().filter(|finalizer| !has(finalizer));
    others.chain(added.into_iter().chain(kind).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy;
    use coracle_api::kinds;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodSpec};

    fn options(grace_seconds: Option<i64>, propagation: Option<Propagation>) -> DeleteOptions {
        DeleteOptions {
            dry_run: false,
            grace_seconds,
            propagation,
            orphan_dependents: None,
            preconditions: Default::default(),
        }
    }

    fn map(finalizers: &[&str]) -> AnyObject {
        let mut map = ConfigMap::default();
        map.metadata.finalizers = Some(finalizers.iter().map(|one| (*one).to_owned()).collect());
        AnyObject::new(map)
    }

    fn running_pod() -> AnyObject {
        let spec = PodSpec {
            node_name: Some("n".to_owned()),
            termination_grace_period_seconds: Some(30),
            ..PodSpec::default()
        };
        let mut pod = Pod { spec: Some(spec), ..Pod::default() };
        pod.metadata.generation = Some(1);
        AnyObject::new(pod)
    }

    fn told(plan: &Plan) -> String {
        match plan {
            Plan::Nothing => "nothing".to_owned(),
            Plan::Mark(object) => {
                let meta = object.meta();
                format!(
                    "mark {:?} {:?}",
                    meta.deletion_grace_period_seconds,
                    meta.finalizers.clone().unwrap_or_default()
                )
            }
            Plan::Remove(_) => "remove".to_owned(),
        }
    }

    #[test]
    fn plans() {
        let maps = strategy::of(kinds::of::<ConfigMap>());
        let pods = strategy::of(kinds::of::<Pod>());
        let mut ending = running_pod();
        begin(ending.meta_mut(), 30);
        let mut held = map(&["a/b"]);
        begin(held.meta_mut(), 0);
        for (strategy, object, options, expected) in [
            (maps, map(&[]), options(None, None), "remove"),
            (maps, map(&["a/b"]), options(None, None), r#"mark Some(0) ["a/b"]"#),
            (maps, map(&[]), options(None, Some(Propagation::Foreground)), r#"mark Some(0) ["foregroundDeletion"]"#),
            (maps, map(&["orphan"]), options(None, Some(Propagation::Background)), "remove"),
            (maps, held, options(None, None), r#"mark Some(0) ["a/b"]"#),
            (pods, running_pod(), options(None, None), "mark Some(30) []"),
            (pods, running_pod(), options(Some(0), None), "remove"),
            (pods, ending.clone(), options(None, None), "nothing"),
            (pods, ending.clone(), options(Some(60), None), "nothing"),
            (pods, ending.clone(), options(Some(5), None), "mark Some(5) []"),
            (pods, ending, options(Some(0), None), "remove"),
        ] {
            assert_eq!(told(&plan(strategy, &object, &options)), expected, "{object:?} {options:?}");
        }
    }

    #[test]
    fn a_generation_is_counted_once() {
        let pods = strategy::of(kinds::of::<Pod>());
        let Plan::Mark(first) = plan(pods, &running_pod(), &options(None, None)) else { panic!("it is marked") };
        let Plan::Mark(second) = plan(pods, &first, &options(Some(5), None)) else { panic!("it is marked") };
        assert_eq!((first.meta().generation, second.meta().generation), (Some(2), Some(2)));
    }
}
