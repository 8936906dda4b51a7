//! PUT of an object, or of a part of it; and the path that every change of an object takes.

use std::sync::Arc;

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::field::{Errors, Path};
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::{defaults, disabled, validation, warnings};
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::Pod;

use super::options::WriteOptions;
use super::owner::Owner;
use super::{Call, create, meta};
use crate::admission::{self, Review};
use crate::cache::Cached;
use crate::limits;
use crate::query::parse_version;
use crate::strategy::{Part, needs_version};
use crate::writer::{Lost, Writer};

pub(super) async fn run(call: &Call, part: Part, body: Body) -> Result<Response<Body>, ApiError> {
    call.named()?;
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let mut object = call.decode(body, options.validation).await?;
    meta::place(object.meta_mut(), call.target.namespace.as_deref())?;
    meta::same_name(object.meta(), call.name())?;
    call.warn(meta::single_owners(object.meta_mut(), ""));
    let owner = Owner::of(call, part, &options);
    let changed = change(call, part, options.dry_run, Some(&owner), |old| {
        let asked = object.meta().uid.as_deref().filter(|uid| !uid.is_empty());
        check_uid(&call.writer(true), call.name(), asked, Some(old))?;
        check_version(call, part, &object)?;
        Ok(object.clone())
    })
    .await;
    let creates = part == Part::Main && call.resource().strategy.creates_on_update();
    let (code, changed) = match changed {
        Err(ApiError::NotFound { .. }) if creates => {
            let asked = object.meta().uid.as_deref().filter(|uid| !uid.is_empty());
            check_uid(&call.writer(true), call.name(), asked, None)?;
            // Whatever version it says: there is none that it could be of.
            object.meta_mut().resource_version = None;
            (StatusCode::CREATED, create::create(call, object, options.dry_run, Some(&owner)).await?)
        }
        changed => (StatusCode::OK, changed?),
    };
    call.show(code, &changed)
}

/// Changes an object: `make` gives the new one from the old. It is called again when another write comes between, so
/// long as the client did not say which version it changes. What changes is then `owner`'s; without one, the new object
/// says itself who manages its fields.
///
/// # Errors
/// When there is no such object, the change is refused, or the version that it is of is no longer the present one.
pub(super) async fn change(
    call: &Call,
    part: Part,
    dry_run: bool,
    owner: Option<&Owner<'_>>,
    make: impl Fn(&AnyObject) -> Result<AnyObject, ApiError>,
) -> Result<Arc<Cached>, ApiError> {
    let writer = call.writer(dry_run);
    let mut current = writer.current(call.namespace(), call.name()).await?;
    for _ in 0..limits::WRITE_TRIES_MAX {
        let old = call.resource().load(&current)?;
        let mut new = make(&old)?;
        if let Some(asked) = asked_version(&new)?
            && asked != current.revision
        {
            // The cache may be behind another server's write: the store decides.
            let stored = writer.reload(call.namespace(), call.name()).await?;
            if stored.revision == current.revision {
                return Err(writer.modified(call.name()));
            }
            current = stored;
            continue;
        }
        match store(call, part, &writer, &current, &old, &mut new, owner).await {
            Ok(object) => return Ok(object),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Raced(None)) => return Err(writer.not_found(call.name())),
            Err(Lost::Raced(Some(newer))) => current = newer,
        }
    }
    Err(writer.modified(call.name()))
}

/// Refuses a change that does not say what it replaces, where the kind wants it said.
fn check_version(call: &Call, part: Part, object: &AnyObject) -> Result<(), ApiError> {
    if part != Part::Main || !needs_version(&call.resource().kind) || asked_version(object)?.is_some() {
        return Ok(());
    }
    let mut errors = Errors::new();
    let path = Path::new("metadata");
    errors.invalid(&path.child("resourceVersion"), &0, "must be specified for an update");
    // Upstream names the resource where others have the kind.
    let kind = &call.resource().kind;
    let kind = GroupKind { group: kind.group.clone(), kind: kind.plural.clone() };
    Err(ApiError::Invalid { kind, name: call.name().to_owned(), errors })
}

/// The version that a change says it is of.
fn asked_version(object: &AnyObject) -> Result<Option<u64>, ApiError> {
    match object.meta().resource_version.as_deref().unwrap_or_default() {
        "" | "0" => Ok(None),
        // Upstream has no word for one that is none.
        version => parse_version(version).map(Some).map_err(ApiError::Unclassified),
    }
}

