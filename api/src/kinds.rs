//! The table of kinds: the one source that routes, discovery, OpenAPI and the command line are made of.
//!
//! A kind is a row here, an entry in [`object`](crate::object), and a strategy in the API server. A test compares the
//! table with what Kubernetes itself serves (`api/schema/resources.tsv`).

use std::borrow::Cow;

use k8s_openapi::api::{
    admissionregistration::v1 as admissionregistration, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling_v2,
    batch::v1 as batch, certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events, flowcontrol::v1 as flowcontrol, networking::v1 as networking,
    node::v1 as node, policy::v1 as policy, rbac::v1 as rbac, resource::v1 as resource, scheduling::v1 as scheduling,
    storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

use crate::any::AnyObject;
use crate::kind::{Kind, Model, Scope, Subresource, Verb, Verbs};
use crate::object::Object;

/// Every built-in kind, in the order in which discovery lists them.
#[must_use]
pub fn all() -> &'static [Kind] {
    &KINDS
}

/// The kind that a URL names.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.plural == plural && k.group == group && k.version == version)
}

/// The kind of an object's `apiVersion` (split) and `kind`.
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.kind == kind && k.group == group && k.version == version)
}

/// The first kind that people call so: `po`, `deploy`, `configmap`.
#[must_use]
pub fn called(word: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.is_called(word))
}

/// The row of a type.
///
/// # Panics
/// For the types that only subresources have, which are in no row: `Scale`, `Eviction`, `TokenRequest`.
#[must_use]
pub fn of<T: Object>() -> &'static Kind {
    find_kind(T::GROUP, T::VERSION, T::KIND).expect("the kind has a row")
}

/// The row of an object, if its kind has one.
#[must_use]
pub fn of_object(object: &AnyObject) -> Option<&'static Kind> {
    let (group, version) = object.api_version().rsplit_once('/').unwrap_or(("", object.api_version()));
    find_kind(group, version, object.kind())
}

const CREATE: Verbs = Verbs::of(&[Verb::Create]);
const CREATE_GET: Verbs = Verbs::of(&[Verb::Create, Verb::Get]);
const GET: Verbs = Verbs::of(&[Verb::Get]);
const GET_LIST: Verbs = Verbs::of(&[Verb::Get, Verb::List]);
const UPDATE: Verbs = Verbs::of(&[Verb::Update]);
const GET_PATCH_UPDATE: Verbs = Verbs::of(&[Verb::Get, Verb::Patch, Verb::Update]);
const PROXY: Verbs = Verbs::of(&[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update]);

/// A subresource whose kind is of the resource's own group and version.
const fn own(name: &'static str, kind: &'static str, verbs: Verbs) -> Subresource {
    Subresource { name: Cow::Borrowed(name), kind: Cow::Borrowed(kind), group_version: None, verbs }
}

/// A subresource whose kind is of another group.
const fn foreign(
    name: &'static str,
    kind: &'static str,
    group_version: (&'static str, &'static str),
    verbs: Verbs,
) -> Subresource {
    let (group, version) = group_version;
    Subresource {
        name: Cow::Borrowed(name),
        kind: Cow::Borrowed(kind),
        group_version: Some((Cow::Borrowed(group), Cow::Borrowed(version))),
        verbs,
    }
}

const SCALE: Subresource = foreign("scale", "Scale", ("autoscaling", "v1"), GET_PATCH_UPDATE);

