//! From a method and a URL to what is meant: the one place that knows how paths are made.
//!
//! Source: upstream's `RequestInfoFactory.NewRequestInfo`, and what its router answers to paths that nobody serves.

use std::sync::Arc;

use coracle_api::status::{ApiError, GroupResource};
use http::{Method, Uri};

use crate::query::{Query, decode};
use crate::resource::{Catalog, Resource};
use crate::usage::{self, Usage};
use crate::{limits, openid};

/// What a request is about.
pub(crate) enum Route {
    Resource(Target),
    Discovery(Document),
    OpenApi(OpenApi),
    OpenId(openid::Document),
    Version,
    Health(Probe),
    Metrics,
    /// What pods and nodes use.
    Usage(Usage),
    /// The list of paths that are served.
    Root,
}

/// A resource, a collection or a subresource, and what to do with it.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) verb: Verb,
    pub(crate) resource: Arc<Resource>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<Subresource>,
    /// What is asked of whoever a proxy stands before.
    pub(crate) behind: Option<Behind>,
}

/// A request to somebody behind the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) method: Method,
    /// What comes after `…/proxy`, as it was sent: empty, or beginning with a slash.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// The whole path.
    pub(crate) asked: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

/// The parts of an object that have a path of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subresource {
    Status,
    Scale,
    Binding,
    Eviction,
    Token,
    Log,
    EphemeralContainers,
    Resize,
    Finalize,
    Proxy,
    Exec,
    Attach,
    PortForward,
    Approval,
}

/// A discovery document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// `/api`: the versions of the group without a name.
    CoreVersions,
    /// `/apis`: all other groups.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`.
    Resources { group: String, version: String },
}

impl Document {
    /// Whether it can be had with everything that it leads to.
    pub(crate) fn has_aggregated_form(&self) -> bool {
        matches!(self, Self::CoreVersions | Self::Groups)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenApi {
    V2,
    V3Index,
    V3 { group_version: String },
}

/// A health endpoint, and the one check that is asked for, if not all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) endpoint: Endpoint,
    pub(crate) check: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Healthz,
    Livez,
    Readyz,
}

impl Route {
    /// Reads a request's method and URL.
    ///
    /// # Errors
    /// [`NoRoute`] says how to answer what is not served.
    pub(crate) fn parse(method: &Method, uri: &Uri, query: &Query, resources: &Catalog) -> Result<Self, NoRoute> {
        if uri.path().len() + uri.query().map_or(0, str::len) > limits::URI_BYTES_MAX {
            return Err(ApiError::BadRequest(format!("the URL is longer than {} bytes", limits::URI_BYTES_MAX)).into());
        }
        let parts: Vec<String> =
            uri.path().split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let route = match parts.as_slice() {
            ["api"] => Self::Discovery(Document::CoreVersions),
            ["apis"] => Self::Discovery(Document::Groups),
            ["apis", usage::GROUP, rest @ ..] if !resources.has_group(usage::GROUP) => {
                return Usage::route(method, rest);
            }
            ["apis", group] if resources.has_group(group) => Self::Discovery(Document::Group((*group).to_owned())),
            ["api", version, rest @ ..] => {
                return Self::below_version(method, uri, query, resources, "", version, rest);
            }
            ["apis", group, version, rest @ ..] if resources.has_group(group) => {
                return Self::below_version(method, uri, query, resources, group, version, rest);
            }
            [".well-known", "openid-configuration"] => Self::OpenId(openid::Document::Configuration),
            ["openid", "v1", "jwks"] => Self::OpenId(openid::Document::Keys),
            ["version"] => Self::Version,
            ["metrics"] => Self::Metrics,
            ["openapi", "v2"] => Self::OpenApi(OpenApi::V2),
            ["openapi", "v3"] => Self::OpenApi(OpenApi::V3Index),
            ["openapi", "v3", rest @ ..] => Self::OpenApi(OpenApi::V3 { group_version: rest.join("/") }),
            [] | ["index.html"] => Self::Root,
            [endpoint, check @ ..] => match Endpoint::parse(endpoint) {
                Some(endpoint) => {
                    let check = (!check.is_empty()).then(|| check.join("/"));
                    Self::Health(Probe { endpoint, check })
                }
                None => return Err(NoRoute::Path),
            },
        };
        match *method {
            Method::GET => Ok(route),
            // What upstream's router serves has no heads; what stands beside it has.
            Method::HEAD if !matches!(route, Self::Discovery(_) | Self::OpenId(_) | Self::Version) => Ok(route),
            _ => Err(ApiError::MethodNotAllowed.into()),
        }
    }

