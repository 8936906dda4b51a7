//! GET, PUT and PATCH of how many replicas there are to be. Source: upstream's `ScaleREST` of each workload.

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::codec::{self, Format};
use coracle_api::object::Object as _;
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
use super::patch::Patch;
use super::{Call, meta, update};
use crate::route::Verb;
use crate::strategy::Part;
use crate::{body, negotiate, respond};

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let scale = match call.target.verb {
        Verb::Get => {
            call.api.be_fresh().await?;
            let found = call.resource().cache.get(&call.target.path());
            let found = found.ok_or_else(|| call.writer(true).not_found(call.name()))?;
            of_object(&call.resource().load(&found)?)?
        }
        Verb::Update => replace(call, body).await?,
        Verb::Patch => patch(call, body).await?,
        _ => return Err(ApiError::MethodNotAllowed),
    };
    Ok(respond::document(StatusCode::OK, scale.encode(), call.accept.format))
}

async fn replace(call: &Call, body: Body) -> Result<Scale, ApiError> {
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let format = negotiate::body_type(&call.headers)?;
    let mut scale = codec::decode_as::<Scale>(&body::read(body).await?, format, options.validation)?.object;
    meta::same_name(&scale.metadata, call.name())?;
    meta::place(&mut scale.metadata, call.target.namespace.as_deref())?;
    change(call, &options, |_| Ok(scale.clone())).await
}

async fn patch(call: &Call, body: Body) -> Result<Scale, ApiError> {
    let options = WriteOptions::parse(&call.query, "PatchOptions")?;
    let patch = Patch::read(&call.headers, body).await?;
    change(call, &options, |old| {
        let before: Value = codec::decode_plain(&of_object(old)?.encode(), Format::Json)?;
        let patched = patch.apply(before, Scale::schema())?;
        let json = serde_json::to_vec(&patched).map_err(|error| ApiError::Internal(error.to_string()))?;
        let mut scale = codec::decode_as::<Scale>(&json, Format::Json, options.validation)?.object;
        meta::same_name(&scale.metadata, call.name())?;
        meta::place(&mut scale.metadata, call.target.namespace.as_deref())?;
        Ok(scale)
    })
    .await
}

/// Writes the number of replicas that `make` says into the object.
async fn change(
    call: &Call,
    options: &WriteOptions,
    make: impl Fn(&AnyObject) -> Result<Scale, ApiError>,
) -> Result<Scale, ApiError> {
    let changed = update::change(call, Part::Main, options.dry_run, |old| {
        let scale = make(old)?;
        let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
        check(call.name(), replicas)?;
        update::check_uid(
            &call.writer(true),
            call.name(),
            scale.metadata.uid.as_deref().filter(|uid| !uid.is_empty()),
            old,
        )?;
        let mut new = old.clone();
        new.meta_mut().resource_version = scale.metadata.resource_version;
        set_replicas(&mut new, replicas);
        Ok(new)
    })
    .await?;
    of_object(&call.resource().load(&changed)?)
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
    let (replicas, selector, present) = if let Some(deployment) = object.downcast_ref::<Deployment>() {
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

fn set_replicas(object: &mut AnyObject, replicas: i32) {
    if let Some(deployment) = object.downcast_mut::<Deployment>() {
        deployment.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(set) = object.downcast_mut::<ReplicaSet>() {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(set) = object.downcast_mut::<StatefulSet>() {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(controller) = object.downcast_mut::<ReplicationController>() {
        controller.spec.get_or_insert_default().replicas = Some(replicas);
    }
}
