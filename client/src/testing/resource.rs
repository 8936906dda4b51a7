//! The server's idea of a URL.

use std::collections::BTreeMap;

use coracle_api::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::path;

/// An object, or a collection when it has no name; in every namespace when it has no namespace either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resource {
    /// `/api/v1` or `/apis/apps/v1`.
    pub(super) prefix: String,
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Resource {
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let depth = match *segments.first()? {
            "api" => 2,
            "apis" => 3,
            _ => return None,
        };
        let (prefix, rest) = segments.split_at_checked(depth)?;
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let owned = |segment: Option<&&str>| segment.map(|&segment| segment.to_owned());
        Some(Self {
            prefix: format!("/{}", prefix.join("/")),
            plural: owned(rest.first())?,
            namespace: namespace.map(str::to_owned),
            name: owned(rest.get(1)),
            subresource: owned(rest.get(2)),
        })
    }

    pub(super) fn kind<K: Object>() -> Self {
        Self::parse(&path::collection::<K>(None)).expect("a kind has a path")
    }

    pub(super) fn named<K: Object>(namespace: &str, name: &str) -> Self {
        let path = path::object(path::collection::<K>(Some(namespace)), name, None);
        Self::parse(&path).expect("an object has a path")
    }

    pub(super) fn of_object<K: Object>(meta: &ObjectMeta) -> Self {
        Self::named::<K>(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }

    /// Whether this collection holds that object.
    pub(super) fn holds(&self, object: &Self) -> bool {
        (&self.prefix, &self.plural) == (&object.prefix, &object.plural)
            && (self.namespace.is_none() || self.namespace == object.namespace)
    }

    pub(super) fn api_version(&self) -> &str {
        self.prefix.trim_start_matches("/apis/").trim_start_matches("/api/")
    }

    pub(super) fn list_kind(&self) -> &'static str {
        match self.plural.as_str() {
            "namespaces" => "NamespaceList",
            "nodes" => "NodeList",
            "pods" => "PodList",
            "replicationcontrollers" => "ReplicationControllerList",
            "services" => "ServiceList",
            "endpoints" => "EndpointsList",
            "configmaps" => "ConfigMapList",
            "secrets" => "SecretList",
            "serviceaccounts" => "ServiceAccountList",
            "events" => "EventList",
            "replicasets" => "ReplicaSetList",
            "deployments" => "DeploymentList",
            "leases" => "LeaseList",
            "endpointslices" => "EndpointSliceList",
            _ => "List",
        }
    }
}

pub(super) fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
