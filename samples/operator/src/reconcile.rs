//! From what a `Site` says to what there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, PodSpec, PodTemplateSpec, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use crate::site::{Site, SiteStatus};

/// Who writes, as the fields' manager.
const MANAGER: &str = "site-operator";

/// After an error.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the API server does not do what a site needs")]
    Kube(#[from] kube::Error),
}

/// Brings every site and what belongs to it together, until `stop` resolves.
pub async fn run(client: Client, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let everything = watcher::Config::default;
    Controller::new(Api::<Site>::all(client.clone()), everything())
        .owns(Api::<Deployment>::all(client.clone()), everything())
        .owns(Api::<ConfigMap>::all(client.clone()), everything())
        .graceful_shutdown_on(stop)
        .run(reconcile, |_, _, _| Action::requeue(RETRY), Arc::new(client))
        .for_each(|_| async {})
        .await;
}

/// Brings one site and what belongs to it together.
///
/// # Errors
/// What the server answers; it is tried again.
pub async fn reconcile(site: Arc<Site>, client: Arc<Client>) -> Result<Action, Error> {
    let (name, namespace) = (site.name_any(), site.namespace().unwrap_or_default());
    let applied = PatchParams::apply(MANAGER).force();
    let maps: Api<ConfigMap> = Api::namespaced((*client).clone(), &namespace);
    maps.patch(&name, &applied, &Patch::Apply(config_map(&site))).await?;
    let deployments: Api<Deployment> = Api::namespaced((*client).clone(), &namespace);
    let deployment = deployments.patch(&name, &applied, &Patch::Apply(deployment(&site))).await?;

    let status = status(&site, &deployment);
    if site.status.as_ref() != Some(&status) {
        let sites: Api<Site> = Api::namespaced((*client).clone(), &namespace);
        sites.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await?;
    }
    Ok(Action::await_change())
}

fn metadata(site: &Site) -> ObjectMeta {
    ObjectMeta {
        name: Some(site.name_any()),
        namespace: site.namespace(),
        // With the site goes what belongs to it.
        owner_references: site.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn config_map(site: &Site) -> ConfigMap {
    let page = BTreeMap::from([("index.html".to_owned(), site.spec.page.clone())]);
    ConfigMap { metadata: metadata(site), data: Some(page), ..ConfigMap::default() }
}

fn deployment(site: &Site) -> Deployment {
    let labels = BTreeMap::from([("site".to_owned(), site.name_any())]);
    let mount = VolumeMount { name: "page".into(), mount_path: "/page".into(), ..VolumeMount::default() };
    let container = Container {
        name: "serve".into(),
        image: Some("web:v1".into()),
        volume_mounts: Some(vec![mount]),
        ..Container::default()
    };
    let page = ConfigMapVolumeSource { name: site.name_any(), ..ConfigMapVolumeSource::default() };
    let volume = Volume { name: "page".into(), config_map: Some(page), ..Volume::default() };
    Deployment {
        metadata: metadata(site),
        spec: Some(DeploymentSpec {
            replicas: Some(site.spec.replicas),
            selector: LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(PodSpec { containers: vec![container], volumes: Some(vec![volume]), ..PodSpec::default() }),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn status(site: &Site, deployment: &Deployment) -> SiteStatus {
    let now = deployment.status.as_ref();
    SiteStatus {
        observed_generation: site.meta().generation,
        replicas: now.and_then(|status| status.replicas).unwrap_or_default(),
        ready_replicas: now.and_then(|status| status.ready_replicas).unwrap_or_default(),
    }
}
