//! Which flow a request belongs to, by the flow schemas that there are: who shares a turn with whom, and who need not
//! wait at all.
//!
//! Source: upstream's API priority and fairness (`rule.go`, and the headers that it puts on answers). The levels of
//! priority are one here, but for the exempt one.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use coracle_api::object::Object;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response};
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, PriorityLevelConfiguration, ResourcePolicyRule, Subject,
};

use crate::api::Api;
use crate::auth::{Attributes, Identity, ResourceAttributes};
use crate::resource::Resource;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const ALL: &str = "*";
const FLOW_SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// The flow schemas as they are now.
#[derive(Default)]
pub(crate) struct Flows(ArcSwapOption<Rules>);

/// The flow schemas of one time, the first that matches first.
struct Rules {
    /// Everything up to this revision is in them.
    seen: u64,
    schemas: Vec<Arc<Schema>>,
}

/// A flow schema with what it says of its requests.
struct Schema {
    precedence: i32,
    name: String,
    rules: Vec<PolicyRulesWithSubjects>,
    /// `ByUser`, `ByNamespace`, or neither: all of its requests are one flow.
    distinguished: Option<String>,
    is_exempt: bool,
    uid: HeaderValue,
    level_uid: HeaderValue,
}

/// The flow of a request.
#[derive(Clone)]
pub(crate) struct Flow {
    schema: Arc<Schema>,
    /// What the requests of the flow have in common, beyond the schema.
    pub(crate) key: String,
}

impl Flow {
    /// Whether its requests run at once.
    pub(crate) fn is_exempt(&self) -> bool {
        self.schema.is_exempt
    }

    /// Says with an answer which flow it was.
    pub(crate) fn tell<T>(&self, response: &mut Response<T>) {
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(FLOW_SCHEMA_UID, self.schema.uid.clone());
        headers.insert(PRIORITY_LEVEL_UID, self.schema.level_uid.clone());
    }
}

impl Flows {
    /// The flow of what `identity` asks; `None` while there are no schemas.
    pub(crate) fn of(&self, api: &Api, identity: &Identity, asked: &Attributes<'_>) -> Option<Flow> {
        let rules = self.current(api)?;
        let schema = rules.schemas.iter().find(|schema| schema.matches(identity, asked))?;
        let key = match schema.distinguished.as_deref() {
            Some("ByUser") => identity.user.as_str(),
            Some("ByNamespace") => asked.resource.as_ref().and_then(|asked| asked.namespace).unwrap_or_default(),
            _ => "",
        };
        Some(Flow { key: format!("{}/{key}", schema.name), schema: schema.clone() })
    }

    fn current(&self, api: &Api) -> Option<Arc<Rules>> {
        let schemas = api.resources.builtin(GROUP, "v1", "flowschemas")?;
        let levels = api.resources.builtin(GROUP, "v1", "prioritylevelconfigurations")?;
        let is_current =
            |rules: &Arc<Rules>| schemas.cache.unchanged_since(rules.seen) && levels.cache.unchanged_since(rules.seen);
        if let Some(rules) = self.0.load_full().filter(is_current) {
            return Some(rules);
        }
        let rules = Arc::new(Rules::read(api, schemas, levels));
        self.0.store(Some(rules.clone()));
        Some(rules)
    }
}

impl Rules {
    fn read(api: &Api, schemas: &Resource, levels: &Resource) -> Self {
        let seen = api.cache.seen();
        let levels: Vec<PriorityLevelConfiguration> = all(api, levels);
        let schemas = all(api, schemas).into_iter().filter_map(|schema| Schema::new(schema, &levels).map(Arc::new));
        let mut schemas: Vec<_> = schemas.collect();
        schemas.sort_by(|a, b| a.precedence.cmp(&b.precedence).then_with(|| a.name.cmp(&b.name)));
        Self { seen, schemas }
    }
}

fn all<T: Object + Clone>(api: &Api, resource: &Resource) -> Vec<T> {
    let objects = api.list_all(resource);
    objects.iter().filter_map(|object| resource.load(object).ok()?.downcast_ref::<T>().cloned()).collect()
}

impl Schema {
    /// `None` when its level of priority is not there: then it is passed over.
    fn new(schema: FlowSchema, levels: &[PriorityLevelConfiguration]) -> Option<Self> {
        let spec = schema.spec?;
        let wanted = spec.priority_level_configuration.name;
        let level = levels.iter().find(|level| level.metadata.name.as_ref() == Some(&wanted))?;
        let uid = |uid: Option<&String>| HeaderValue::from_str(uid.map_or("", String::as_str)).ok();
        Some(Self {
            precedence: spec.matching_precedence.unwrap_or_default(),
            name: schema.metadata.name.unwrap_or_default(),
            rules: spec.rules.unwrap_or_default(),
            distinguished: spec.distinguisher_method.map(|method| method.type_),
            is_exempt: level.spec.as_ref().is_some_and(|spec| spec.type_ == "Exempt"),
            uid: uid(schema.metadata.uid.as_ref())?,
            level_uid: uid(level.metadata.uid.as_ref())?,
        })
    }