    fn below_version(
        method: &Method,
        uri: &Uri,
        query: &Query,
        resources: &Catalog,
        group: &str,
        version: &str,
        rest: &[&str],
    ) -> Result<Self, NoRoute> {
        // Groups that definitions make are no part of upstream's router.
        let nothing = || if resources.is_built_in(group) { NoRoute::Resource } else { NoRoute::Path };
        if !resources.has_version(group, version) {
            return Err(nothing());
        }
        if rest.is_empty() {
            let document = Document::Resources { group: group.to_owned(), version: version.to_owned() };
            return match *method {
                Method::GET => Ok(Self::Discovery(document)),
                _ => Err(ApiError::MethodNotAllowed.into()),
            };
        }
        let path = ResourcePath::parse(rest).ok_or_else(nothing)?;
        let resource = resources.find(group, version, path.plural).ok_or_else(nothing)?;
        if *method == Method::HEAD && resource.kind.model.custom().is_none() && path.subresource != Some(PROXY) {
            return Err(ApiError::MethodNotAllowed.into());
        }
        let behind = (path.subresource == Some(PROXY)).then(|| Behind {
            method: method.clone(),
            path: after_parts(uri.path(), uri_parts(uri) - path.behind).to_owned(),
            query: uri.query().map(str::to_owned),
            asked: uri.path().to_owned(),
        });
        let target = Target::new(method, query, path, resource.clone())?;
        Ok(Self::Resource(Target { behind, ..target }))
    }
}

/// The subresource below which every path is somebody else's.
const PROXY: &str = "proxy";

fn uri_parts(uri: &Uri) -> usize {
    uri.path().split('/').filter(|part| !part.is_empty()).count()
}

/// What of a path comes after so many of its parts.
fn after_parts(path: &str, count: usize) -> &str {
    let mut rest = path;
    for _ in 0..count {
        rest = rest.trim_start_matches('/');
        rest = &rest[rest.find('/').unwrap_or(rest.len())..];
    }
    rest
}

/// Why a request has no route.
#[derive(Debug)]
pub(crate) enum NoRoute {
    /// Nothing is under this path: the plain answer of a web server.
    Path,
    /// There is such a group, but it has no such resource.
    Resource,
    Status(ApiError),
}

impl From<ApiError> for NoRoute {
    fn from(error: ApiError) -> Self {
        Self::Status(error)
    }
}

/// The parts of a path below group and version.
struct ResourcePath<'a> {
    watch: bool,
    namespace: Option<&'a str>,
    plural: &'a str,
    name: Option<&'a str>,
    subresource: Option<&'a str>,
    /// How many parts come after a proxy's own.
    behind: usize,
}

