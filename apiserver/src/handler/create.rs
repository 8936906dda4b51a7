//! POST of an object.

use std::sync::Arc;

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::status::{ApiError, GroupResource};
use coracle_api::{defaults, disabled, names, validation, warnings};
use http::{Response, StatusCode};

use super::options::WriteOptions;
use super::owner::Owner;
use super::{Call, meta, namespaces};
use crate::admission::{self, Review};
use crate::cache::Cached;
use crate::limits;
use crate::strategy::Part;
use crate::writer::Lost;

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let mut object = call.decode(body, options.validation).await?;
    call.warn(meta::single_owners(object.meta_mut(), ""));
    let owner = Owner::of(call, Part::Main, &options);
    let created = create(call, object, options.dry_run, Some(&owner)).await?;
    call.show(StatusCode::CREATED, &created)
}

/// Completes, checks and stores an object, whose fields are then `owner`'s; without one they are whose it says.
///
/// # Errors
/// When it is refused.
pub(super) async fn create(
    call: &Call,
    mut object: AnyObject,
    dry_run: bool,
    owner: Option<&Owner<'_>>,
) -> Result<Arc<Cached>, ApiError> {
    let strategy = call.resource().strategy;
    meta::place(object.meta_mut(), call.target.namespace.as_deref())?;
    let has_version = meta::has_version(object.meta());
    meta::before_create(object.meta_mut());
    namespaces::check_open(call, object.name()).await?;
    defaults::apply(&mut object);
    if let Some(owner) = owner {
        let errors = owner.created(&mut object);
        if !errors.is_empty() {
            return Err(call.invalid(object.name(), errors));
        }
    }
    admission::admit(&mut review(call, &mut object, dry_run)).await?;
    refuse_terminating(call, object.name())?;
    let prefix = object.meta().generate_name.clone().filter(|prefix| object.name().is_empty() && !prefix.is_empty());
    // What a strategy makes may have the name in it, as a job's labels do: each name is tried on an object without one.
    let unnamed = prefix.map(|prefix| (prefix, object.clone()));
    for _ in 0..limits::NAME_TRIES_MAX {
        if let Some((prefix, unnamed)) = &unnamed {
            object = unnamed.clone();
            object.meta_mut().name = Some(names::generate(prefix, super::random()));
        }
        strategy.prepare_for_create(&mut object);
        disabled::drop(&mut object, None);
        strategy.ask_for(&mut object, &call.identity);
        match store(call, &mut object, has_version, dry_run).await {
            Ok(created) => return Ok(created),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Raced(_)) if unnamed.is_some() => {}
            Err(Lost::Raced(_)) => return Err(call.writer(dry_run).already_exists(object.name())),
        }
    }
    Err(ApiError::NoUniqueName { resource: GroupResource::of(&call.resource().kind), name: object.name().to_owned() })
}

/// Of a custom kind whose definition is being deleted nothing is made any more.
fn refuse_terminating(call: &Call, name: &str) -> Result<(), ApiError> {
    let kind = &call.resource().kind;
    if kind.model.custom().is_none_or(|model| !model.is_terminating) {
        return Ok(());
    }
    let reason = "create not allowed while custom resource definition is terminating".to_owned();
    Err(ApiError::Forbidden { resource: GroupResource::of(kind), name: name.to_owned(), reason })
}

/// One try under one name.
async fn store(call: &Call, object: &mut AnyObject, has_version: bool, dry_run: bool) -> Result<Arc<Cached>, Lost> {
    let strategy = call.resource().strategy;
    strategy.admit(&call.api, object, dry_run).await?;
    let errors = validation::create(object);
    if errors.is_empty() {
        call.warn(warnings::on_create(object));
    }
    let stored = if !errors.is_empty() {
        Err(Lost::Refused(call.invalid(object.name(), errors)))
    } else {
        match admission::validate(&review(call, object, dry_run)).await {
            Err(refused) => Err(Lost::Refused(refused)),
            Ok(_) if call.resource().asks_webhook() => {
                Err(Lost::Refused(call.resource().unconverted(&call.resource().kind)))
            }
            Ok(_) if has_version && !dry_run => {
                // Upstream's store finds it, and has no word for it.
                let why = "resourceVersion should not be set on objects to be created";
                Err(Lost::Refused(ApiError::Unclassified(why.to_owned())))
            }
            Ok(warnings) => {
                call.warn(warnings);
                call.writer(dry_run).create(object).await
            }
        }
    };
    if stored.is_err() && !dry_run {
        strategy.released(&call.api, object);
    }
    stored
}

fn review<'a>(call: &'a Call, object: &'a mut AnyObject, dry_run: bool) -> Review<'a> {
    Review {
        api: &call.api,
        resource: call.resource(),
        part: Part::Main,
        object,
        old: None,
        identity: &call.identity,
        dry_run,
    }
}
