//! Where things are: Kubernetes' URL scheme for objects, lists and subresources.

use std::fmt::Write as _;

use coracle_api::Object;

/// `/api/v1/namespaces/{ns}/pods` or `/apis/apps/v1/deployments`: all of a kind, in a namespace or everywhere.
pub(crate) fn collection<K: Object>(namespace: Option<&str>) -> String {
    collection_of(K::GROUP, K::VERSION, namespace.filter(|_| K::NAMESPACED), K::URL_PATH_SEGMENT)
}

fn collection_of(group: &str, version: &str, namespace: Option<&str>, plural: &str) -> String {
    let mut path = match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    if let Some(namespace) = namespace {
        path.push_str("/namespaces/");
        push_escaped(&mut path, namespace);
    }
    path.push('/');
    path.push_str(plural);
    path
}

/// `path/name` or `path/name/subresource`.
pub(crate) fn object(mut path: String, name: &str, subresource: Option<&str>) -> String {
    path.push('/');
    push_escaped(&mut path, name);
    if let Some(subresource) = subresource {
        path.push('/');
        path.push_str(subresource);
    }
    path
}

/// Adds `?key=value&…` for the pairs that have a value.
pub(crate) fn query(mut path: String, pairs: &[(&str, Option<&str>)]) -> String {
    let mut separator = '?';
    for (key, value) in pairs {
        let Some(value) = value else { continue };
        path.push(separator);
        path.push_str(key);
        path.push('=');
        push_escaped(&mut path, value);
        separator = '&';
    }
    path
}

/// Percent-encodes all but what RFC 3986 calls unreserved.
fn push_escaped(path: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(byte as char),
            other => write!(path, "%{other:02X}").expect("a String takes everything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node, core::v1::Pod};

    use super::*;

    #[test]
    fn paths_follow_scope_and_group() {
        assert_eq!(collection::<Pod>(None), "/api/v1/pods");
        assert_eq!(collection::<Pod>(Some("default")), "/api/v1/namespaces/default/pods");
        assert_eq!(collection::<Node>(Some("default")), "/api/v1/nodes");
        assert_eq!(
            object(collection::<Deployment>(Some("a")), "web", Some("status")),
            "/apis/apps/v1/namespaces/a/deployments/web/status"
        );
    }

    #[test]
    fn nothing_that_a_caller_passes_leaves_its_place() {
        assert_eq!(object("/api/v1/nodes".into(), "../x?y#z", None), "/api/v1/nodes/..%2Fx%3Fy%23z");
        let pairs = [("labelSelector", Some("app=web,tier in (a,b)")), ("limit", None), ("watch", Some("true"))];
        assert_eq!(query("/x".into(), &pairs), "/x?labelSelector=app%3Dweb%2Ctier%20in%20%28a%2Cb%29&watch=true");
    }
}