macro_rules! kinds {
    ($($ty:path: $plural:literal $singular:literal
        short $short:tt categories $categories:tt $verbs:expr,
        subresources $subresources:tt selectable $selectable:tt $(stored in $group:literal $version:literal)?;)*) => {
        static KINDS: [Kind; [$($plural),*].len()] = [$(Kind {
            group: Cow::Borrowed(<$ty as k8s_openapi::Resource>::GROUP),
            version: Cow::Borrowed(<$ty as k8s_openapi::Resource>::VERSION),
            kind: Cow::Borrowed(<$ty as k8s_openapi::Resource>::KIND),
            plural: Cow::Borrowed($plural),
            singular: Cow::Borrowed($singular),
            short_names: Cow::Borrowed(kinds!(@names $short)),
            categories: Cow::Borrowed(kinds!(@names $categories)),
            scope: if <$ty as Object>::NAMESPACED { Scope::Namespaced } else { Scope::Cluster },
            verbs: $verbs,
            subresources: Cow::Borrowed(&$subresources),
            selectable: Cow::Borrowed(kinds!(@names $selectable)),
            storage: kinds!(@storage $ty $(, $group $version)?),
            model: Model::Typed { decode: AnyObject::decode::<$ty>, schema: <$ty as Object>::schema },
        }),*];
    };
    (@names [$($name:literal)*]) => { &[$(Cow::Borrowed($name)),*] };
    (@storage $ty:path) => {
        kinds!(@pair <$ty as k8s_openapi::Resource>::GROUP, <$ty as k8s_openapi::Resource>::VERSION)
    };
    (@storage $ty:path, $group:literal $version:literal) => { kinds!(@pair $group, $version) };
    (@pair $group:expr, $version:expr) => { (Cow::Borrowed($group), Cow::Borrowed($version)) };
}

