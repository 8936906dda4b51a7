//! POST of an eviction: a deletion that a disruption budget may refuse. Source: upstream's `EvictionREST`.

use axum::body::Body;
use coracle_api::codec;
use coracle_api::status::{self, ApiError};
use http::Response;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::options::{DeleteOptions, WriteOptions};
use super::{Call, budget, delete, namespaces, update};
use crate::strategy::typed_mut;
use crate::writer::Lost;
use crate::{body, clock, limits, negotiate, respond};

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let asked = WriteOptions::parse(&call.query, "CreateOptions")?;
    let format = negotiate::body_type(&call.headers)?;
    let eviction = call.told(codec::decode_as::<Eviction>(&body::read(body).await?, format, asked.validation)?);
    namespaces::check_open(call, call.name()).await?;
    if eviction.metadata.name.as_deref().is_some_and(|name| !name.is_empty() && name != call.name()) {
        let own = eviction.metadata.name.as_deref().unwrap_or_default();
        return Err(ApiError::BadRequest(format!("name in URL does not match name in Eviction object: {own}")));
    }
    let mut options = DeleteOptions::check(eviction.delete_options.unwrap_or_default())?;
    options.dry_run |= asked.dry_run;
    budget::take(call, options.dry_run).await?;
    if !options.dry_run {
        tell(call, &options).await?;
    }
    delete::delete(call, call.namespace(), call.name(), &options).await?;
    Ok(respond::status(&status::done(), call.accept))
}

const EVICTED: &str = "DisruptionTarget";

/// Tells the pod, and whoever makes it anew, why it ends. Source: upstream's `addConditionAndDeletePod`.
async fn tell(call: &Call, options: &DeleteOptions) -> Result<(), ApiError> {
    let writer = call.writer(false);
    let mut current = writer.current(call.namespace(), call.name()).await?;
    for _ in 0..limits::WRITE_TRIES_MAX {
        let mut object = call.resource().load(&current)?;
        if options.preconditions.resource_version.is_some() {
            // What the client asks to be deleted is this version, and no later one.
            return Ok(());
        }
        update::check_uid(&writer, call.name(), options.preconditions.uid.as_deref(), Some(&object))?;
        let pod = typed_mut::<Pod>(&mut object);
        let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
        if conditions.iter().any(|condition| condition.type_ == EVICTED && condition.status == "True") {
            return Ok(());
        }
        conditions.retain(|condition| condition.type_ != EVICTED);
        conditions.push(PodCondition {
            type_: EVICTED.to_owned(),
            status: "True".to_owned(),
            reason: Some("EvictionByEvictionAPI".to_owned()),
            message: Some("Eviction API: evicting".to_owned()),
            last_transition_time: Some(Time(clock::now())),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        });
        object.meta_mut().resource_version = None;
        match writer.replace(&current, &object).await {
            Ok(_) | Err(Lost::Raced(None)) => return Ok(()),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Raced(Some(newer))) => current = newer,
        }
    }
    Err(writer.modified(call.name()))
}