/// One try over one present state.
async fn store(
    call: &Call,
    part: Part,
    writer: &Writer<'_>,
    current: &Arc<Cached>,
    old: &AnyObject,
    new: &mut AnyObject,
    owner: Option<&Owner<'_>>,
) -> Result<Arc<Cached>, Lost> {
    let strategy = call.resource().strategy;
    meta::before_update(new.meta_mut(), old.meta());
    defaults::apply(new);
    if let Some(owner) = owner {
        let errors = owner.updated(new, old);
        if !errors.is_empty() {
            return Err(Lost::Refused(call.invalid(call.name(), errors)));
        }
    }
    admission::admit(&mut review(call, part, new, old, writer.dry_run)).await?;
    call.warn(meta::single_owners(new.meta_mut(), " after mutating admission happens"));
    match part {
        Part::Main => strategy.prepare_for_update(new, old),
        Part::Status => strategy.prepare_for_status(new, old),
        part => strategy.prepare_for_part(part, new, old),
    }
    disabled::drop(new, Some(old));
    new.meta_mut().resource_version = None;
    if part == Part::Main {
        strategy.admit_update(&call.api, new, old, writer.dry_run)?;
    }
    let errors = check(part, new, old);
    call.warn(errors.tolerated());
    if part == Part::Main && errors.is_empty() {
        call.warn(warnings::on_update(new, old));
    }
    let stored = if !errors.is_empty() {
        Err(Lost::Refused(call.invalid(call.name(), errors)))
    } else {
        match admission::validate(&review(call, part, new, old, writer.dry_run)).await {
            Err(refused) => Err(Lost::Refused(refused)),
            Ok(warnings) => {
                call.warn(warnings);
                if ends(strategy, new, old) {
                    end(writer, current, new).await
                } else {
                    writer.replace(current, new).await
                }
            }
        }
    };
    if part == Part::Main && !writer.dry_run {
        let (gone, stays) = if stored.is_ok() { (old, &*new) } else { (&*new, old) };
        strategy.replaced(&call.api, gone, stays);
    }
    stored
}

fn review<'a>(call: &'a Call, part: Part, object: &'a mut AnyObject, old: &'a AnyObject, dry_run: bool) -> Review<'a> {
    Review {
        api: &call.api,
        resource: call.resource(),
        part,
        object,
        old: Some(old),
        identity: &call.identity,
        dry_run,
    }
}

/// What is wrong with a change of this part.
fn check(part: Part, new: &AnyObject, old: &AnyObject) -> Errors {
    if let (Part::Approval, Some(new), Some(old)) = (part, new.downcast_ref(), old.downcast_ref()) {
        return validation::update_approval(new, old);
    }
    if let (Part::Finalize, Some(new)) = (part, new.downcast_ref()) {
        return validation::update_finalizers(new);
    }
    match (part, new.downcast_ref::<Pod>(), old.downcast_ref::<Pod>()) {
        (Part::EphemeralContainers, Some(new), Some(old)) => validation::update_ephemeral_containers(new, old),
        (Part::Resize, Some(new), Some(old)) => validation::update_resize(new, old),
        (Part::Status, ..) => validation::update_status(new, old),
        _ => validation::update(new, old),
    }
}

/// Whether the change is the last one of an object that is being deleted: nothing holds it any more.
///
/// Source: upstream's `ShouldDeleteDuringUpdate`.
fn ends(strategy: &dyn crate::strategy::Strategy, new: &AnyObject, old: &AnyObject) -> bool {
    let held = |object: &AnyObject| {
        object.meta().finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
            || strategy.held_beyond_finalizers(object)
    };
    let meta = new.meta();
    meta.deletion_timestamp.is_some()
        && meta.deletion_grace_period_seconds.unwrap_or_default() == 0
        && held(old)
        && !held(new)
}

/// Takes out an object that `new` lets go, and shows it as it was in the end.
async fn end(writer: &Writer<'_>, current: &Arc<Cached>, new: &AnyObject) -> Result<Arc<Cached>, Lost> {
    writer.remove(current).await?;
    writer.resource.strategy.released(writer.api, new);
    Ok(Arc::new(writer.unsaved_at(current, new)))
}

/// Refuses a change of another object of the same name, or of none.
///
/// # Errors
/// When the identities are not the same.
pub(super) fn check_uid(
    writer: &Writer<'_>,
    name: &str,
    asked: Option<&str>,
    object: Option<&AnyObject>,
) -> Result<(), ApiError> {
    let own = object.and_then(|object| object.meta().uid.as_deref()).unwrap_or_default();
    match asked.filter(|asked| *asked != own) {
        None => Ok(()),
        Some(asked) => {
            let why = format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {own}");
            Err(writer.conflict(name, &why))
        }
    }
}