impl<'a> ResourcePath<'a> {
    fn parse(parts: &[&'a str]) -> Option<Self> {
        // The old form of a watch: a path of its own.
        let (watch, parts) = match parts {
            ["watch", rest @ ..] => (true, rest),
            _ => (false, parts),
        };
        let (namespace, rest) = match parts {
            ["namespaces", name, subresource @ ("status" | "finalize")] => {
                return Some(Self {
                    watch,
                    namespace: None,
                    plural: "namespaces",
                    name: Some(name),
                    subresource: Some(subresource),
                    behind: 0,
                });
            }
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            _ => (None, parts),
        };
        let (plural, name, subresource, behind) = match rest {
            [plural] => (plural, None, None, 0),
            [plural, name] => (plural, Some(*name), None, 0),
            [plural, name, PROXY, behind @ ..] => (plural, Some(*name), Some(PROXY), behind.len()),
            [plural, name, subresource] => (plural, Some(*name), Some(*subresource), 0),
            _ => return None,
        };
        Some(Self { watch, namespace, plural, name, subresource, behind })
    }
}

impl Target {
    fn new(method: &Method, query: &Query, path: ResourcePath<'_>, resource: Arc<Resource>) -> Result<Self, NoRoute> {
        if resource.kind.model.custom().is_some() {
            return Self::of_custom(method, query, &path, resource);
        }
        // A namespaced resource may be listed over all namespaces, but an object of it is in one; others are in none.
        let is_misplaced = if resource.namespaced() {
            path.namespace.is_none() && path.name.is_some()
        } else {
            path.namespace.is_some()
        };
        if is_misplaced {
            return Err(NoRoute::Resource);
        }
        let subresource = match path.subresource {
            None => None,
            Some(name) if resource.has_subresource(name) => Some(Subresource::parse(name).ok_or(NoRoute::Resource)?),
            Some(_) => return Err(NoRoute::Resource),
        };
        let verb = Verb::of(method, query, &path).ok_or(ApiError::MethodNotAllowed)?;
        let target = Self::at(verb, &path, resource, subresource);
        if target.is_served() { Ok(target) } else { Err(ApiError::MethodNotAllowed.into()) }
    }

    /// Objects of custom kinds have no router: what a method is of no path is found out where the object would be handled.
    ///
    /// Source: `crdHandler.ServeHTTP` of `k8s.io/apiextensions-apiserver`.
    fn of_custom(
        method: &Method,
        query: &Query,
        path: &ResourcePath<'_>,
        resource: Arc<Resource>,
    ) -> Result<Self, NoRoute> {
        let verb = Verb::of_any(method, query, path);
        let is_misplaced = match (resource.namespaced(), path.namespace) {
            (true, None) => !matches!(verb, Some(Verb::List | Verb::Watch)),
            (true, Some(_)) => false,
            (false, namespace) => namespace.is_some(),
        };
        if is_misplaced {
            return Err(NoRoute::Path);
        }
        let about = GroupResource::of(&resource.kind);
        let subresource = match path.subresource {
            None => None,
            Some(name) if resource.has_subresource(name) => Subresource::parse(name),
            Some(_) => {
                let name = path.name.unwrap_or_default().to_owned();
                return Err(ApiError::NotFound { resource: about, name }.into());
            }
        };
        let unsupported = |verb| NoRoute::Status(ApiError::MethodNotSupported { resource: about.clone(), verb });
        let verb = verb.ok_or_else(|| unsupported(""))?;
        if subresource.is_some() && !resource.serves(verb, subresource) {
            return Err(unsupported(verb.as_str()));
        }
        Ok(Self::at(verb, path, resource, subresource))
    }

    fn at(verb: Verb, path: &ResourcePath<'_>, resource: Arc<Resource>, subresource: Option<Subresource>) -> Self {
        let (namespace, name) = (path.namespace.map(str::to_owned), path.name.map(str::to_owned));
        Self { verb, resource, namespace, name, subresource, behind: None }
    }

    fn is_served(&self) -> bool {
        let is_across = self.resource.namespaced() && self.namespace.is_none();
        let is_whole = !is_across || matches!(self.verb, Verb::List | Verb::Watch);
        is_whole && self.resource.serves(self.verb, self.subresource)
    }

