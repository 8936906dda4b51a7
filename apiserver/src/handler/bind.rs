//! POST of a binding: a pod is given its node, once. Source: upstream's `BindingREST`.

use std::sync::Arc;

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::status::{self, ApiError, GroupKind, GroupResource};
use coracle_api::{codec, validation};
use http::Response;
use k8s_openapi::api::core::v1::{Binding, Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::options::WriteOptions;
use super::{Call, meta, namespaces};
use crate::admission::topology_labels;
use crate::cache::Cached;
use crate::strategy::{pod, typed, typed_mut};
use crate::writer::{Lost, Writer};
use crate::{body, clock, limits, negotiate, respond};

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let format = negotiate::body_type(&call.headers)?;
    let mut binding = call.told(codec::decode_as::<Binding>(&body::read(body).await?, format, options.validation)?);
    meta::place(&mut binding.metadata, call.target.namespace.as_deref())?;
    namespaces::check_open(call, call.target.name.as_deref().or(binding.metadata.name.as_deref()).unwrap_or_default())
        .await?;
    // The older form has the pod's name in the body alone.
    let name = match call.target.name.as_deref() {
        Some(name) => {
            if binding.metadata.name.as_deref().is_some_and(|own| !own.is_empty() && own != name) {
                let own = binding.metadata.name.as_deref().unwrap_or_default();
                let why = format!("the name in the binding object ({own}) does not match the name on the URL ({name})");
                return Err(ApiError::BadRequest(why));
            }
            name.to_owned()
        }
        None => binding.metadata.name.clone().unwrap_or_default(),
    };
    let errors = validation::binding(&binding);
    if !errors.is_empty() {
        return Err(ApiError::Invalid { kind: GroupKind::fixed("", "Binding"), name, errors });
    }
    let node = binding.target.name.as_deref().unwrap_or_default();
    let labels = topology_labels::of_node(&call.api, node)?;
    if !labels.is_empty() {
        binding.metadata.labels.get_or_insert_default().extend(labels);
    }
    bind(call, &name, &binding, options.dry_run).await?;
    Ok(respond::status(&status::done(), call.accept))
}

/// Writes the node's name into the pod. Between the read and the write nobody else may have.
async fn bind(call: &Call, name: &str, binding: &Binding, dry_run: bool) -> Result<Arc<Cached>, ApiError> {
    let pods = call.api.resources.core("pods");
    let writer = Writer { api: &call.api, resource: pods, dry_run };
    let mut current = writer.current(call.namespace(), name).await?;
    for _ in 0..limits::WRITE_TRIES_MAX {
        let mut object = pods.load(&current)?;
        assign(&mut object, name, binding)?;
        match writer.replace(&current, &object).await {
            Ok(bound) => return Ok(bound),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Raced(None)) => return Err(writer.not_found(name)),
            Err(Lost::Raced(Some(newer))) => current = newer,
        }
    }
    Err(writer.modified(name))
}

fn assign(object: &mut AnyObject, name: &str, binding: &Binding) -> Result<(), ApiError> {
    let node = binding.target.name.clone().unwrap_or_default();
    refuse_unfit(typed::<Pod>(object), name, binding)?;
    let bound = typed_mut::<Pod>(object);
    bound.metadata.resource_version = None;
    for (of_pod, of_binding) in [
        (&mut bound.metadata.annotations, &binding.metadata.annotations),
        (&mut bound.metadata.labels, &binding.metadata.labels),
    ] {
        if let Some(added) = of_binding.as_ref().filter(|added| !added.is_empty()) {
            of_pod.get_or_insert_default().extend(added.clone());
        }
    }
    bound.spec.get_or_insert_with(PodSpec::default).node_name = Some(node);
    let status = bound.status.get_or_insert_with(PodStatus::default);
    // It is no longer meant for a node, but has one.
    status.nominated_node_name = None;
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != SCHEDULED);
    conditions.push(PodCondition {
        type_: SCHEDULED.to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(Time(clock::now())),
        observed_generation: bound.metadata.generation,
        ..PodCondition::default()
    });
    Ok(())
}

const SCHEDULED: &str = "PodScheduled";

fn refuse_unfit(unbound: &Pod, name: &str, binding: &Binding) -> Result<(), ApiError> {
    let conflict = |message: String| ApiError::Conflict {
        resource: GroupResource { group: "".into(), resource: "pods/binding".into() },
        name: name.to_owned(),
        message,
    };
    let meta = &unbound.metadata;
    if let Some(asked) =
        binding.metadata.uid.as_ref().filter(|asked| !asked.is_empty() && Some(*asked) != meta.uid.as_ref())
    {
        let own = meta.uid.as_deref().unwrap_or_default();
        return Err(conflict(format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {own}")));
    }
    if let Some(asked) = binding.metadata.resource_version.as_ref()
        && !asked.is_empty()
        && Some(asked) != meta.resource_version.as_ref()
    {
        return Err(conflict(format!("Precondition failed: ResourceVersion in precondition: {asked}")));
    }
    if meta.deletion_timestamp.is_some() {
        return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let Some(spec) = &unbound.spec else { return Ok(()) };
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return Err(conflict(format!("pod {name} is already assigned to node \"{node}\"")));
    }
    if pod::is_gated(spec) {
        return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
    }
    Ok(())
}
