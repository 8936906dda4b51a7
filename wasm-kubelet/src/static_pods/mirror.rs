//! The mirrors of static pods: pods in the API that show what this node runs by itself, so that people see it and the
//! scheduler counts it. Whatever somebody does to a mirror, the pod goes on; it is mirrored anew.
//! Source: kubelet, `tryReconcileMirrorPods`, `basicMirrorClient` and `HandlePodCleanups`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::Object as _;
use coracle_client::{DeleteOptions, Error, Key, Patch};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Preconditions};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{HASH, MIRROR, annotation, is_mirror};
use crate::limits::{MIRROR_ABSENCE, STATIC_POD_LAST_WORDS, STATUS_REPEAT};
use crate::pod::Host;
use crate::pod::overwritten::version;
use crate::pod::report::KINDS;

/// Keeps the mirrors as the static pods are.
pub struct Mirrors {
    host: Arc<Host>,
    written: HashMap<Key, Written>,
    /// When those come back that are gone.
    returns: HashMap<Key, Instant>,
}

/// The status that a mirror was given last.
struct Written {
    uid: String,
    status: Option<PodStatus>,
    version: Option<u64>,
    /// When somebody else's was last written over.
    repeated: Option<Instant>,
}

/// What is to be done about a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    Create,
    Delete {
        uid: String,
    },
    /// It is the right one: its status is looked at.
    Compare {
        uid: String,
    },
    /// Another pod has the name.
    Yield,
}

/// `own` is the static pod of a name, `there` what the API has of that name.
fn plan(own: Option<&Pod>, there: Option<&Pod>) -> Act {
    let is_ending = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    match (own, there) {
        (None, None) => Act::Nothing,
        (Some(own), None) => {
            if is_ending(own) {
                Act::Nothing
            } else {
                Act::Create
            }
        }
        (None, Some(there)) if !is_mirror(there) => Act::Nothing,
        (Some(_), Some(there)) if !is_mirror(there) => Act::Yield,
        (own, Some(there)) => {
            let uid = there.metadata.uid.clone().unwrap_or_default();
            let is_right = own.is_some_and(|own| {
                let is_of = annotation(own, HASH) == annotation(there, MIRROR);
                // A phase that is final is never left: a pod that runs again is shown by another mirror.
                is_of && !is_ending(there) && (is_final(own) || !is_final(there))
            });
            if is_right { Act::Compare { uid } } else { Act::Delete { uid } }
        }
    }
}

fn is_final(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The mirror of a pod, as it is created: what a server gives is left to it, and the node owns it.
fn mirror(own: &Pod, node: &Node) -> Pod {
    let mut annotations = own.metadata.annotations.clone().unwrap_or_default();
    annotations.insert(MIRROR.to_owned(), annotation(own, HASH).unwrap_or_default().to_owned());
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: own.metadata.name.clone(),
            namespace: own.metadata.namespace.clone(),
            labels: own.metadata.labels.clone(),
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: own.spec.clone(),
        status: None,
    }
}

