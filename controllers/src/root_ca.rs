//! The root CA publisher: every namespace has a config map by which its pods know the API server.
//!
//! Source: upstream's root-ca-certificate-publisher.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_client::{Action, Client, Delta, Error, Informer, Key, Selection, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::reconciler::{self, Reconciler};

const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIPTION_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
    distributions of Kubernetes clusters.";

/// Runs the controller until `shutdown`; without a CA to publish it only waits for that.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let Some(root_ca) = context.config.root_ca.clone() else { return shutdown.cancelled().await };
    reconciler::run(Controller::new(&context, root_ca), context.config.service_account_workers, shutdown).await;
}

struct Controller {
    client: Client,
    root_ca: String,
    namespaces: Informer<Namespace>,
    /// Of this one name: nobody's other config maps are held.
    maps: Informer<ConfigMap>,
    /// Of namespaces.
    queue: WorkQueue<Key>,
}

impl Reconciler for Controller {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let queue = self.queue.clone();
        self.namespaces.on_change(move |delta| {
            if !matches!(delta, Delta::Deleted(_)) {
                queue.add(delta.key());
            }
        });
        let queue = self.queue.clone();
        self.maps.on_change(move |delta| queue.add(Key::cluster(delta.key().namespace)));
    }

    async fn synced(&self) {
        self.namespaces.synced().await;
        self.maps.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let Some(namespace) = self.namespaces.get(&key) else { return Ok(Action::Done) };
        let map = self.maps.get(&Key::new(key.name.clone(), NAME));
        let written = match plan(&namespace, map.as_deref(), &self.root_ca) {
            Plan::Keep => return Ok(Action::Done),
            Plan::Create(map) => self.client.all().create(&map).await,
            Plan::Update(map) => self.client.all().update(&map).await,
        };
        match written {
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(Action::Done),
            other => other.map(|_| Action::Done),
        }
    }
}

impl Controller {
    fn new(context: &Context, root_ca: String) -> Self {
        let published = Selection { field_selector: Some(format!("metadata.name={NAME}")), ..Selection::default() };
        Self {
            client: context.client.clone(),
            root_ca,
            namespaces: context.informers.get(),
            maps: context.informers.selected(published),
            queue: WorkQueue::new(),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Plan {
    Keep,
    Create(ConfigMap),
    Update(ConfigMap),
}

fn plan(namespace: &Namespace, map: Option<&ConfigMap>, root_ca: &str) -> Plan {
    let data = BTreeMap::from([(FILE.to_owned(), root_ca.to_owned())]);
    let description = (DESCRIPTION.to_owned(), DESCRIPTION_TEXT.to_owned());
    let Some(map) = map else {
        if namespace.metadata.deletion_timestamp.is_some() {
            return Plan::Keep;
        }
        let metadata = ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: namespace.metadata.name.clone(),
            annotations: Some(BTreeMap::from([description])),
            ..ObjectMeta::default()
        };
        return Plan::Create(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() });
    };
    if map.data.as_ref() == Some(&data) {
        return Plan::Keep;
    }
    let mut map = map.clone();
    map.data = Some(data);
    map.metadata.annotations.get_or_insert_default().extend([description]);
    Plan::Update(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_once_and_repairs() {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some("default".into()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let Plan::Create(mut map) = plan(&namespace, None, "PEM") else { panic!("nothing published") };
        assert_eq!(map.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(plan(&namespace, Some(&map), "PEM"), Plan::Keep);
        map.data = None;
        assert!(matches!(plan(&namespace, Some(&map), "PEM"), Plan::Update(_)));
    }
}
