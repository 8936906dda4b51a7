//! The objects that every cluster has and nobody makes: roles, flow schemas, who serves which API, the range of service
//! addresses.
//!
//! They are many, so they go to the store at once and not one after the other through a handler. What is there already is
//! left as it is.
//!
//! Source: upstream's post-start hooks `rbac/bootstrap-roles`, `priority-and-fairness-config-producer`,
//! `apiservice-registration-controller` and `default-service-ip-range controller`.

use coracle_api::any::AnyObject;
use coracle_api::kinds;
use coracle_api::object::{DecodeError, Object as _};
use coracle_api::status::ApiError;
use coracle_api::{defaults, flow};
use futures::future::try_join_all;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaCondition, FlowSchemaStatus};
use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRSpec, ServiceCIDRStatus};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};

use crate::api::Api;
use crate::clock;
use crate::writer::{Lost, Writer, path};

/// Roles and their bindings, one object a line, as upstream's bootstrap policy has them.
static ROLES: &str = include_str!("roles.jsonl");

/// Makes what is missing.
///
/// # Errors
/// When something cannot be made, other than for want of room.
pub(crate) async fn run(api: &Api) -> Result<(), ApiError> {
    let roles = ROLES.lines().filter_map(|line| role(line).ok());
    let levels = flow::priority_levels().iter().map(|level| AnyObject::new(level.clone()));
    let schemas = flow::flow_schemas().iter().map(|schema| AnyObject::new(schema.clone()));
    let all = roles.chain(levels).chain(schemas).chain(api_services()).chain([service_range(api)]);
    try_join_all(all.map(|object| create(api, object))).await?;
    Ok(())
}

/// The object of a line.
fn role(line: &str) -> Result<AnyObject, DecodeError> {
    let json = line.as_bytes();
    let is = |kind: &str| line.contains(&format!(r#""kind":"{kind}","metadata""#));
    Ok(if is("ClusterRole") {
        AnyObject::new(ClusterRole::decode(json)?)
    } else if is("ClusterRoleBinding") {
        AnyObject::new(ClusterRoleBinding::decode(json)?)
    } else if is("Role") {
        AnyObject::new(Role::decode(json)?)
    } else {
        AnyObject::new(RoleBinding::decode(json)?)
    })
}

/// In which order clients look for a resource that several groups have. Source: upstream's `apiVersionPriorities`.
const GROUP_PRIORITIES: [(&str, i32); 21] = [
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("internal.apiserver.k8s.io", 16_000),
    ("resource.k8s.io", 15_900),
];

/// A service for every version of every group but the one that services are of.
fn api_services() -> Vec<AnyObject> {
    let mut versions: Vec<(&str, &str)> = Vec::new();
    for kind in kinds::all().iter().filter(|kind| kind.group != "apiregistration.k8s.io") {
        if !versions.contains(&(&kind.group, &kind.version)) {
            versions.push((&kind.group, &kind.version));
        }
    }
    versions.into_iter().map(|(group, version)| AnyObject::new(api_service(group, version))).collect()
}

fn api_service(group: &str, version: &str) -> APIService {
    let priority = GROUP_PRIORITIES.iter().find(|(of, _)| *of == group).map_or(1000, |(_, priority)| *priority);
    let mut metadata = named(&format!("{version}.{group}"));
    let automanaged = ("kube-aggregator.kubernetes.io/automanaged".to_owned(), "onstart".to_owned());
    metadata.labels = Some([automanaged].into());
    APIService {
        metadata,
        spec: Some(APIServiceSpec {
            group: Some(group.to_owned()),
            version: Some(version.to_owned()),
            group_priority_minimum: priority,
            // The newer of two versions is found first.
            version_priority: if (group, version) == ("autoscaling", "v2") { 30 } else { 15 },
            ..APIServiceSpec::default()
        }),
        status: None,
    }
}

fn service_range(api: &Api) -> AnyObject {
    let mut metadata = named("kubernetes");
    metadata.finalizers = Some(vec!["networking.k8s.io/service-cidr-finalizer".to_owned()]);
    AnyObject::new(ServiceCIDR {
        metadata,
        spec: Some(ServiceCIDRSpec { cidrs: Some(vec![api.config.service_cidr.clone()]) }),
        status: Some(ServiceCIDRStatus {
            conditions: Some(vec![Condition {
                type_: "Ready".to_owned(),
                status: "True".to_owned(),
                reason: String::new(),
                message: "Kubernetes Service CIDR is ready".to_owned(),
                last_transition_time: Time(clock::now()),
                observed_generation: None,
            }]),
        }),
    })
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

async fn create(api: &Api, mut object: AnyObject) -> Result<(), ApiError> {
    let kind = kinds::of_object(&object);
    let Some(resource) = kind.and_then(|kind| api.resources.builtin(&kind.group, &kind.version, &kind.plural)) else {
        return Ok(());
    };
    if resource.cache.get(&path(object.namespace(), object.name())).is_some() {
        return Ok(());
    }
    stamp(object.meta_mut());
    defaults::apply(&mut object);
    resource.strategy.prepare_for_create(&mut object);
    if let Some(schema) = object.downcast_mut::<FlowSchema>() {
        say_its_level_exists(schema);
    }
    match (Writer { api, resource, dry_run: false }).create(&object).await {
        // Another server was faster.
        Ok(_) | Err(Lost::Raced(_)) => Ok(()),
        Err(Lost::Refused(ApiError::StorageFull(message))) => {
            tracing::warn!(message, kind = object.kind(), name = object.name(), "there is no room for an object");
            Ok(())
        }
        Err(Lost::Refused(error)) => Err(error),
    }
}

/// What the server gives to everything that is made.
pub(super) fn stamp(meta: &mut ObjectMeta) {
    meta.uid = Some(uuid::Uuid::new_v4().to_string());
    meta.creation_timestamp = Some(Time(clock::now()));
}

fn say_its_level_exists(schema: &mut FlowSchema) {
    let level = schema.spec.as_ref().map(|spec| spec.priority_level_configuration.name.clone()).unwrap_or_default();
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists");
    schema.status = Some(FlowSchemaStatus {
        conditions: Some(vec![FlowSchemaCondition {
            type_: Some("Dangling".to_owned()),
            status: Some("False".to_owned()),
            reason: Some("Found".to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(clock::now())),
        }]),
    });
}

#[cfg(test)]
mod tests {
    use coracle_api::validation;

    use super::*;

    #[test]
    fn what_every_cluster_has_is_valid() {
        let roles: Vec<AnyObject> = ROLES.lines().map(|line| role(line).expect("the file is ours")).collect();
        assert_eq!(roles.len(), 57);
        for mut object in roles.into_iter().chain(api_services()) {
            stamp(object.meta_mut());
            defaults::apply(&mut object);
            assert!(validation::create(&object).is_empty(), "{}: {}", object.name(), validation::create(&object));
        }
    }
}
