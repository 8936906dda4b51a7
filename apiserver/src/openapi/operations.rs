//! The paths of a kind and what can be done at them, whichever version of a document tells of it.
//!
//! Source: upstream's `registerResourceHandlers` and the documents that it publishes.

use coracle_api::kind::{Kind, Subresource, Verb, Verbs};

use super::names::{operation_id, tag, upper_first};
use super::parameters::{self, NAME, NAMESPACE, PATH, PRETTY, Parameter};

/// A path with what all that is done there has in common.
pub(super) struct Path {
    pub(super) url: String,
    pub(super) parameters: Vec<&'static Parameter>,
    pub(super) operations: Vec<Operation>,
}

/// One method at a path.
pub(super) struct Operation {
    /// In lower case.
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) about: String,
    pub(super) action: Option<Action>,
    /// Group, version and kind of what it is about.
    pub(super) kind: Option<(String, String, String)>,
    pub(super) parameters: Vec<&'static Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<(&'static str, Answer)>,
    pub(super) streams: bool,
    pub(super) is_custom: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Get,
    List,
    Watch,
    WatchList,
    Post,
    Put,
    Patch,
    Delete,
    DeleteCollection,
    Connect,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::WatchList => "watchlist",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Connect => "connect",
        }
    }
}

/// What a request carries.
pub(super) enum Body {
    /// An object of this type.
    Required(String),
    Optional(String),
    Patch,
}

/// What is answered.
#[derive(Clone)]
pub(super) enum Answer {
    /// An object of this type.
    Object(String),
    Text,
    /// A text of a media type of its own.
    TextOf(&'static str),
}

/// What types are called. `None`: the kind has no type of its own.
pub(super) trait Names {
    fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<String>;
    fn is_custom(&self) -> bool;
}

pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
pub(super) const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";

/// Kinds whose deletion answers the object. Source: `ReturnDeletedObject` in upstream's registries.
const ANSWERS_DELETED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "podtemplates",
            "resourcequotas",
            "serviceaccounts",
            "services",
        ],
    ),
    ("storage.k8s.io", &["csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"]),
    ("resource.k8s.io", &["deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"]),
];

/// Every path of a kind.
pub(super) fn of_kind(kind: &Kind, names: &dyn Names) -> Vec<Path> {
    let Some(name) = names.of_kind(&kind.group, &kind.version, &kind.kind) else { return Vec::new() };
    let maker = Maker { kind, names, name };
    let mut paths = vec![maker.collection()];
    if kind.verbs.contains(Verb::Get) {
        paths.push(maker.object());
    }
    if kind.namespaced() && kind.verbs.contains(Verb::List) {
        paths.push(maker.all_namespaces());
    }
    for subresource in &*kind.subresources {
        paths.extend(maker.subresource(subresource));
    }
    if kind.verbs.contains(Verb::Watch) {
        paths.extend(maker.watches());
    }
    paths.retain(|path| !path.operations.is_empty());
    paths
}

struct Maker<'a> {
    kind: &'a Kind,
    names: &'a dyn Names,
    /// The kind's type.
    name: String,
}