kinds! {
    core::Binding: "bindings" "binding" short [] categories [] CREATE,
        subresources [] selectable [];
    core::ComponentStatus: "componentstatuses" "componentstatus" short ["cs"] categories [] GET_LIST,
        subresources [] selectable [];
    core::ConfigMap: "configmaps" "configmap" short ["cm"] categories [] Verbs::ALL,
        subresources [] selectable [];
    core::Endpoints: "endpoints" "endpoints" short ["ep"] categories [] Verbs::ALL,
        subresources [] selectable [];
    core::Event: "events" "event" short ["ev"] categories [] Verbs::ALL,
        subresources []
        selectable [
            "involvedObject.kind" "involvedObject.namespace" "involvedObject.name" "involvedObject.uid"
            "involvedObject.apiVersion" "involvedObject.resourceVersion" "involvedObject.fieldPath"
            "reason" "reportingComponent" "source" "type"
        ];
    core::LimitRange: "limitranges" "limitrange" short ["limits"] categories [] Verbs::ALL,
        subresources [] selectable [];
    core::Namespace: "namespaces" "namespace" short ["ns"] categories [] Verbs::ALL.without(Verb::DeleteCollection),
        subresources [own("finalize", "Namespace", UPDATE), own("status", "Namespace", GET_PATCH_UPDATE)]
        selectable ["status.phase"];
    core::Node: "nodes" "node" short ["no"] categories [] Verbs::ALL,
        subresources [own("proxy", "NodeProxyOptions", PROXY), own("status", "Node", GET_PATCH_UPDATE)]
        selectable ["spec.unschedulable"];
    core::PersistentVolumeClaim: "persistentvolumeclaims" "persistentvolumeclaim" short ["pvc"] categories [] Verbs::ALL,
        subresources [own("status", "PersistentVolumeClaim", GET_PATCH_UPDATE)] selectable [];
    core::PersistentVolume: "persistentvolumes" "persistentvolume" short ["pv"] categories [] Verbs::ALL,
        subresources [own("status", "PersistentVolume", GET_PATCH_UPDATE)] selectable [];
    core::Pod: "pods" "pod" short ["po"] categories ["all"] Verbs::ALL,
        subresources [
            own("attach", "PodAttachOptions", CREATE_GET),
            own("binding", "Binding", CREATE),
            own("ephemeralcontainers", "Pod", GET_PATCH_UPDATE),
            foreign("eviction", "Eviction", ("policy", "v1"), CREATE),
            own("exec", "PodExecOptions", CREATE_GET),
            own("log", "Pod", GET),
            own("portforward", "PodPortForwardOptions", CREATE_GET),
            own("proxy", "PodProxyOptions", PROXY),
            own("resize", "Pod", GET_PATCH_UPDATE),
            own("status", "Pod", GET_PATCH_UPDATE),
        ]
        selectable [
            "spec.host" "spec.nodeName" "spec.restartPolicy" "spec.schedulerName" "spec.serviceAccountName"
            "spec.hostNetwork" "status.phase" "status.podIP" "status.podIPs" "status.nominatedNodeName"
        ];
    core::PodTemplate: "podtemplates" "podtemplate" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    core::ReplicationController: "replicationcontrollers" "replicationcontroller" short ["rc"] categories ["all"] Verbs::ALL,
        subresources [SCALE, own("status", "ReplicationController", GET_PATCH_UPDATE)]
        selectable ["status.replicas"];
    core::ResourceQuota: "resourcequotas" "resourcequota" short ["quota"] categories [] Verbs::ALL,
        subresources [own("status", "ResourceQuota", GET_PATCH_UPDATE)] selectable [];
    core::Secret: "secrets" "secret" short [] categories [] Verbs::ALL,
        subresources [] selectable ["type"];
    core::ServiceAccount: "serviceaccounts" "serviceaccount" short ["sa"] categories [] Verbs::ALL,
        subresources [foreign("token", "TokenRequest", ("authentication.k8s.io", "v1"), CREATE)] selectable [];
    core::Service: "services" "service" short ["svc"] categories ["all"] Verbs::ALL,
        subresources [own("proxy", "ServiceProxyOptions", PROXY), own("status", "Service", GET_PATCH_UPDATE)]
        selectable ["spec.clusterIP" "spec.type"];

    apiregistration::APIService: "apiservices" "apiservice" short [] categories ["api-extensions"] Verbs::ALL,
        subresources [own("status", "APIService", GET_PATCH_UPDATE)] selectable [];

    apps::ControllerRevision: "controllerrevisions" "controllerrevision" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    apps::DaemonSet: "daemonsets" "daemonset" short ["ds"] categories ["all"] Verbs::ALL,
        subresources [own("status", "DaemonSet", GET_PATCH_UPDATE)] selectable [];
    apps::Deployment: "deployments" "deployment" short ["deploy"] categories ["all"] Verbs::ALL,
        subresources [SCALE, own("status", "Deployment", GET_PATCH_UPDATE)] selectable [];
    apps::ReplicaSet: "replicasets" "replicaset" short ["rs"] categories ["all"] Verbs::ALL,
        subresources [SCALE, own("status", "ReplicaSet", GET_PATCH_UPDATE)] selectable [];
    apps::StatefulSet: "statefulsets" "statefulset" short ["sts"] categories ["all"] Verbs::ALL,
        subresources [SCALE, own("status", "StatefulSet", GET_PATCH_UPDATE)] selectable [];

    events::Event: "events" "event" short ["ev"] categories [] Verbs::ALL,
        subresources []
        selectable [
            "regarding.kind" "regarding.namespace" "regarding.name" "regarding.uid" "regarding.apiVersion"
            "regarding.resourceVersion" "regarding.fieldPath" "reason" "reportingController" "type"
        ]
        stored in "" "v1";

    authentication::SelfSubjectReview: "selfsubjectreviews" "selfsubjectreview" short [] categories [] CREATE,
        subresources [] selectable [];
    authentication::TokenReview: "tokenreviews" "tokenreview" short [] categories [] CREATE,
        subresources [] selectable [];

    authorization::LocalSubjectAccessReview: "localsubjectaccessreviews" "localsubjectaccessreview" short [] categories [] CREATE,
        subresources [] selectable [];
    authorization::SelfSubjectAccessReview: "selfsubjectaccessreviews" "selfsubjectaccessreview" short [] categories [] CREATE,
        subresources [] selectable [];
    authorization::SelfSubjectRulesReview: "selfsubjectrulesreviews" "selfsubjectrulesreview" short [] categories [] CREATE,
        subresources [] selectable [];
    authorization::SubjectAccessReview: "subjectaccessreviews" "subjectaccessreview" short [] categories [] CREATE,
        subresources [] selectable [];

    autoscaling_v2::HorizontalPodAutoscaler: "horizontalpodautoscalers" "horizontalpodautoscaler" short ["hpa"] categories ["all"] Verbs::ALL,
        subresources [own("status", "HorizontalPodAutoscaler", GET_PATCH_UPDATE)] selectable [];
    autoscaling_v1::HorizontalPodAutoscaler: "horizontalpodautoscalers" "horizontalpodautoscaler" short ["hpa"] categories ["all"] Verbs::ALL,
        subresources [own("status", "HorizontalPodAutoscaler", GET_PATCH_UPDATE)] selectable []
        stored in "autoscaling" "v2";

    batch::CronJob: "cronjobs" "cronjob" short ["cj"] categories ["all"] Verbs::ALL,
        subresources [own("status", "CronJob", GET_PATCH_UPDATE)] selectable [];
    batch::Job: "jobs" "job" short [] categories ["all"] Verbs::ALL,
        subresources [own("status", "Job", GET_PATCH_UPDATE)] selectable ["status.successful"];

    certificates::CertificateSigningRequest: "certificatesigningrequests" "certificatesigningrequest" short ["csr"] categories [] Verbs::ALL,
        subresources [own("approval", "CertificateSigningRequest", GET_PATCH_UPDATE), own("status", "CertificateSigningRequest", GET_PATCH_UPDATE)]
        selectable ["spec.signerName"];

    networking::IngressClass: "ingressclasses" "ingressclass" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    networking::Ingress: "ingresses" "ingress" short ["ing"] categories [] Verbs::ALL,
        subresources [own("status", "Ingress", GET_PATCH_UPDATE)] selectable [];
    networking::IPAddress: "ipaddresses" "ipaddress" short ["ip"] categories [] Verbs::ALL,
        subresources [] selectable [];
    networking::NetworkPolicy: "networkpolicies" "networkpolicy" short ["netpol"] categories [] Verbs::ALL,
        subresources [] selectable [];
    networking::ServiceCIDR: "servicecidrs" "servicecidr" short [] categories [] Verbs::ALL,
        subresources [own("status", "ServiceCIDR", GET_PATCH_UPDATE)] selectable [];

    policy::PodDisruptionBudget: "poddisruptionbudgets" "poddisruptionbudget" short ["pdb"] categories [] Verbs::ALL,
        subresources [own("status", "PodDisruptionBudget", GET_PATCH_UPDATE)] selectable [];

    rbac::ClusterRoleBinding: "clusterrolebindings" "clusterrolebinding" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    rbac::ClusterRole: "clusterroles" "clusterrole" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    rbac::RoleBinding: "rolebindings" "rolebinding" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    rbac::Role: "roles" "role" short [] categories [] Verbs::ALL,
        subresources [] selectable [];

    storage::CSIDriver: "csidrivers" "csidriver" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    storage::CSINode: "csinodes" "csinode" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    storage::CSIStorageCapacity: "csistoragecapacities" "csistoragecapacity" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    storage::StorageClass: "storageclasses" "storageclass" short ["sc"] categories [] Verbs::ALL,
        subresources [] selectable [];
    storage::VolumeAttachment: "volumeattachments" "volumeattachment" short [] categories [] Verbs::ALL,
        subresources [own("status", "VolumeAttachment", GET_PATCH_UPDATE)] selectable [];
    storage::VolumeAttributesClass: "volumeattributesclasses" "volumeattributesclass" short ["vac"] categories [] Verbs::ALL,
        subresources [] selectable [];

    admissionregistration::MutatingAdmissionPolicy: "mutatingadmissionpolicies" "mutatingadmissionpolicy" short [] categories ["api-extensions"] Verbs::ALL,
        subresources [] selectable [];
    admissionregistration::MutatingAdmissionPolicyBinding: "mutatingadmissionpolicybindings" "mutatingadmissionpolicybinding" short [] categories ["api-extensions"] Verbs::ALL,
        subresources [] selectable [];
    admissionregistration::MutatingWebhookConfiguration: "mutatingwebhookconfigurations" "mutatingwebhookconfiguration" short [] categories ["api-extensions"] Verbs::ALL,
        subresources [] selectable [];
    admissionregistration::ValidatingAdmissionPolicy: "validatingadmissionpolicies" "validatingadmissionpolicy" short [] categories ["api-extensions"] Verbs::ALL,
        subresources [own("status", "ValidatingAdmissionPolicy", GET_PATCH_UPDATE)] selectable [];
    admissionregistration::ValidatingAdmissionPolicyBinding: "validatingadmissionpolicybindings" "validatingadmissionpolicybinding" short [] categories ["api-extensions"] Verbs::ALL,
        subresources [] selectable [];
    admissionregistration::ValidatingWebhookConfiguration: "validatingwebhookconfigurations" "validatingwebhookconfiguration" short [] categories ["api-extensions"] Verbs::ALL,
        subresources [] selectable [];

    apiextensions::CustomResourceDefinition: "customresourcedefinitions" "customresourcedefinition" short ["crd" "crds"] categories ["api-extensions"] Verbs::ALL,
        subresources [own("status", "CustomResourceDefinition", GET_PATCH_UPDATE)] selectable [];

    scheduling::PriorityClass: "priorityclasses" "priorityclass" short ["pc"] categories [] Verbs::ALL,
        subresources [] selectable [];

    coordination::Lease: "leases" "lease" short [] categories [] Verbs::ALL,
        subresources [] selectable [];

    node::RuntimeClass: "runtimeclasses" "runtimeclass" short [] categories [] Verbs::ALL,
        subresources [] selectable [];

    discovery::EndpointSlice: "endpointslices" "endpointslice" short [] categories [] Verbs::ALL,
        subresources [] selectable [];

    resource::DeviceClass: "deviceclasses" "deviceclass" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    resource::ResourceClaim: "resourceclaims" "resourceclaim" short [] categories [] Verbs::ALL,
        subresources [own("status", "ResourceClaim", GET_PATCH_UPDATE)] selectable [];
    resource::ResourceClaimTemplate: "resourceclaimtemplates" "resourceclaimtemplate" short [] categories [] Verbs::ALL,
        subresources [] selectable [];
    resource::ResourceSlice: "resourceslices" "resourceslice" short [] categories [] Verbs::ALL,
        subresources [] selectable ["spec.nodeName" "spec.driver"];

    flowcontrol::FlowSchema: "flowschemas" "flowschema" short [] categories [] Verbs::ALL,
        subresources [own("status", "FlowSchema", GET_PATCH_UPDATE)] selectable [];
    flowcontrol::PriorityLevelConfiguration: "prioritylevelconfigurations" "prioritylevelconfiguration" short [] categories [] Verbs::ALL,
        subresources [own("status", "PriorityLevelConfiguration", GET_PATCH_UPDATE)] selectable [];
}

