//! GET, PUT and PATCH of how many replicas there are to be. Source: upstream's `ScaleREST` of each workload.

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::codec::{self, FieldValidation, Format};
use coracle_api::custom::CustomObject;
use coracle_api::kind::Kind;
use coracle_api::object::Object as _;
use coracle_api::ownership::scale::Replicas;
use coracle_api::ownership::{self, State, Type};
use coracle_api::selector::format_labels;
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::validation;
use http::{Response, StatusCode};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::Value;

use super::options::WriteOptions;
use super::owner::{self, Owner, Subject};
use super::{Call, meta, patch, update};
use crate::negotiate::View;
use crate::resource::Resource;
use crate::route::Verb;
use crate::strategy::Part;
use crate::{body, negotiate, respond, table};

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let scale = match call.target.verb {
        Verb::Get => {
            call.api.be_fresh().await?;
            let found = call.resource().cache.get(&call.target.path());
            let found = found.ok_or_else(|| call.writer(true).not_found(call.name()))?;
            let scale = of_object(&call.resource().load(&found)?)?;
            if scale.spec.as_ref().is_none_or(|spec| spec.replicas.is_none()) {
                return Err(missing(call, ApiError::Internal, "does not exist"));
            }
            scale
        }
        Verb::Update => replace(call, body).await?,
        Verb::Patch => change_by_patch(call, body).await?,
        _ => return Err(ApiError::MethodNotAllowed),
    };
    show(call, &scale)
}

/// Answers with a scale, in the form that is wanted.
fn show(call: &Call, scale: &Scale) -> Result<Response<Body>, ApiError> {
    let json = match call.accept.view {
        View::Table => table::scale(scale, table::Include::parse(&call.query)?),
        View::Metadata => codec::partial_metadata(&scale.encode()),
        View::MetadataList => return Err(call.not_of_form("PartialObjectMetadataList", "not a list")),
        View::Full | View::Discovery => scale.encode(),
    };
    Ok(respond::document(StatusCode::OK, json, call.accept))
}

async fn replace(call: &Call, body: Body) -> Result<Scale, ApiError> {
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let format = negotiate::body_type(&call.headers)?;
    let mut scale = call.told(codec::decode_as::<Scale>(&body::read(body).await?, format, options.validation)?);
    meta::place(&mut scale.metadata, call.target.namespace.as_deref())?;
    meta::same_name(&scale.metadata, call.name())?;
    change(call, &options, |_| Ok((scale.clone(), None))).await
}

async fn change_by_patch(call: &Call, body: Body) -> Result<Scale, ApiError> {
    let (options, body) = patch::Body::read(call, body).await?;
    if let patch::Body::Apply(config) = &body {
        call.warn(config.warnings(options.validation)?);
    }
    let owner = Owner::of(call, Part::Main, &options).unrestricted();
    change(call, &options, |present| {
        let before = present.scale.encode();
        let decode = |json: &[u8], validation| codec::decode_as::<Scale>(json, Format::Json, validation);
        let (mut scale, managed) = match &body {
            patch::Body::Patch(patch) => {
                (call.told(patch.make(|_| before.clone(), Some(Scale::schema()), decode)?), None)
            }
            patch::Body::Apply(config) => {
                let subject = subject();
                let request = owner.request(&subject);
                let before: Value = codec::decode_plain(&before, Format::Json)?;
                let applied = owner::apply_to(&request, &subject, Some(before), &present.managed, config)?;
                let scale = match applied.object {
                    None => present.scale.clone(),
                    Some(after) => decode(after.to_string().as_bytes(), FieldValidation::Ignore)?.object,
                };
                (scale, Some(applied.managed))
            }
        };
        meta::place(&mut scale.metadata, call.target.namespace.as_deref())?;
        meta::same_name(&scale.metadata, call.name())?;
        Ok((scale, managed))
    })
    .await
}

/// Where objects of a kind have their replicas; `None` where they have no scale.
fn replicas_path(kind: &Kind) -> Option<Vec<&str>> {
    match kind.model.custom() {
        Some(model) => {
            let paths = model.scale.as_ref()?;
            Some(paths.spec_replicas_path.trim_start_matches('.').split('.').collect())
        }
        None => Some(vec!["spec", "replicas"]),
    }
}

/// Where each version of a resource has its replicas.
fn replicas(resource: &Resource) -> Vec<Replicas<'_>> {
    let others = resource.versions.iter().map(|kind| &**kind).filter(|kind| kind.version != resource.kind.version);
    std::iter::once(&*resource.kind)
        .chain(others)
        .map(|kind| Replicas { api_version: kind.api_version(), path: replicas_path(kind) })
        .collect()
}

fn subject() -> Subject<'static> {
    Subject {
        api_version: ownership::scale::SCALE_VERSION,
        kind: "Scale",
        type_: Type::of(Scale::schema()),
        zero: codec::encode_zero(Scale::schema()),
        versions: &owner::ONE_VERSION,
    }
}

/// A workload's scale, and who manages that.
struct Present {
    scale: Scale,
    managed: Vec<u8>,
}