/// Whether a mirror says what its pod does, as far as the kubelet has a say.
fn agrees(own: &PodStatus, there: &PodStatus) -> bool {
    let conditions = |status: &PodStatus| -> Vec<PodCondition> {
        KINDS.into_iter().filter_map(|kind| condition(status, kind).cloned()).collect()
    };
    let of = |status: &PodStatus| PodStatus {
        phase: status.phase.clone(),
        reason: status.reason.clone(),
        message: status.message.clone(),
        start_time: status.start_time.clone(),
        host_ip: status.host_ip.clone(),
        pod_ip: status.pod_ip.clone(),
        container_statuses: status.container_statuses.clone(),
        init_container_statuses: status.init_container_statuses.clone(),
        conditions: Some(conditions(status)),
        ..PodStatus::default()
    };
    of(own) == of(there)
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// The strategic merge patch that gives the mirror with this uid the status of its pod: others' conditions stay.
fn patch(own: &Pod, there: &Pod, uid: &str) -> Value {
    /// What a status that says nothing of it says no more.
    const FIELDS: [&str; 6] = ["reason", "message", "podIP", "podIPs", "initContainerStatuses", "containerStatuses"];
    let mut status = json_of(own)["status"].take();
    for field in FIELDS {
        if status[field].is_null() {
            status[field] = Value::Null;
        }
    }
    let empty = PodStatus::default();
    let (own, there) = (own.status.as_ref().unwrap_or(&empty), there.status.as_ref().unwrap_or(&empty));
    let addresses = |status: &PodStatus| -> Vec<String> {
        status.pod_ips.iter().flatten().map(|address| address.ip.clone()).collect()
    };
    let own_addresses = addresses(own);
    let former = addresses(there).into_iter().filter(|address| !own_addresses.contains(address));
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    for said in &mut conditions {
        for field in ["reason", "message"] {
            if said[field].is_null() {
                said[field] = Value::Null;
            }
        }
    }
    let lifted = KINDS.into_iter().filter(|kind| condition(own, kind).is_none() && condition(there, kind).is_some());
    conditions.extend(lifted.map(|kind| json!({"$patch": "delete", "type": kind})));
    status["conditions"] = conditions.into();
    if let Some(all) = status["podIPs"].as_array_mut() {
        all.extend(former.map(|address| json!({"$patch": "delete", "ip": address})));
    }
    json!({"metadata": {"uid": uid}, "status": status})
}

fn json_of(pod: &Pod) -> Value {
    serde_json::from_slice(&pod.encode()).expect("an object is JSON")
}

impl Mirrors {
    /// The mirrors of a node's static pods; nothing is known of them yet.
    pub fn new(host: Arc<Host>) -> Self {
        Self { host, written: HashMap::new(), returns: HashMap::new() }
    }

    /// Goes on until `shutdown`, and then tells what became of the pods last.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let queue = self.host.pods.fixed().touched().clone();
        if shutdown.run_until_cancelled(self.host.pods.synced()).await.is_none() {
            return;
        }
        let (touched, host) = (queue.clone(), self.host.clone());
        self.host.pods.api().on_change(move |delta| {
            let key = delta.key();
            let is_of_a_mirror = is_mirror(delta.object()) && host.pods.is_ours(delta.object());
            if is_of_a_mirror || host.pods.fixed().get(&key).is_some() {
                touched.add(key);
            }
        });
        while let Some(Some(key)) = shutdown.run_until_cancelled(queue.get()).await {
            let done = shutdown.run_until_cancelled(self.reconcile(&key)).await;
            queue.done(&key);
            match done {
                None => break,
                Some(Ok(())) => queue.forget(&key),
                Some(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(pod = %key, error, "cannot show a static pod in the API");
                    queue.add_rate_limited(key);
                }
            }
        }
        let all: Vec<Key> = self.host.pods.fixed().list().iter().map(|pod| Key::of(&**pod)).collect();
        let last = async {
            for key in all {
                let _ = self.reconcile(&key).await;
            }
        };
        if timeout(STATIC_POD_LAST_WORDS, last).await.is_err() {
            tracing::warn!("the API does not hear what became of the static pods");
        }
    }

    async fn reconcile(&mut self, key: &Key) -> Result<(), Error> {
        let (own, there) = (self.host.pods.fixed().get(key), self.host.pods.api().get(key));
        // Another node may have a pod of the name.
        let is_elsewhere = there.as_ref().is_some_and(|there| !self.host.pods.is_ours(there));
        match plan(own.as_deref(), there.as_deref()) {
            Act::Nothing => {
                self.written.remove(key);
                self.returns.remove(key);
                Ok(())
            }
            _ if is_elsewhere && own.is_none() => Ok(()),
            Act::Create => match self.absence(key) {
                Some(pause) => {
                    self.host.pods.fixed().touched().add_after(key.clone(), pause);
                    Ok(())
                }
                None => self.create(&own.expect("a pod is mirrored that there is")).await,
            },
            Act::Delete { uid } => self.delete(key, &uid).await,
            Act::Yield => {
                tracing::warn!(pod = %key, "another pod of the API has the name of a static pod: it is not shown");
                Ok(())
            }
            Act::Compare { uid } => match (own, there) {
                (Some(own), Some(there)) => self.compare(key, &own, &there, uid).await,
                _ => Ok(()),
            },
        }
    }

    /// How long a mirror that was there stays away: who waits for its end, as `kubectl delete` does, sees that it was gone.
    fn absence(&mut self, key: &Key) -> Option<Duration> {
        let now = Instant::now();
        if self.written.remove(key).is_some() {
            self.returns.insert(key.clone(), now + MIRROR_ABSENCE);
        }
        let left = self.returns.get(key)?.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            self.returns.remove(key);
        }
        left
    }

    async fn create(&self, own: &Pod) -> Result<(), Error> {
        let node = self.host.client.all::<Node>().find(&self.host.config.node_name).await?;
        // One that is to go is mirrored no more; its next registration is waited for.
        let Some(node) = node.filter(|node| node.metadata.deletion_timestamp.is_none()) else {
            self.host.pods.fixed().touched().add_after(Key::of(own), STATUS_REPEAT);
            return Ok(());
        };
        let namespace = own.metadata.namespace.clone().unwrap_or_default();
        match self.host.client.namespaced::<Pod>(&namespace).create(&mirror(own, &node)).await {
            // The watch tells of it soon.
            Err(error) if error.is_already_exists() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn delete(&self, key: &Key, uid: &str) -> Result<(), Error> {
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteOptions::default()
        };
        match self.host.client.namespaced::<Pod>(&key.namespace).delete(&key.name, &options).await {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other,
        }
    }

    /// Has a mirror say what its pod does.
    async fn compare(&mut self, key: &Key, own: &Pod, there: &Pod, uid: String) -> Result<(), Error> {
        let (now, before) = (Instant::now(), self.written.get(key).filter(|written| written.uid == uid));
        let repeated = match word(before, own, there, now) {
            Word::Same => return Ok(()),
            Word::Later(pause) => {
                self.host.pods.fixed().touched().add_after(key.clone(), pause);
                return Ok(());
            }
            Word::New => before.and_then(|before| before.repeated),
            Word::Again => Some(now),
        };
        let patch = Patch::Strategic(patch(own, there, &uid));
        match self.host.client.namespaced::<Pod>(&key.namespace).patch_status(&key.name, &patch).await {
            // The mirror is another by now, or none.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error),
            Ok(after) => {
                let written = Written { uid, status: own.status.clone(), version: version(&after), repeated };
                self.written.insert(key.clone(), written);
                Ok(())
            }
        }
    }
}

