//! The operator's own tests: each has a Kubernetes API to itself, and takes a fraction of a second.

use std::time::Duration;

use anyhow::Context;
use coracle_sample_operator::{Site, SiteSpec, run};
use coracle_testing::{Cluster, Outcome};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, CustomResourceExt, ResourceExt};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(30);

/// A whole cluster in which the operator runs; it is stopped with the cluster.
async fn cluster(pods: Outcome) -> anyhow::Result<Cluster> {
    let builder = Cluster::builder().controllers().scheduler().nodes(1).pods(move |_| pods).crds([Site::crd()]);
    let cluster = builder.start().await?;
    tokio::spawn(run(cluster.client(), std::future::pending()));
    Ok(cluster)
}

fn sites(client: Client) -> Api<Site> {
    Api::default_namespaced(client)
}

fn site(page: &str, replicas: i32) -> Site {
    Site::new("home", SiteSpec { page: page.to_owned(), replicas })
}

async fn until(sites: &Api<Site>, holds: impl Fn(&Site) -> bool + Send + Sync) -> anyhow::Result<Site> {
    let condition = |site: Option<&Site>| site.is_some_and(&holds);
    let found = tokio::time::timeout(DEADLINE, await_condition(sites.clone(), "home", condition)).await;
    found.context("waited for the site")??.context("the site is gone")
}

fn ready(site: &Site) -> i32 {
    site.status.as_ref().map_or(0, |status| status.ready_replicas)
}

#[tokio::test]
async fn a_site_is_served() -> anyhow::Result<()> {
    let cluster = cluster(Outcome::Runs).await?;
    let sites = sites(cluster.client());
    sites.create(&PostParams::default(), &site("<h1>hello</h1>", 2)).await?;
    until(&sites, |site| ready(site) == 2).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let page = maps.get("home").await?.data.context("a page")?;
    assert_eq!(page["index.html"], "<h1>hello</h1>");

    // What is changed follows.
    let more = Patch::Merge(json!({"spec": {"replicas": 3}}));
    sites.patch("home", &PatchParams::default(), &more).await?;
    let site = until(&sites, |site| ready(site) == 3).await?;
    assert_eq!(site.status.and_then(|status| status.observed_generation), Some(2));
    Ok(())
}

#[tokio::test]
async fn what_somebody_else_changes_is_put_back() -> anyhow::Result<()> {
    let cluster = cluster(Outcome::Runs).await?;
    let sites = sites(cluster.client());
    sites.create(&PostParams::default(), &site("right", 1)).await?;
    until(&sites, |site| ready(site) == 1).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let wrong = Patch::Merge(json!({"data": {"index.html": "wrong"}}));
    let wrong = maps.patch("home", &PatchParams::default(), &wrong).await?;
    let put_back = |map: Option<&ConfigMap>| {
        let page = map.and_then(|map| map.data.as_ref()?.get("index.html"));
        page.is_some_and(|page| page == "right")
            && map.map(ResourceExt::resource_version) != Some(wrong.resource_version())
    };
    tokio::time::timeout(DEADLINE, await_condition(maps, "home", put_back)).await??;
    Ok(())
}

#[tokio::test]
async fn a_site_whose_pods_crash_is_not_ready() -> anyhow::Result<()> {
    let cluster = cluster(Outcome::Fails).await?;
    let sites = sites(cluster.client());
    sites.create(&PostParams::default(), &site("any", 1)).await?;
    let is_there = |site: &Site| site.status.as_ref().is_some_and(|status| status.replicas == 1);
    assert_eq!(ready(&until(&sites, is_there).await?), 0);
    Ok(())
}

#[tokio::test]
async fn all_goes_with_the_site() -> anyhow::Result<()> {
    let cluster = cluster(Outcome::Runs).await?;
    let sites = sites(cluster.client());
    sites.create(&PostParams::default(), &site("any", 1)).await?;
    until(&sites, |site| ready(site) == 1).await?;
    let deployments: Api<Deployment> = Api::default_namespaced(cluster.client());
    let uid = deployments.get("home").await?.uid().context("a uid")?;
    sites.delete("home", &DeleteParams::default()).await?;
    let gone = await_condition(deployments, "home", conditions::is_deleted(&uid));
    tokio::time::timeout(DEADLINE, gone).await??;
    Ok(())
}

#[tokio::test]
async fn a_site_that_makes_no_sense_is_refused() -> anyhow::Result<()> {
    let cluster = Cluster::builder().crds([Site::crd()]).start().await?;
    let refused = sites(cluster.client()).create(&PostParams::default(), &site("any", 6)).await;
    let kube::Error::Api(status) = refused.expect_err("six replicas") else { panic!("not an answer") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert!(status.message.contains("a site has at most five replicas"), "{}", status.message);
    Ok(())
}