#[cfg(test)]
mod tests {
    use super::*;

    static FACTS: &str = include_str!("../schema/resources.tsv");

    /// A row of Kubernetes' discovery, for a resource or a subresource.
    fn fact(group: &str, version: &str, resource: &str) -> Vec<&'static str> {
        FACTS
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .find(|row| row[..3] == [group, version, resource])
            .unwrap_or_else(|| panic!("Kubernetes does not serve {resource}"))
    }

    fn joined<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
        names.into_iter().collect::<Vec<_>>().join(",")
    }

    #[test]
    fn the_table_is_what_kubernetes_serves() {
        for kind in all() {
            let row = fact(&kind.group, &kind.version, &kind.plural);
            let scope = if kind.namespaced() { "namespaced" } else { "cluster" };
            let names = (joined(kind.short_names.iter().map(|s| &**s)), joined(kind.categories.iter().map(|s| &**s)));
            assert_eq!(row[3..6], [&*kind.singular, &*kind.kind, scope]);
            assert_eq!((row[6], row[7]), (&*names.0, &*names.1), "{}", kind.plural);
            assert_eq!(row[8], joined(kind.verbs.iter().map(Verb::as_str)), "{}", kind.plural);
            for sub in &*kind.subresources {
                let row = fact(&kind.group, &kind.version, &format!("{}/{}", kind.plural, sub.name));
                assert_eq!(row[4], sub.kind);
                assert_eq!(row[8], joined(sub.verbs.iter().map(Verb::as_str)));
                let foreign = sub.group_version.as_ref().map(|(g, v)| format!("{g}/{v}")).unwrap_or_default();
                assert_eq!(row.get(9).copied().unwrap_or_default(), foreign);
            }
        }
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        assert_eq!(of::<apps::Deployment>().plural, "deployments");
        assert_eq!(called("po").map(|k| &*k.kind), Some("Pod"));
        assert_eq!(find("events.k8s.io", "v1", "events").map(|k| &*k.storage.0), Some(""));
        assert!(find("", "v2", "pods").is_none());
        assert_eq!(
            of_object(&AnyObject::new(apps::ReplicaSet::default())).map(Kind::list_kind).as_deref(),
            Some("ReplicaSetList")
        );
    }
}