    /// `namespace/name`, or `name`.
    pub(crate) fn path(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }
}

impl Verb {
    fn of(method: &Method, query: &Query, path: &ResourcePath<'_>) -> Option<Self> {
        let collection = path.name.is_none();
        match *method {
            Method::GET if path.watch && path.subresource.is_none() => Some(Self::Watch),
            // Only the older paths of their own watch what has nothing else.
            _ if path.watch => None,
            Method::GET | Method::HEAD if collection && query.flag("watch") => Some(Self::Watch),
            Method::GET | Method::HEAD if collection => Some(Self::List),
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::POST if collection || path.subresource.is_some() => Some(Self::Create),
            Method::PUT if !collection => Some(Self::Update),
            Method::PATCH if !collection => Some(Self::Patch),
            Method::DELETE if collection => Some(Self::DeleteCollection),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    /// What a method means of whatever path. Source: upstream's `NewRequestInfo`.
    fn of_any(method: &Method, query: &Query, path: &ResourcePath<'_>) -> Option<Self> {
        match *method {
            _ if path.watch => Self::of(method, query, path),
            Method::POST => Some(Self::Create),
            Method::PUT => Some(Self::Update),
            Method::PATCH => Some(Self::Patch),
            _ => Self::of(method, query, path),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl Subresource {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "status" => Self::Status,
            "scale" => Self::Scale,
            "binding" => Self::Binding,
            "eviction" => Self::Eviction,
            "token" => Self::Token,
            "log" => Self::Log,
            "ephemeralcontainers" => Self::EphemeralContainers,
            "resize" => Self::Resize,
            "finalize" => Self::Finalize,
            PROXY => Self::Proxy,
            "exec" => Self::Exec,
            "attach" => Self::Attach,
            "portforward" => Self::PortForward,
            "approval" => Self::Approval,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Token => "token",
            Self::Log => "log",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Finalize => "finalize",
            Self::Proxy => PROXY,
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Approval => "approval",
        }
    }
}

impl Endpoint {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "healthz" => Self::Healthz,
            "livez" => Self::Livez,
            "readyz" => Self::Readyz,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Healthz => "healthz",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::resource::Resources;
    use coracle_api::kinds;
    use coracle_store::MemoryStore;
    use tokio_util::sync::CancellationToken;

    /// What a request comes to, in a line.
    fn told(resources: &Catalog, method: &str, url: &str) -> String {
        let uri: Uri = url.parse().expect("a URL");
        let query = Query::parse(uri.query().unwrap_or_default());
        match Route::parse(&method.parse().expect("a method"), &uri, &query, resources) {
            Ok(Route::Resource(target)) => {
                let subresource = target.subresource.map_or(String::new(), |part| format!("/{}", part.as_str()));
                let plural = &target.resource.kind.plural;
                let behind = target.behind.as_ref().map_or(String::new(), |behind| format!(" {}", behind.path));
                format!("{} {plural}{subresource} {}{behind}", target.verb.as_str(), target.path())
            }
            Ok(Route::Discovery(document)) => format!("{document:?}"),
            Ok(Route::Health(probe)) => format!("{} {:?}", probe.endpoint.as_str(), probe.check),
            Ok(Route::OpenApi(document)) => format!("{document:?}"),
            Ok(Route::OpenId(document)) => format!("{document:?}"),
            Ok(Route::Version) => "version".to_owned(),
            Ok(Route::Metrics) => "metrics".to_owned(),
            Ok(Route::Usage(usage)) => format!("{usage:?}"),
            Ok(Route::Root) => "root".to_owned(),
            Err(NoRoute::Path) => "no page".to_owned(),
            Err(NoRoute::Resource) => "no resource".to_owned(),
            Err(NoRoute::Status(error)) => error.code().to_string(),
        }
    }

    #[tokio::test]
    async fn urls() {
        let layouts = kinds::all().iter().filter(|kind| !kind.is_view()).map(crate::fields::layout);
        let opened = Cache::open(std::sync::Arc::new(MemoryStore::new()), layouts.collect(), CancellationToken::new());
        let (cache, _feed) = opened.await.expect("an empty store");
        let resources = Resources::new(kinds::all(), &cache).current();
        for (method, url, expected) in [
            ("GET", "/api/v1/pods", "list pods "),
            ("GET", "/api/v1/pods?watch=true", "watch pods "),
            ("GET", "/api/v1/pods?watch=", "watch pods "),
            ("GET", "/api/v1/namespaces/n/pods/p?watch=1", "get pods n/p"),
            ("GET", "/api/v1/watch/namespaces/n/pods/p", "watch pods n/p"),
            ("GET", "/api/v1/namespaces/n/pods/p", "get pods n/p"),
            ("GET", "/api/v1/namespaces/n/pods/p/log?follow=1", "get pods/log n/p"),
            ("GET", "/api/v1/namespaces/n", "get namespaces n"),
            ("PUT", "/api/v1/namespaces/n/finalize", "update namespaces/finalize n"),
            ("GET", "/api/v1/namespaces/n/status", "get namespaces/status n"),
            ("POST", "/api/v1/namespaces/n/pods", "create pods n/"),
            ("POST", "/api/v1/namespaces/n/bindings", "create bindings n/"),
            ("POST", "/api/v1/namespaces/n/pods/p/binding", "create pods/binding n/p"),
            ("PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale", "patch deployments/scale n/d"),
            ("DELETE", "/api/v1/namespaces/n/pods", "deletecollection pods n/"),
            ("DELETE", "/api/v1/nodes/a%2Db", "delete nodes a-b"),
            ("GET", "/api/v1/namespaces/n/pods/p:80/proxy/a//b/?q=1", "get pods/proxy n/p:80 /a//b/"),
            ("DELETE", "/api/v1/namespaces/n/services/http:s:web/proxy", "delete services/proxy n/http:s:web "),
            ("POST", "/api/v1/nodes/x/proxy/run/n", "create nodes/proxy x /run/n"),
            ("POST", "/api/v1/namespaces/n/pods/p/exec", "create pods/exec n/p"),
            ("GET", "/api/v1/namespaces/n/configmaps/c/proxy/a", "no resource"),
            ("POST", "/api/v1/pods", "405"),
            ("PUT", "/api/v1/namespaces/n/pods", "405"),
            ("POST", "/api/v1/namespaces/n/pods/p", "405"),
            ("DELETE", "/api/v1/namespaces/n/pods/p/status", "405"),
            ("DELETE", "/api/v1/namespaces", "405"),
            ("DELETE", "/api/v1/pods", "405"),
            ("GET", "/api/v1/namespaces/n/pods/p/none", "no resource"),
            ("GET", "/api/v1/namespaces/n/nodes", "no resource"),
            ("GET", "/api/v1/pods/p", "no resource"),
            ("GET", "/api/v1/widgets", "no resource"),
            ("GET", "/api/v2/pods", "no resource"),
            ("GET", "/apis/apps/v7", "no resource"),
            ("GET", "/apis/none.example.test/v1/things", "no page"),
            ("GET", "/api/", "CoreVersions"),
            ("GET", "/apis/apps", r#"Group("apps")"#),
            ("GET", "/apis/apps/v1", r#"Resources { group: "apps", version: "v1" }"#),
            ("GET", "/openapi/v3/apis/apps/v1", r#"V3 { group_version: "apis/apps/v1" }"#),
            ("GET", "/readyz/store", r#"readyz Some("store")"#),
            ("GET", "/version", "version"),
            ("GET", "/.well-known/openid-configuration", "Configuration"),
            ("GET", "/openid/v1/jwks/", "Keys"),
            ("POST", "/openid/v1/jwks", "405"),
            ("HEAD", "/openid/v1/jwks", "405"),
            ("GET", "/openid/v1", "no page"),
            ("GET", "/metrics", "metrics"),
            ("GET", "/", "root"),
            ("GET", "/nope", "no page"),
            ("POST", "/version", "405"),
            ("HEAD", "/version", "405"),
            ("HEAD", "/api/v1", "405"),
            ("HEAD", "/api/v1/namespaces/n/pods/p", "405"),
            ("HEAD", "/healthz", "healthz None"),
            ("OPTIONS", "/api/v1/pods", "405"),
            ("GET", "/api/v1/namespaces/n/pods/p?watch=1", "get pods n/p"),
            ("GET", "/api/v1/watch/pods", "watch pods "),
            ("DELETE", "/api/v1/watch/namespaces/n/pods/p", "405"),
            ("GET", "/swagger.json", "no page"),
            ("GET", "/logs", "no page"),
        ] {
            assert_eq!(told(&resources, method, url), expected, "{method} {url}");
        }
    }
}
