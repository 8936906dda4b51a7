//! A file of the folder, read as the pod that it stands for. Pure. Source: kubelet, `tryDecodeSinglePod` and
//! `applyDefaults`.

use std::fmt::Write as _;
use std::path::Path;

use coracle_api::codec::{self, FieldValidation, Format};
use coracle_api::{AnyObject, Object, defaults, validation};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{HASH, SEEN, SOURCE, references};

/// The namespace of a pod whose file names none.
const NAMESPACE: &str = "default";
/// Letters of a static pod's uid; as many as upstream's have.
const UID_LETTERS: usize = 32;

/// The pod that `bytes`, YAML or JSON, stand for on the node with this name. Its uid is made of what the file says, of the
/// file's name and the node's, so that other words make another pod.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse(bytes: &[u8], file: &Path, node: &str, now: Timestamp) -> Result<Pod, String> {
    // JSON is YAML, but not when it is as large as a pod may be: it is read as what it is.
    let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let format = if is_json { Format::Json } else { Format::Yaml };
    says_pod(&codec::decode_value(bytes, format).map_err(|error| error.to_string())?.object)?;
    let decoded = codec::decode_as::<Pod>(bytes, format, FieldValidation::Ignore);
    let mut pod = decoded.map_err(|error| error.to_string())?.object;
    let name = pod.metadata.name.clone().filter(|name| !name.is_empty()).ok_or("metadata.name: Required value")?;
    pod = with_defaults(pod);
    let uid = uid(&pod, file, node);
    place(&mut pod, format!("{name}-{}", node.to_lowercase()), node, uid, now);
    let errors = validation::create(&AnyObject::new(pod.clone()));
    if !errors.is_empty() {
        return Err(errors.to_string());
    }
    match pod.spec.as_ref().and_then(references::first) {
        Some(what) => Err(format!("static pods may not reference {what}")),
        None => Ok(pod),
    }
}

fn says_pod(object: &Value) -> Result<(), String> {
    match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (Some("v1"), Some("Pod")) => Ok(()),
        (_, Some("PodList" | "List")) => Err("a file holds one pod, not a list of them".into()),
        (_, None) => Err("no pod: kind: Required value".into()),
        (version, Some(kind)) => Err(format!(
            "no pod: it is of the kind {kind:?} of {:?}, not \"Pod\" of \"v1\"",
            version.unwrap_or_default()
        )),
    }
}

fn with_defaults(pod: Pod) -> Pod {
    let mut object = AnyObject::new(pod);
    defaults::apply(&mut object);
    object.downcast().expect("an object keeps its type")
}

fn uid(pod: &Pod, file: &Path, node: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(pod.encode());
    hasher.update(format!("host:{node}file:{}", file.display()));
    let mut uid = hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    uid.truncate(UID_LETTERS);
    uid
}

/// Makes it a pod of this node: what only a server gives is not taken from a file.
fn place(pod: &mut Pod, name: String, node: &str, uid: String, now: Timestamp) {
    let own = std::mem::take(&mut pod.metadata);
    let mut annotations = own.annotations.unwrap_or_default();
    annotations.insert(HASH.to_owned(), uid.clone());
    annotations.insert(SOURCE.to_owned(), "file".to_owned());
    annotations.insert(SEEN.to_owned(), now.to_string());
    pod.metadata = ObjectMeta {
        name: Some(name),
        namespace: Some(own.namespace.filter(|it| !it.is_empty()).unwrap_or_else(|| NAMESPACE.to_owned())),
        uid: Some(uid),
        generation: Some(1),
        labels: own.labels,
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(node.to_owned());
    tolerate_everything(spec);
    pod.status = Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() });
}

/// So that nobody takes its mirror away when the node is in trouble.
fn tolerate_everything(spec: &mut PodSpec) {
    let toleration = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&toleration) {
        tolerations.push(toleration);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}, uid: mine}\nspec:\n  containers: \
                       [{name: main, image: hello}]\n";

    fn read(text: &str) -> Result<Pod, String> {
        parse(text.as_bytes(), Path::new("/pods/web.yaml"), "node.one", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_file_makes_a_pod_of_this_node() {
        let pod = read(POD).unwrap();
        let meta = &pod.metadata;
        let uid = meta.uid.clone().unwrap();
        assert_eq!((meta.name.as_deref(), meta.namespace.as_deref()), (Some("web-node.one"), Some("default")));
        assert_eq!((uid.len(), meta.generation), (32, Some(1)));
        let annotations = meta.annotations.clone().unwrap();
        assert_eq!(annotations[HASH], uid);
        assert_eq!(annotations[SOURCE], "file");
        assert_eq!(annotations[SEEN], "1970-01-01T00:00:00Z");
        let spec = pod.spec.unwrap();
        assert_eq!(spec.node_name.as_deref(), Some("node.one"));
        assert_eq!(spec.restart_policy.as_deref(), Some("Always"), "it has its defaults");
        assert_eq!(spec.tolerations.unwrap()[0].effect.as_deref(), Some("NoExecute"));
        assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
    }

    #[test]
    fn the_same_words_are_the_same_pod_whenever_they_are_read() {
        let uid = |text: &str, file: &str, node: &str, at| {
            parse(text.as_bytes(), Path::new(file), node, at).unwrap().metadata.uid.unwrap()
        };
        let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let first = uid(POD, "/a", "n", now);
        assert_eq!(first, uid(POD, "/a", "n", later));
        let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"app":"web"},"uid":"mine"},
            "spec":{"containers":[{"name":"main","image":"hello"}]}}"#;
        assert_eq!(first, uid(json, "/a", "n", now), "JSON and YAML say the same");
        for other in
            [uid(POD, "/b", "n", now), uid(POD, "/a", "m", now), uid(&POD.replace("hello", "x"), "/a", "n", now)]
        {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table = [
            ("", "no pod: kind: Required value"),
            ("a: [", "yaml"),
            ("{", "unexpected"),
            ("apiVersion: v1\nkind: PodList\nitems: []", "one pod, not a list"),
            ("apiVersion: apps/v1\nkind: Deployment", r#"no pod: it is of the kind "Deployment" of "apps/v1""#),
            ("apiVersion: v1\nkind: Pod\nspec: {}", "metadata.name: Required value"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}", "spec.containers: Required value"),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: A_b}\nspec: {containers: [{name: a, image: x}]}",
                "metadata.name",
            ),
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: 7}", "containers"),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {serviceAccountName: b, containers: [{name: a, image: x}]}",
                "static pods may not reference serviceaccounts",
            ),
        ];
        for (text, want) in table {
            let why = read(text).unwrap_err();
            assert!(why.contains(want), "{text:?}: {why}");
        }
    }
}
