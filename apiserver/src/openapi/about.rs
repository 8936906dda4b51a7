//! The paths of discovery itself and of what else the server says of itself, which documents tell of beside those of kinds.

use super::names::{operation_id, tag};
use super::operations::{Answer, Operation, Path};
use crate::openid::KEY_SET;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const VERSION: &str = "io.k8s.apimachinery.pkg.version.Info";

/// `/api/`
pub(super) fn core() -> Path {
    get("/api/", "getCoreAPIVersions", "core", "get available API versions", format!("{META}APIVersions"))
}

/// `/apis/`
pub(super) fn groups() -> Path {
    get("/apis/", "getAPIVersions", "apis", "get available API versions", format!("{META}APIGroupList"))
}

/// `/apis/GROUP/`
pub(super) fn group(name: &str) -> Path {
    let id = operation_id("get", name, "", "APIGroup");
    let tag = tag(name, "");
    get(
        &format!("/apis/{name}/"),
        &id,
        tag.trim_end_matches('_'),
        "get information of a group",
        format!("{META}APIGroup"),
    )
}

/// `/apis/GROUP/VERSION/`
pub(super) fn group_version(path: &str, group: &str, version: &str) -> Path {
    let id = operation_id("get", group, version, "APIResources");
    get(&format!("/{path}/"), &id, &tag(group, version), "get available resources", format!("{META}APIResourceList"))
}

/// `/version/`
pub(super) fn version() -> Path {
    get("/version/", "getCodeVersion", "version", "get the version information for this server", VERSION.to_owned())
}

/// `/.well-known/openid-configuration/`
pub(super) fn issuer() -> Path {
    let about = "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'";
    let id = "getServiceAccountIssuerOpenIDConfiguration";
    answering("/.well-known/openid-configuration/", id, "WellKnown", about, Answer::TextOf("application/json"))
}

/// `/openid/v1/jwks/`
pub(super) fn issuer_keys() -> Path {
    let about = "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)";
    let id = "getServiceAccountIssuerOpenIDKeyset";
    answering("/openid/v1/jwks/", id, "openid", about, Answer::TextOf(KEY_SET))
}

fn get(url: &str, id: &str, tag: &str, about: &str, answer: String) -> Path {
    answering(url, id, tag, about, Answer::Object(answer))
}

fn answering(url: &str, id: &str, tag: &str, about: &str, answer: Answer) -> Path {
    let operation = Operation {
        method: "get",
        id: id.to_owned(),
        tag: tag.to_owned(),
        about: about.to_owned(),
        action: None,
        kind: None,
        parameters: Vec::new(),
        body: None,
        answers: vec![("200", answer)],
        streams: false,
        is_custom: false,
    };
    Path { url: url.to_owned(), parameters: Vec::new(), operations: vec![operation] }
}
