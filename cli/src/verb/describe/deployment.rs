//! Deployments, and the sets of pods that they and replication controllers are.

use serde_json::Value;

use crate::failure::Result;
use crate::remote::selector_of;
use crate::server::query;
use crate::verb::describe::Subject;
use crate::verb::describe::page::{Page, scalar, time};
use crate::verb::describe::pod::{controller, describe_template};

pub(super) async fn describe(subject: &Subject<'_>, page: &mut Page) -> Result {
    let deployment = &subject.object;
    let (metadata, spec, status) = (&deployment["metadata"], &deployment["spec"], &deployment["status"]);
    page.field_of(0, "Name", &metadata["name"]);
    page.field_of(0, "Namespace", &metadata["namespace"]);
    page.field(0, "CreationTimestamp", time(&metadata["creationTimestamp"]));
    page.map(0, "Labels", &metadata["labels"], "=");
    page.map(0, "Annotations", &metadata["annotations"], ": ");
    page.field(0, "Selector", selector_of(deployment).unwrap_or_default());
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    page.field(
        0,
        "Replicas",
        format_args!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            spec["replicas"].as_i64().unwrap_or(1),
            number("updatedReplicas"),
            number("replicas"),
            number("availableReplicas"),
            number("unavailableReplicas"),
        ),
    );
    page.field_of(0, "StrategyType", &spec["strategy"]["type"]);
    page.field(0, "MinReadySeconds", spec["minReadySeconds"].as_i64().unwrap_or(0));
    let rolling = &spec["strategy"]["rollingUpdate"];
    if rolling.is_object() {
        let (unavailable, surge) = (scalar(&rolling["maxUnavailable"]), scalar(&rolling["maxSurge"]));
        page.field(0, "RollingUpdateStrategy", format_args!("{unavailable} max unavailable, {surge} max surge"));
    }
    page.line(0, "Pod Template:");
    describe_template(&spec["template"], page);
    page.conditions(&status["conditions"], &[("Type", "type"), ("Status", "status"), ("Reason", "reason")]);
    replica_sets(subject, page).await
}

async fn replica_sets(subject: &Subject<'_>, page: &mut Page) -> Result {
    let path = format!("/apis/apps/v1/namespaces/{}/replicasets", subject.namespace());
    let list = subject.server.get(&path).await?;
    let uid = &subject.object["metadata"]["uid"];
    let owned = |set: &&Value| set["metadata"]["ownerReferences"][0]["uid"] == *uid;
    let revision = |set: &Value| {
        let text = set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
        text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    let mut sets: Vec<&Value> = list["items"].as_array().into_iter().flatten().filter(owned).collect();
    sets.sort_by_key(|set| revision(set));
    let words = |set: &Value| {
        let (created, wanted) =
            (set["status"]["replicas"].as_i64().unwrap_or(0), set["spec"]["replicas"].as_i64().unwrap_or(0));
        format!("{} ({created}/{wanted} replicas created)", scalar(&set["metadata"]["name"]))
    };
    let new = sets.pop();
    page.list(0, "OldReplicaSets", sets.into_iter().map(words));
    page.field(0, "NewReplicaSet", new.map_or_else(|| "<none>".to_owned(), words));
    Ok(())
}

pub(super) async fn describe_set(subject: &Subject<'_>, page: &mut Page) -> Result {
    let set = &subject.object;
    let (metadata, spec, status) = (&set["metadata"], &set["spec"], &set["status"]);
    let selector = selector_of(set).unwrap_or_default();
    page.field_of(0, "Name", &metadata["name"]);
    page.field_of(0, "Namespace", &metadata["namespace"]);
    page.field(0, "Selector", &selector);
    page.map(0, "Labels", &metadata["labels"], "=");
    page.map(0, "Annotations", &metadata["annotations"], ": ");
    if let Some(owner) = controller(metadata) {
        page.field(0, "Controlled By", owner);
    }
    let (current, wanted) = (status["replicas"].as_i64().unwrap_or(0), spec["replicas"].as_i64().unwrap_or(1));
    page.field(0, "Replicas", format_args!("{current} current / {wanted} desired"));
    page.field(0, "Pods Status", phases(subject, &selector).await?);
    page.line(0, "Pod Template:");
    describe_template(&spec["template"], page);
    page.conditions(&status["conditions"], &[("Type", "type"), ("Status", "status"), ("Reason", "reason")]);
    Ok(())
}

async fn phases(subject: &Subject<'_>, selector: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{}/pods", subject.namespace());
    let list = subject.server.get(&query(&path, &[("labelSelector", Some(selector))])).await?;
    let uid = &subject.object["metadata"]["uid"];
    let count = |phase: &str| {
        let pods = list["items"].as_array().into_iter().flatten();
        let own = pods.filter(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == *uid);
        own.filter(|pod| pod["status"]["phase"] == phase).count()
    };
    let counts = ["Running", "Pending", "Succeeded", "Failed"].map(count);
    let [running, waiting, succeeded, failed] = counts;
    Ok(format!("{running} Running / {waiting} Waiting / {succeeded} Succeeded / {failed} Failed"))
}
