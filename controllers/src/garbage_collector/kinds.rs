//! The kinds whose objects are watched: all that the client knows, but events, which own nothing and pass by themselves.

use std::sync::{Arc, Weak};

use coracle_api::Object;
use coracle_client::{Delta, Informers};
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, Pod, ReplicationController, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::graph::Meta;

/// Who is told of objects of any kind.
pub trait Watcher: Send + Sync + 'static {
    fn seen(&self, object: Arc<dyn Meta>);
    fn gone(&self, uid: &str);
}

/// Tells `watcher` of all objects; what is returned waits until it has been told of all that there are.
pub fn watch<W: Watcher>(informers: &Informers, watcher: &Arc<W>) -> Vec<BoxFuture<'static, ()>> {
    macro_rules! kinds {
        ($($kind:ty),* $(,)?) => { vec![$(watch_kind::<$kind, W>(informers, Arc::downgrade(watcher))),*] };
    }
    kinds![
        ConfigMap,
        Deployment,
        EndpointSlice,
        Endpoints,
        Lease,
        Namespace,
        Node,
        Pod,
        ReplicaSet,
        ReplicationController,
        Secret,
        Service,
        ServiceAccount,
    ]
}

fn watch_kind<K: Object, W: Watcher>(informers: &Informers, watcher: Weak<W>) -> BoxFuture<'static, ()> {
    let informer = informers.get::<K>();
    informer.on_change(move |delta| {
        let Some(watcher) = watcher.upgrade() else { return };
        match delta {
            Delta::Added(object) | Delta::Updated { new: object, .. } => watcher.seen(object.clone()),
            Delta::Deleted(object) => watcher.gone(object.metadata().uid.as_deref().unwrap_or_default()),
        }
    });
    Box::pin(async move { informer.synced().await })
}
