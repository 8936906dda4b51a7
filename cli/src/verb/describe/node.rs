//! A node, with what runs on it.

use coracle_api::quantity::Quantity;
use serde_json::Value;

use crate::age;
use crate::failure::Result;
use crate::server::query;
use crate::verb::describe::Subject;
use crate::verb::describe::page::{Page, scalar, time};

pub(super) async fn describe(subject: &Subject<'_>, page: &mut Page) -> Result {
    let node = &subject.object;
    let (metadata, spec, status) = (&node["metadata"], &node["spec"], &node["status"]);
    page.field_of(0, "Name", &metadata["name"]);
    page.field(0, "Roles", roles(&metadata["labels"]));
    page.map(0, "Labels", &metadata["labels"], "=");
    page.map(0, "Annotations", &metadata["annotations"], ": ");
    page.field(0, "CreationTimestamp", time(&metadata["creationTimestamp"]));
    let taint = |taint: &Value| {
        let value = taint["value"].as_str().map_or_else(String::new, |value| format!("={value}"));
        format!("{}{value}:{}", scalar(&taint["key"]), scalar(&taint["effect"]))
    };
    page.list(0, "Taints", spec["taints"].as_array().into_iter().flatten().map(taint));
    page.field(0, "Unschedulable", spec["unschedulable"] == true);
    lease(subject, page).await?;
    page.conditions(
        &status["conditions"],
        &[
            ("Type", "type"),
            ("Status", "status"),
            ("LastHeartbeatTime", "lastHeartbeatTime"),
            ("LastTransitionTime", "lastTransitionTime"),
            ("Reason", "reason"),
            ("Message", "message"),
        ],
    );
    section(
        "Addresses",
        status["addresses"].as_array().into_iter().flatten().map(|it| (&it["type"], &it["address"])),
        page,
    );
    for (name, field) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        page.line(0, format_args!("{name}:"));
        status[field].as_object().into_iter().flatten().for_each(|(name, value)| page.field_of(1, name, value));
    }
    page.line(0, "System Info:");
    SYSTEM_INFO.iter().for_each(|(name, field)| page.field(1, name, scalar(&status["nodeInfo"][*field])));
    page.field_of(0, "PodCIDR", &spec["podCIDR"]);
    page.list(
        0,
        "PodCIDRs",
        spec["podCIDRs"].as_array().map(|all| all.iter().map(scalar).collect::<Vec<_>>().join(",")),
    );
    pods(subject, &status["allocatable"], page).await
}

/// What `nodeInfo` is called.
const SYSTEM_INFO: [(&str, &str); 10] = [
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
    ("Kube-Proxy Version", "kubeProxyVersion"),
];

fn section<'a>(name: &str, pairs: impl Iterator<Item = (&'a Value, &'a Value)>, page: &mut Page) {
    page.line(0, format_args!("{name}:"));
    pairs.for_each(|(name, value)| page.field_of(1, &scalar(name), value));
}

/// Source: the labels `node-role.kubernetes.io/ROLE`.
fn roles(labels: &Value) -> String {
    let names = labels.as_object().into_iter().flatten().map(|(name, _)| name);
    let roles: Vec<&str> = names.filter_map(|name| name.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

async fn lease(subject: &Subject<'_>, page: &mut Page) -> Result {
    let name = scalar(&subject.object["metadata"]["name"]);
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}");
    let Some(lease) = subject.server.find(&path).await? else { return Ok(()) };
    page.line(0, "Lease:");
    page.field_of(1, "HolderIdentity", &lease["spec"]["holderIdentity"]);
    page.field(1, "AcquireTime", time(&lease["spec"]["acquireTime"]));
    page.field(1, "RenewTime", time(&lease["spec"]["renewTime"]));
    Ok(())
}

async fn pods(subject: &Subject<'_>, allocatable: &Value, page: &mut Page) -> Result {
    let name = scalar(&subject.object["metadata"]["name"]);
    let selector = format!("spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed");
    let list = subject.server.get(&query("/api/v1/pods", &[("fieldSelector", Some(&selector))])).await?;
    let pods = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    page.field(0, "Non-terminated Pods", format_args!("({} in total)", pods.len()));
    page.line(1, "Namespace\tName\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    page.line(1, "---------\t----\t------------\t----------\t---------------\t-------------\t---");
    let columns = [("requests", "cpu"), ("limits", "cpu"), ("requests", "memory"), ("limits", "memory")];
    for pod in pods {
        let sums =
            columns.map(|(list, resource)| share(&sum([pod], list, resource), &allocatable[resource])).join("\t");
        let metadata = &pod["metadata"];
        let age = age::since(&scalar(&metadata["creationTimestamp"]));
        page.line(1, format_args!("{}\t{}\t{sums}\t{age}", scalar(&metadata["namespace"]), scalar(&metadata["name"])));
    }
    page.line(0, "Allocated resources:");
    page.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    page.line(1, "Resource\tRequests\tLimits");
    page.line(1, "--------\t--------\t------");
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let [requests, limits] =
            ["requests", "limits"].map(|list| share(&sum(pods, list, resource), &allocatable[resource]));
        page.line(1, format_args!("{resource}\t{requests}\t{limits}"));
    }
    Ok(())
}

/// `100m (5%)` of what the node has.
fn share(amount: &str, of: &Value) -> String {
    let milli = |text: &str| text.parse::<Quantity>().ok().map(|it| it.milli());
    match (milli(amount), of.as_str().and_then(milli).filter(|whole| *whole > 0)) {
        (Some(part), Some(whole)) => format!("{amount} ({}%)", i128::from(part) * 100 / i128::from(whole)),
        _ => amount.to_owned(),
    }
}

/// What the containers of pods ask for together.
fn sum<'a>(pods: impl IntoIterator<Item = &'a Value>, list: &str, resource: &str) -> String {
    let containers = pods.into_iter().flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten());
    let quantities = containers.filter_map(|it| it["resources"][list][resource].as_str()?.parse::<Quantity>().ok());
    quantities.reduce(|sum, quantity| sum + quantity).map_or_else(|| "0".to_owned(), |sum| sum.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_are_summed_over_containers() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let pod = json!({"spec": {"containers": [container("100m"), container("1"), {}]}});
        assert_eq!(sum([&pod], "requests", "cpu"), "1100m");
        assert_eq!(sum([&pod], "limits", "cpu"), "0");
        assert_eq!(roles(&json!({"node-role.kubernetes.io/worker": "", "a": "b"})), "worker");
    }
}