impl Maker<'_> {
    /// `/api/v1`
    fn root(&self) -> String {
        format!("/{}", super::names::group_version_path(&self.kind.group, &self.kind.version))
    }

    /// `/namespaces/{namespace}/pods`
    fn place(&self) -> String {
        let namespace = if self.kind.namespaced() { "/namespaces/{namespace}" } else { "" };
        format!("{namespace}/{}", self.kind.plural)
    }

    /// `NamespacedPod`
    fn scoped(&self) -> String {
        format!("{}{}", if self.kind.namespaced() { "Namespaced" } else { "" }, self.kind.kind)
    }

    fn path(&self, url: String, named: bool, operations: Vec<Operation>) -> Path {
        let mut parameters: Vec<&'static Parameter> = Vec::new();
        parameters.extend(named.then_some(&NAME));
        parameters.extend(url.contains("{namespace}").then_some(&NAMESPACE));
        parameters.push(&PRETTY);
        Path { url, parameters, operations }
    }

    fn collection(&self) -> Path {
        let (kind, list) = (&self.kind.kind, format!("{}List", self.name));
        let mut operations = Vec::new();
        if self.serves(Verb::List) {
            operations.push(Operation {
                answers: vec![("200", Answer::Object(list))],
                streams: true,
                ..self.operation(
                    "get",
                    "list",
                    &self.scoped(),
                    Action::List,
                    format!("list or watch objects of kind {kind}"),
                )
            });
        }
        if self.serves(Verb::Create) {
            let answer = Answer::Object(self.name.clone());
            operations.push(Operation {
                body: Some(Body::Required(self.name.clone())),
                answers: ["200", "201", "202"].map(|code| (code, answer.clone())).into(),
                ..self.operation(
                    "post",
                    "create",
                    &self.scoped(),
                    Action::Post,
                    format!("create {} {kind}", article(kind)),
                )
            });
        }
        if self.serves(Verb::DeleteCollection) {
            let rest = format!("Collection{}", self.scoped());
            operations.push(Operation {
                body: Some(Body::Optional(DELETE_OPTIONS.to_owned())),
                answers: vec![("200", Answer::Object(STATUS.to_owned()))],
                ..self.operation(
                    "delete",
                    "delete",
                    &rest,
                    Action::DeleteCollection,
                    format!("delete collection of {kind}"),
                )
            });
        }
        self.path(format!("{}{}", self.root(), self.place()), false, operations)
    }

    fn object(&self) -> Path {
        let url = format!("{}{}/{{name}}", self.root(), self.place());
        let mut operations = self.reads_and_writes(self.kind.verbs, &self.scoped(), "", &self.name, None);
        if self.serves(Verb::Delete) {
            let is_answered = ANSWERS_DELETED
                .iter()
                .any(|(group, plurals)| *group == self.kind.group && plurals.contains(&&*self.kind.plural));
            let answer = Answer::Object(if is_answered { self.name.clone() } else { STATUS.to_owned() });
            let about = format!("delete {} {}", article(&self.kind.kind), self.kind.kind);
            operations.push(Operation {
                body: Some(Body::Optional(DELETE_OPTIONS.to_owned())),
                answers: ["200", "202"].map(|code| (code, answer.clone())).into(),
                ..self.operation("delete", "delete", &self.scoped(), Action::Delete, about)
            });
        }
        self.path(url, true, operations)
    }

    fn all_namespaces(&self) -> Path {
        let kind = &self.kind.kind;
        let rest = format!("{kind}ForAllNamespaces");
        let list = Operation {
            parameters: Vec::new(),
            answers: vec![("200", Answer::Object(format!("{}List", self.name)))],
            streams: true,
            ..self.operation("get", "list", &rest, Action::List, format!("list or watch objects of kind {kind}"))
        };
        let mut path = self.path(format!("{}/{}", self.root(), self.kind.plural), false, vec![list]);
        path.parameters.extend(parameters::of(Action::List));
        path
    }

    /// The old form of watches: a path of their own.
    fn watches(&self) -> Vec<Path> {
        let (kind, scoped, plural) = (&self.kind.kind, self.scoped(), &self.kind.plural);
        let place = self.place();
        let mut all = vec![
            (format!("{place}/{{name}}"), scoped.clone(), Action::Watch, true),
            (place, format!("{scoped}List"), Action::WatchList, false),
        ];
        if self.kind.namespaced() {
            all.push((format!("/{plural}"), format!("{kind}ListForAllNamespaces"), Action::WatchList, false));
        }
        let path = |(place, rest, action, named): (String, String, Action, bool)| {
            let about = "watch changes. Deprecated: use the 'watch' parameter with a list operation instead".to_owned();
            let watch = Operation {
                parameters: Vec::new(),
                answers: vec![("200", Answer::Object(WATCH_EVENT.to_owned()))],
                streams: true,
                ..self.operation("get", "watch", &rest, action, about)
            };
            let mut path = self.path(format!("{}/watch{place}", self.root()), named, vec![watch]);
            path.parameters.extend(parameters::of(action));
            path
        };
        all.into_iter().map(path).collect()
    }

    fn subresource(&self, subresource: &Subresource) -> Vec<Path> {
        let url = format!("{}{}/{{name}}/{}", self.root(), self.place(), subresource.name);
        let rest = format!("{}{}", self.scoped(), upper_first(&subresource.name));
        let own = (self.kind.group.clone(), self.kind.version.clone());
        let (group, version) = subresource.group_version.as_ref().unwrap_or(&own);
        let kind = (group.to_string(), version.to_string(), subresource.kind.to_string());
        let name = match &*subresource.kind {
            same if same == self.kind.kind => Some(self.name.clone()),
            other => self.names.of_kind(group, version, other),
        };
        let Some(name) = name else { return self.connections(&url, &rest, &kind, subresource) };
        let of = format!("{} of ", subresource.name);
        let mut operations = self.reads_and_writes(subresource.verbs, &rest, &of, &name, Some(kind.clone()));
        if subresource.verbs.contains(Verb::Create) {
            let about = format!("create {} of {} {}", subresource.name, article(&self.kind.kind), self.kind.kind);
            let answer = Answer::Object(name.clone());
            operations.push(Operation {
                body: Some(Body::Required(name)),
                answers: ["200", "201", "202"].map(|code| (code, answer.clone())).into(),
                kind: Some(kind),
                ..self.operation("post", "create", &rest, Action::Post, about)
            });
        }
        if subresource.name == "log" {
            for operation in &mut operations {
                operation.parameters = parameters::of_stream("log");
                operation.answers = vec![("200", Answer::Text)];
            }
        }
        vec![self.path(url, true, operations)]
    }

    /// What is passed on to a node, in whatever protocol.
    fn connections(
        &self,
        url: &str,
        rest: &str,
        kind: &(String, String, String),
        subresource: &Subresource,
    ) -> Vec<Path> {
        let methods = |with_path: &str| {
            let methods = [
                (Verb::Delete, "delete"),
                (Verb::Get, "get"),
                (Verb::Patch, "patch"),
                (Verb::Create, "post"),
                (Verb::Update, "put"),
            ];
            let served = methods.into_iter().filter(|(verb, _)| subresource.verbs.contains(*verb));
            let operation = |(_, method): (_, &'static str)| Operation {
                answers: vec![("200", Answer::Text)],
                kind: Some(kind.clone()),
                ..self.operation(
                    method,
                    "connect",
                    &format!("{}{rest}{with_path}", upper_first(method)),
                    Action::Connect,
                    format!("connect {} requests to {} of {}", method.to_uppercase(), subresource.name, self.kind.kind),
                )
            };
            served.map(operation).collect::<Vec<_>>()
        };
        let mut path = self.path(url.to_owned(), true, methods(""));
        path.parameters.retain(|parameter| parameter.name != PRETTY.name);
        path.parameters.extend(parameters::of_stream(&subresource.name));
        if subresource.name != "proxy" {
            return vec![path];
        }
        let mut below = self.path(format!("{url}/{{path}}"), true, methods("WithPath"));
        below.parameters.retain(|parameter| parameter.name != PRETTY.name);
        below.parameters.push(&PATH);
        vec![path, below]
    }

    /// Reading, replacing and patching, of an object or of a part of it.
    fn reads_and_writes(
        &self,
        verbs: Verbs,
        rest: &str,
        of: &str,
        name: &str,
        kind: Option<(String, String, String)>,
    ) -> Vec<Operation> {
        let object = || Some(Body::Required(name.to_owned()));
        let all = [
            (Verb::Get, Action::Get, "read", "read", None, &["200"][..]),
            (Verb::Update, Action::Put, "replace", "replace", object(), &["200", "201"]),
            (Verb::Patch, Action::Patch, "patch", "partially update", Some(Body::Patch), &["200", "201"]),
        ];
        let served = all.into_iter().filter(|(verb, ..)| verbs.contains(*verb));
        let operation = |(_, action, verb, does, body, codes): (Verb, Action, &str, &str, _, &[&'static str])| {
            let about = format!("{does} {of}the specified {}", self.kind.kind);
            let operation = self.operation(action.as_str(), verb, rest, action, about);
            let answers = codes.iter().map(|code| (*code, Answer::Object(name.to_owned()))).collect();
            Operation { body, answers, kind: kind.clone().or(operation.kind), ..operation }
        };
        served.map(operation).collect()
    }

    fn serves(&self, verb: Verb) -> bool {
        self.kind.verbs.contains(verb)
    }

    fn operation(&self, method: &'static str, verb: &str, rest: &str, action: Action, about: String) -> Operation {
        let (group, version) = (&*self.kind.group, &*self.kind.version);
        Operation {
            method,
            id: operation_id(verb, group, version, rest),
            tag: tag(group, version),
            about,
            action: Some(action),
            kind: Some((group.to_owned(), version.to_owned(), self.kind.kind.to_string())),
            parameters: parameters::of(action).to_vec(),
            body: None,
            answers: Vec::new(),
            streams: false,
            is_custom: self.names.is_custom(),
        }
    }
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" }
}