/// What is to be written of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Same,
    New,
    /// Somebody has written over it.
    Again,
    /// The same, but that was so a moment ago already.
    Later(Duration),
}

fn word(before: Option<&Written>, own: &Pod, there: &Pod, now: Instant) -> Word {
    let empty = PodStatus::default();
    let is_told = agrees(own.status.as_ref().unwrap_or(&empty), there.status.as_ref().unwrap_or(&empty));
    match before.filter(|before| before.status == own.status) {
        _ if is_told => Word::Same,
        None => Word::New,
        // What was seen is from before the write, or what the server makes of it.
        Some(before) if version(&there.metadata) <= before.version => Word::Same,
        Some(before) => {
            let due = before.repeated.map_or(now, |repeated| repeated + STATUS_REPEAT);
            if due <= now { Word::Again } else { Word::Later(due - now) }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(json: &str) -> Pod {
        Pod::decode(json.as_bytes()).unwrap()
    }

    fn own(hash: &str, phase: &str) -> Pod {
        pod(&format!(
            r#"{{"metadata":{{"name":"a","namespace":"n","uid":"{hash}","generation":1,"labels":{{"app":"a"}},
            "annotations":{{"kubernetes.io/config.hash":"{hash}","mine":"x"}}}},
            "spec":{{"nodeName":"node","containers":[]}},"status":{{"phase":"{phase}"}}}}"#
        ))
    }

    fn there(hash: &str, phase: &str, more: &str) -> Pod {
        pod(&format!(
            r#"{{"metadata":{{"name":"a","namespace":"n","uid":"m","annotations":{{"kubernetes.io/config.mirror":"{hash}"}}{more}}},
            "status":{{"phase":"{phase}"}}}}"#
        ))
    }

    #[test]
    fn a_mirror_shows_the_pod_that_there_is_or_goes() {
        let ending = r#","deletionTimestamp":"2026-01-01T00:00:00Z""#;
        let (delete, compare) = (Act::Delete { uid: "m".into() }, Act::Compare { uid: "m".into() });
        let mut ended = own("1", "Running");
        ended.metadata.deletion_timestamp = there("1", "", ending).metadata.deletion_timestamp;
        let stranger = pod(r#"{"metadata":{"name":"a","namespace":"n","uid":"m"}}"#);
        let table = [
            (None, None, Act::Nothing),
            (None, Some(there("1", "Running", "")), delete.clone()),
            (None, Some(stranger.clone()), Act::Nothing),
            (Some(own("1", "Pending")), None, Act::Create),
            (Some(ended.clone()), None, Act::Nothing),
            (Some(ended), Some(there("1", "Running", "")), compare.clone()),
            (Some(own("1", "Running")), Some(stranger), Act::Yield),
            (Some(own("1", "Running")), Some(there("1", "Pending", "")), compare.clone()),
            (Some(own("2", "Running")), Some(there("1", "Running", "")), delete.clone()),
            (Some(own("1", "Running")), Some(there("1", "Running", ending)), delete.clone()),
            (Some(own("1", "Running")), Some(there("1", "Failed", "")), delete),
            (Some(own("1", "Failed")), Some(there("1", "Failed", "")), compare),
        ];
        for (at, (own, there, want)) in table.into_iter().enumerate() {
            assert_eq!(plan(own.as_ref(), there.as_ref()), want, "{at}");
        }
    }

    #[test]
    fn a_mirror_is_the_nodes_and_leaves_the_rest_to_the_server() {
        let node = Node::decode(br#"{"metadata":{"name":"node","uid":"node-uid"}}"#).unwrap();
        let mirror = mirror(&own("1", "Running"), &node);
        let meta = mirror.metadata;
        assert_eq!((meta.uid, meta.generation, mirror.status), (None, None, None));
        let annotations = meta.annotations.unwrap();
        assert_eq!((&*annotations[MIRROR], &*annotations[HASH], &*annotations["mine"]), ("1", "1", "x"));
        let owner = &meta.owner_references.unwrap()[0];
        assert_eq!((&*owner.kind, &*owner.uid, owner.controller), ("Node", "node-uid", Some(true)));
        assert_eq!(owner.block_owner_deletion, None, "a node may not say so");
    }

    #[test]
    fn a_status_is_given_as_it_is_and_others_conditions_stay() {
        let own = pod(r#"{"metadata":{"generation":1},"status":{"phase":"Running","podIPs":[{"ip":"2"}],
            "conditions":[{"type":"Ready","status":"True"}]}}"#);
        let there = pod(r#"{"status":{"phase":"Pending","reason":"x","podIPs":[{"ip":"1"}],"conditions":[
            {"type":"Ready","status":"False","reason":"y"},{"type":"AllContainersRestarting","status":"True"},
            {"type":"others","status":"True"}]}}"#);
        assert!(!agrees(own.status.as_ref().unwrap(), there.status.as_ref().unwrap()));
        let patch = patch(&own, &there, "m");
        assert_eq!(patch["metadata"], json!({"uid": "m"}));
        let status = &patch["status"];
        assert_eq!(status["podIPs"], json!([{"ip": "2"}, {"$patch": "delete", "ip": "1"}]));
        assert!(status.get("reason").is_some_and(Value::is_null) && status["phase"] == "Running");
        let conditions = status["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 2);
        assert_eq!(conditions[0]["type"], "Ready");
        assert!(conditions[0].get("reason").is_some_and(Value::is_null));
        assert_eq!(conditions[1], json!({"$patch": "delete", "type": "AllContainersRestarting"}));
    }

    #[test]
    fn a_status_is_written_once_and_over_others_at_a_pace() {
        let own = pod(r#"{"status":{"phase":"Running"}}"#);
        let there = |version: &str, phase: &str| {
            pod(&format!(r#"{{"metadata":{{"resourceVersion":"{version}"}},"status":{{"phase":"{phase}"}}}}"#))
        };
        let now = Instant::now();
        let written = |phase: &str, repeated| Written {
            uid: "m".into(),
            status: there("", phase).status,
            version: Some(5),
            repeated,
        };
        let table = [
            (None, there("4", "Pending"), Word::New),
            (None, there("4", "Running"), Word::Same),
            (Some(written("Pending", None)), there("5", "Pending"), Word::New),
            (Some(written("Running", None)), there("4", "Pending"), Word::Same),
            (Some(written("Running", None)), there("6", "Running"), Word::Same),
            (Some(written("Running", None)), there("6", "Pending"), Word::Again),
            (Some(written("Running", Some(now))), there("6", "Pending"), Word::Later(STATUS_REPEAT)),
        ];
        for (at, (before, there, want)) in table.into_iter().enumerate() {
            assert_eq!(word(before.as_ref(), &own, &there, now), want, "{at}");
        }
    }

    #[test]
    fn a_mirror_that_others_write_to_may_still_agree() {
        let status = |json: &str| pod(&format!(r#"{{"status":{json}}}"#)).status.unwrap();
        let own = status(r#"{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}"#);
        let more = r#"{"phase":"Running","qosClass":"BestEffort","conditions":[{"type":"others","status":"True"},
            {"type":"Ready","status":"True"}]}"#;
        assert!(agrees(&own, &status(more)));
        assert!(!agrees(&own, &status(&more.replace(r#""Ready","status":"True""#, r#""Ready","status":"False""#))));
    }
}