    fn matches(&self, identity: &Identity, asked: &Attributes<'_>) -> bool {
        self.rules.iter().any(|rule| {
            let is_subject = rule.subjects.iter().any(|subject| is_meant(subject, identity));
            is_subject
                && match &asked.resource {
                    Some(resource) => {
                        rule.resource_rules.iter().flatten().any(|rule| of_resource(rule, asked.verb, resource))
                    }
                    None => rule.non_resource_rules.iter().flatten().any(|rule| of_path(rule, asked)),
                }
        })
    }
}

fn is_meant(subject: &Subject, identity: &Identity) -> bool {
    let is = |asked: &str, own: &str| asked == ALL || asked == own;
    if let Some(user) = &subject.user {
        return is(&user.name, &identity.user);
    }
    if let Some(group) = &subject.group {
        return group.name == ALL || identity.is_in(&group.name);
    }
    subject.service_account.as_ref().is_some_and(|account| {
        let of_namespace = identity.user.strip_prefix(&format!("system:serviceaccount:{}:", account.namespace));
        of_namespace.is_some_and(|name| is(&account.name, name))
    })
}

fn has(all: &[String], one: &str) -> bool {
    all.iter().any(|known| known == ALL || known == one)
}

fn of_resource(rule: &ResourcePolicyRule, verb: &str, asked: &ResourceAttributes<'_>) -> bool {
    let resource = match asked.subresource {
        Some(subresource) => format!("{}/{subresource}", asked.resource),
        None => asked.resource.to_owned(),
    };
    let is_placed = match asked.namespace.unwrap_or_default() {
        "" => rule.cluster_scope.unwrap_or_default(),
        namespace => has(rule.namespaces.as_deref().unwrap_or_default(), namespace),
    };
    has(&rule.verbs, verb) && has(&rule.api_groups, asked.group) && has(&rule.resources, &resource) && is_placed
}

fn of_path(rule: &NonResourcePolicyRule, asked: &Attributes<'_>) -> bool {
    let is_path = |pattern: &String| match pattern.strip_suffix(ALL) {
        Some("") => true,
        Some(folder) if folder.ends_with('/') => asked.path.starts_with(folder),
        _ => pattern == asked.path,
    };
    has(&rule.verbs, asked.verb) && rule.non_resource_urls.iter().any(is_path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::flow::{flow_schemas, priority_levels};

    fn first(identity: &Identity, asked: &Attributes<'_>) -> String {
        let named = |schema: &FlowSchema| {
            let (mut schema, mut levels) = (schema.clone(), priority_levels().to_vec());
            schema.metadata.uid = schema.metadata.name.clone();
            levels.iter_mut().for_each(|level| level.metadata.uid = level.metadata.name.clone());
            Schema::new(schema, &levels)
        };
        let mut schemas: Vec<_> = flow_schemas().iter().filter_map(named).collect();
        schemas.sort_by_key(|schema| schema.precedence);
        schemas.into_iter().find(|schema| schema.matches(identity, asked)).map(|schema| schema.name).unwrap_or_default()
    }

    #[test]
    fn requests_belong_to_the_first_that_matches() {
        let leases = ResourceAttributes {
            group: "coordination.k8s.io",
            version: "v1",
            resource: "leases",
            subresource: None,
            namespace: Some("kube-node-lease"),
            name: Some("n"),
        };
        let pods = |namespace, subresource| ResourceAttributes {
            group: "",
            version: "v1",
            resource: "pods",
            subresource,
            namespace,
            name: None,
        };
        let somebody = Identity::new("ann", &["system:authenticated"]);
        let node = Identity::new("system:node:n", &["system:nodes", "system:authenticated"]);
        let account = Identity::new("system:serviceaccount:a:b", &["system:serviceaccounts", "system:authenticated"]);
        let controller = Identity::new("system:kube-controller-manager", &["system:authenticated"]);
        for (identity, verb, path, resource, expected) in [
            (&Identity::admin(), "get", "", Some(pods(Some("a"), None)), "exempt"),
            (&somebody, "get", "", Some(pods(Some("a"), None)), "global-default"),
            (&somebody, "get", "/healthz", None, "probes"),
            (&somebody, "get", "/apis", None, "global-default"),
            (&node, "update", "", Some(leases), "system-node-high"),
            (&node, "get", "", Some(pods(Some("a"), None)), "system-nodes"),
            (&account, "list", "", Some(pods(None, None)), "service-accounts"),
            (&controller, "update", "", Some(pods(Some("a"), Some("status"))), "kube-controller-manager"),
        ] {
            let asked = Attributes { verb, path, resource };
            assert_eq!(first(identity, &asked), expected, "{} {verb} {path}", identity.user);
        }
    }
}
