//! What a request may say beside its body.

use super::operations::Action;

/// A parameter: each name means one thing everywhere.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// `string`, `boolean`, `integer`.
    pub(super) form: &'static str,
    pub(super) about: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
}

const fn query(name: &'static str, form: &'static str, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, form, about }
}

pub(super) static NAME: Parameter =
    Parameter { name: "name", place: Place::Path, form: "string", about: "name of the object" };
pub(super) static NAMESPACE: Parameter =
    Parameter { name: "namespace", place: Place::Path, form: "string", about: "namespace of the object" };
pub(super) static PATH: Parameter =
    Parameter { name: "path", place: Place::Path, form: "string", about: "path below the one that is passed on to" };
pub(super) static PRETTY: Parameter = query("pretty", "string", "Whether the answer is indented, for people to read.");

static ALLOW_WATCH_BOOKMARKS: Parameter =
    query("allowWatchBookmarks", "boolean", "Whether a watch may tell how far it is by events of type BOOKMARK.");
static CONTINUE: Parameter =
    query("continue", "string", "Where the list goes on: what the part before it said in its metadata.");
static DRY_RUN: Parameter =
    query("dryRun", "string", "All: the request goes through every stage, and nothing is stored.");
static FIELD_MANAGER: Parameter =
    query("fieldManager", "string", "Who makes these changes: the owner of the fields in metadata.managedFields.");
static FIELD_SELECTOR: Parameter = query("fieldSelector", "string", "Restricts the objects by their fields.");
static FIELD_VALIDATION: Parameter = query(
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields in the body. Ignore: they are dropped. Warn: they are dropped, and \
     the answer has a warning for each. Strict: the request is refused.",
);
static FORCE: Parameter =
    query("force", "boolean", "Whether an apply takes the fields that others own. Only for apply patches.");
static GRACE_PERIOD_SECONDS: Parameter = query(
    "gracePeriodSeconds",
    "integer",
    "Seconds before the object is deleted. Zero: at once. The kind has a default.",
);
static LABEL_SELECTOR: Parameter = query("labelSelector", "string", "Restricts the objects by their labels.");
static LIMIT: Parameter =
    query("limit", "integer", "How many objects to answer at most. The list goes on with the continue that it tells.");
static ORPHAN_DEPENDENTS: Parameter = query(
    "orphanDependents",
    "boolean",
    "Deprecated: please use the propagationPolicy. Whether the dependents are orphaned.",
);
static PROPAGATION_POLICY: Parameter = query(
    "propagationPolicy",
    "string",
    "What becomes of the dependents. Orphan: they stay. Background: they are deleted after the object. Foreground: \
     they are deleted before it.",
);
static RESOURCE_VERSION: Parameter =
    query("resourceVersion", "string", "The version that the answer is of, or not older than.");
static RESOURCE_VERSION_MATCH: Parameter =
    query("resourceVersionMatch", "string", "How resourceVersion is meant: NotOlderThan or Exact.");
static SEND_INITIAL_EVENTS: Parameter = query(
    "sendInitialEvents",
    "boolean",
    "Whether a watch begins with what there is, and a bookmark after it with the annotation \
     k8s.io/initial-events-end.",
);
static TIMEOUT_SECONDS: Parameter = query("timeoutSeconds", "integer", "How long a list or a watch may take.");
static WATCH: Parameter = query("watch", "boolean", "Whether to stream the changes instead of listing.");

static CONTAINER: Parameter = query("container", "string", "The container that is meant, if the pod has several.");

static WRITE: [&Parameter; 3] = [&DRY_RUN, &FIELD_MANAGER, &FIELD_VALIDATION];
static PATCH: [&Parameter; 4] = [&DRY_RUN, &FIELD_MANAGER, &FIELD_VALIDATION, &FORCE];
static DELETE: [&Parameter; 4] = [&DRY_RUN, &GRACE_PERIOD_SECONDS, &ORPHAN_DEPENDENTS, &PROPAGATION_POLICY];
static DELETE_COLLECTION: [&Parameter; 12] = [
    &CONTINUE,
    &DRY_RUN,
    &FIELD_SELECTOR,
    &GRACE_PERIOD_SECONDS,
    &LABEL_SELECTOR,
    &LIMIT,
    &ORPHAN_DEPENDENTS,
    &PROPAGATION_POLICY,
    &RESOURCE_VERSION,
    &RESOURCE_VERSION_MATCH,
    &SEND_INITIAL_EVENTS,
    &TIMEOUT_SECONDS,
];
static LIST: [&Parameter; 10] = [
    &ALLOW_WATCH_BOOKMARKS,
    &CONTINUE,
    &FIELD_SELECTOR,
    &LABEL_SELECTOR,
    &LIMIT,
    &RESOURCE_VERSION,
    &RESOURCE_VERSION_MATCH,
    &SEND_INITIAL_EVENTS,
    &TIMEOUT_SECONDS,
    &WATCH,
];

static LOG: [Parameter; 9] = [
    query("follow", "boolean", "Whether the log is followed as it is written."),
    query("insecureSkipTLSVerifyBackend", "boolean", "Whether the node's certificate is trusted unseen."),
    query("limitBytes", "integer", "How many bytes to answer at most."),
    query("previous", "boolean", "Whether the log of the container before the last restart is meant."),
    query("sinceSeconds", "integer", "How many seconds back the log begins."),
    query("stream", "string", "Which stream is meant: All, Stdout or Stderr."),
    query("tailLines", "integer", "How many lines from the end the log begins."),
    query("timestamps", "boolean", "Whether every line begins with its time."),
    query("sinceTime", "string", "The time at which the log begins."),
];
static EXEC: [Parameter; 5] = [
    query("command", "string", "The command and its arguments, each by itself."),
    query("stderr", "boolean", "Whether the error stream is wanted."),
    query("stdin", "boolean", "Whether there is an input stream."),
    query("stdout", "boolean", "Whether the output stream is wanted."),
    query("tty", "boolean", "Whether there is a terminal."),
];
static PORT_FORWARD: [Parameter; 1] = [query("ports", "integer", "The ports to forward.")];
static PROXY: [Parameter; 1] = [query("path", "string", "The path to pass on to.")];

/// What the query of an action may say.
pub(super) fn of(action: Action) -> &'static [&'static Parameter] {
    match action {
        Action::Post | Action::Put => &WRITE,
        Action::Patch => &PATCH,
        Action::Delete => &DELETE,
        Action::DeleteCollection => &DELETE_COLLECTION,
        Action::List | Action::Watch | Action::WatchList => &LIST,
        Action::Get | Action::Connect => &[],
    }
}

/// What the query of a subresource that is no object may say.
pub(super) fn of_stream(subresource: &str) -> Vec<&'static Parameter> {
    match subresource {
        "log" => std::iter::once(&CONTAINER).chain(&LOG).collect(),
        "exec" => std::iter::once(&CONTAINER).chain(&EXEC).collect(),
        "attach" => std::iter::once(&CONTAINER).chain(&EXEC[1..]).collect(),
        "portforward" => PORT_FORWARD.iter().collect(),
        "proxy" => PROXY.iter().collect(),
        _ => Vec::new(),
    }
}