/// Writes the number of replicas that `make` says into the object. It may say who then manages the scale; otherwise the
/// client owns what it changes.
async fn change(
    call: &Call,
    options: &WriteOptions,
    make: impl Fn(&Present) -> Result<(Scale, Option<Vec<u8>>), ApiError>,
) -> Result<Scale, ApiError> {
    let owner = Owner::of(call, Part::Main, options).unrestricted();
    let version = &call.resource().api_version;
    let versions = replicas(call.resource());
    let changed = update::change(call, Part::Main, options.dry_run, None, |old| {
        let managed = ownership::scale::to_scale(old.managed(), &versions);
        let present = Present { scale: of_object(old)?, managed };
        let (scale, managed) = make(&present)?;
        let managed = managed.unwrap_or_else(|| {
            let (before, after) = (present.scale.encode(), scale.encode());
            let live = State { json: &before, managed: &present.managed };
            owner.request(&subject()).updated(live, State { json: &after, managed: &[] })
        });
        let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas);
        if old.custom().is_some() {
            // Its own rules judge what the paths lead to.
            if replicas.is_none() && call.target.verb == Verb::Patch {
                return Err(missing(call, ApiError::BadRequest, "cannot be empty"));
            }
        } else {
            check(call.name(), replicas.unwrap_or_default())?;
        }
        let replicas = replicas.unwrap_or_default();
        update::check_uid(
            &call.writer(true),
            call.name(),
            scale.metadata.uid.as_deref().filter(|uid| !uid.is_empty()),
            Some(old),
        )?;
        let mut new = old.clone();
        new.meta_mut().resource_version = scale.metadata.resource_version;
        set_replicas(&mut new, replicas)?;
        new.set_managed(ownership::scale::to_workload(old.managed(), &managed, &versions, version));
        Ok(new)
    })
    .await?;
    of_object(&call.resource().load(&changed)?)
}

/// What is told of replicas that nobody has set.
fn missing(call: &Call, error: fn(String) -> ApiError, why: &str) -> ApiError {
    let path = call.resource().kind.model.custom().and_then(|model| model.scale.as_ref());
    let path = path.map_or(".spec.replicas", |scale| &scale.spec_replicas_path);
    error(format!("the spec replicas field {path:?} {why}"))
}

fn check(name: &str, replicas: i32) -> Result<(), ApiError> {
    let spec = Some(ScaleSpec { replicas: Some(replicas) });
    let errors = validation::create(&AnyObject::new(Scale { spec, ..Scale::default() }));
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid { kind: GroupKind::fixed("autoscaling", "Scale"), name: name.to_owned(), errors })
}

/// The scale of a workload.
fn of_object(object: &AnyObject) -> Result<Scale, ApiError> {
    let (replicas, selector, present) = if let Some(custom) = object.custom() {
        of_custom(custom)
    } else if let Some(deployment) = object.downcast_ref::<Deployment>() {
        let spec = deployment.spec.as_ref();
        let present = deployment.status.as_ref().and_then(|status| status.replicas);
        (spec.and_then(|spec| spec.replicas), spec.map(|spec| format_labels(Some(&spec.selector))), present)
    } else if let Some(set) = object.downcast_ref::<ReplicaSet>() {
        let spec = set.spec.as_ref();
        let present = set.status.as_ref().map(|status| status.replicas);
        (spec.and_then(|spec| spec.replicas), spec.map(|spec| format_labels(Some(&spec.selector))), present)
    } else if let Some(set) = object.downcast_ref::<StatefulSet>() {
        let spec = set.spec.as_ref();
        let present = set.status.as_ref().map(|status| status.replicas);
        (spec.and_then(|spec| spec.replicas), spec.map(|spec| format_labels(Some(&spec.selector))), present)
    } else if let Some(controller) = object.downcast_ref::<ReplicationController>() {
        let spec = controller.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.clone());
        let selector = LabelSelector { match_labels: selector, match_expressions: None };
        let present = controller.status.as_ref().map(|status| status.replicas);
        (spec.and_then(|spec| spec.replicas), Some(format_labels(Some(&selector))), present)
    } else {
        return Err(ApiError::Internal(format!("{} has no scale", object.kind())));
    };
    let meta = object.meta();
    Ok(Scale {
        metadata: ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            creation_timestamp: meta.creation_timestamp.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(ScaleSpec { replicas }),
        status: Some(ScaleStatus { replicas: present.unwrap_or_default(), selector }),
    })
}

/// What the paths of a definition lead to. Replicas that nobody has set are none.
fn of_custom(object: &CustomObject) -> (Option<i32>, Option<String>, Option<i32>) {
    let Some(paths) = &object.model.scale else { return (None, None, None) };
    let number = |path: &str| object.at(path)?.as_i64().and_then(|number| i32::try_from(number).ok());
    let selector = paths.label_selector_path.as_ref().and_then(|path| object.at(path)?.as_str());
    (number(&paths.spec_replicas_path), selector.map(str::to_owned), number(&paths.status_replicas_path))
}

/// # Errors
/// When something else is where the replicas of a custom object should be.
fn set_replicas(object: &mut AnyObject, replicas: i32) -> Result<(), ApiError> {
    if let Some(custom) = object.custom_mut() {
        let path = custom.model.scale.as_ref().map(|paths| paths.spec_replicas_path.clone()).unwrap_or_default();
        if !custom.set_at(&path, replicas.into()) {
            return Err(ApiError::BadRequest(format!("the replicas at {path} cannot be set")));
        }
    } else if let Some(deployment) = object.downcast_mut::<Deployment>() {
        deployment.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(set) = object.downcast_mut::<ReplicaSet>() {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(set) = object.downcast_mut::<StatefulSet>() {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(controller) = object.downcast_mut::<ReplicationController>() {
        controller.spec.get_or_insert_default().replicas = Some(replicas);
    }
    Ok(())
}
