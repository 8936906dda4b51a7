//! The service account controller: every namespace has a service account `default`, from its first moment on. Pods are
//! refused in a namespace until it is there.
//!
//! Source: upstream's serviceaccounts controller.

use std::sync::Arc;

use coracle_client::{Action, Client, Delta, Error, Informer, Key, WorkQueue};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::reconciler::{self, Reconciler};

const NAME: &str = "default";

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    reconciler::run(Controller::new(&context), context.config.service_account_workers, shutdown).await;
}

struct Controller {
    client: Client,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
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
        self.accounts.on_change(move |delta| {
            if let Delta::Deleted(account) = delta
                && account.metadata.name.as_deref() == Some(NAME)
            {
                queue.add(Key::cluster(account.metadata.namespace.clone().unwrap_or_default()));
            }
        });
    }

    async fn synced(&self) {
        self.namespaces.synced().await;
        self.accounts.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let Some(namespace) = self.namespaces.get(&key) else { return Ok(Action::Done) };
        let account = self.accounts.get(&Key::new(key.name.clone(), NAME));
        if plan(&namespace, account.as_deref()) == Plan::Keep {
            return Ok(Action::Done);
        }
        let meta = ObjectMeta { name: Some(NAME.to_owned()), namespace: Some(key.name), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata: meta, ..ServiceAccount::default() };
        match self.client.all().create(&account).await {
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(Action::Done),
            other => other.map(|_| Action::Done),
        }
    }
}

impl Controller {
    fn new(context: &Context) -> Self {
        Self {
            client: context.client.clone(),
            namespaces: context.informers.get(),
            accounts: context.informers.get(),
            queue: WorkQueue::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Keep,
    Create,
}

fn plan(namespace: &Namespace, account: Option<&ServiceAccount>) -> Plan {
    match (namespace.metadata.deletion_timestamp.is_some(), account) {
        (false, None) => Plan::Create,
        _ => Plan::Keep,
    }
}
