//! What the cluster gives objects, and what it refuses, over the in-process transport.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Client, Server, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const PRIORITIES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

/// A pod whose spec has this, too.
fn pod_with(name: &str, spec: Value) -> Value {
    let mut pod = pod(name);
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn with_resources(name: &str, resources: Value) -> Value {
    pod_with(name, json!({"containers": [{"name": "c", "image": "i", "resources": resources}]}))
}

fn claim(name: &str, size: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    })
}

/// A quota that has been counted, by whoever does.
async fn quota(client: &Client, name: &str, spec: Value, used: Value) {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec});
    let made = client.post(QUOTAS, quota).await.is(201);
    assert_eq!(made["status"], json!({}));
    let status = json!({"status": {"hard": made["spec"]["hard"], "used": used}});
    client.merge(&format!("{QUOTAS}/{name}/status"), status).await.is(200);
}

async fn used(client: &Client, name: &str) -> Value {
    client.get(&format!("{QUOTAS}/{name}")).await.is(200)["status"]["used"].clone()
}

#[track_caller]
fn told(refusal: &Value) -> &str {
    assert_eq!(refusal["reason"], "Forbidden", "{refusal}");
    refusal["message"].as_str().unwrap()
}

#[tokio::test]
async fn limit_ranges_give_and_refuse() {
    let server = Server::start().await;
    let client = server.client();
    let limits = json!([
        {"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "2"}, "min": {"cpu": "100m"}},
        {"type": "Pod", "max": {"memory": "1Gi"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]);
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": limits}});
    let made = client.post("/api/v1/namespaces/default/limitranges", range).await.is(201);
    assert_eq!(made["metadata"]["name"].as_str().unwrap().len(), 36, "it is called by something");
    let memory = json!({"limits": {"memory": "1Gi"}});
    let given = client.post(PODS, with_resources("p", memory)).await.is(201);
    let requests = &given["spec"]["containers"][0]["resources"]["requests"];
    assert_eq!(requests, &json!({"cpu": "500m", "memory": "1Gi"}));
    assert_eq!(given["status"]["qosClass"], "Guaranteed");
    assert_eq!(
        given["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let large = json!({"limits": {"cpu": "3", "memory": "2Gi"}});
    assert_eq!(
        told(&client.post(PODS, with_resources("large", large)).await.is(403)),
        "pods \"large\" is forbidden: [maximum cpu usage per Container is 2, but limit is 3, maximum memory usage per Pod is 1Gi, but limit is 2Gi]"
    );
    client.post(CLAIMS, claim("small", "1Gi")).await.is(201);
    let refused = client.post(CLAIMS, claim("large", "2Gi")).await.is(403);
    assert!(told(&refused).ends_with("maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"));
}

#[tokio::test]
async fn claims_keep_within_the_limits_of_their_namespace() {
    let server = Server::start().await;
    let client = server.client();
    let limits = json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi", "a.test/x": "1"}, "max": {"storage": "2Gi"}}]);
    let range =
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": limits}});
    client.post("/api/v1/namespaces/default/limitranges", range).await.is(201);
    for (size, expected) in [
        (
            "512Mi",
            "[minimum a.test/x usage per PersistentVolumeClaim is 1.  No request is specified, minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi]",
        ),
        (
            "3Gi",
            "[minimum a.test/x usage per PersistentVolumeClaim is 1.  No request is specified, maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi]",
        ),
        ("1Gi", "minimum a.test/x usage per PersistentVolumeClaim is 1.  No request is specified"),
    ] {
        let refused = client.post(CLAIMS, claim("c", size)).await.is(403);
        assert_eq!(told(&refused), format!("persistentvolumeclaims \"c\" is forbidden: {expected}"));
    }
}

#[tokio::test]
async fn what_is_wrong_with_several_containers_is_told_once() {
    let server = Server::start().await;
    let client = server.client();
    let limits = json!([{"type": "Container", "min": {"cpu": "1"}}]);
    let range =
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": limits}});
    client.post("/api/v1/namespaces/default/limitranges", range).await.is(201);
    let little = json!({"requests": {"cpu": "100m"}});
    let container = |name: &str| json!({"name": name, "image": "i", "resources": little});
    let two = json!({"containers": [container("a"), container("b")]});
    let refused = client.post(PODS, pod_with("p", two)).await.is(403);
    assert_eq!(told(&refused), "pods \"p\" is forbidden: minimum cpu usage per Container is 1, but request is 100m");
}

#[tokio::test]
async fn ranges_of_pods_leave_their_overhead_out_and_bound_what_is_resized() {
    let server = Server::start().await;
    let client = server.client();
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "wasm"},
        "handler": "wasm", "overhead": {"podFixed": {"cpu": "1"}}});
    client.post("/apis/node.k8s.io/v1/runtimeclasses", class).await.is(201);
    let limits = json!([{"type": "Pod", "max": {"cpu": "1"}}]);
    let range =
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": limits}});
    client.post("/api/v1/namespaces/default/limitranges", range).await.is(201);
    let resources = |cpu: &str| json!({"limits": {"cpu": cpu}, "requests": {"cpu": "1m"}});
    let mut made = with_resources("p", resources("1"));
    made["spec"]["runtimeClassName"] = json!("wasm");
    client.post(PODS, made).await.is(201);
    let resized = json!({"spec": {"containers": [{"name": "c", "resources": resources("2")}]}});
    let at = format!("{PODS}/p/resize");
    let patched = client.call("PATCH", &at, "application/strategic-merge-patch+json", resized.to_string()).await;
    assert_eq!(told(&patched.is(403)), "pods \"p\" is forbidden: maximum cpu usage per Pod is 1, but limit is 2");
}

#[tokio::test]
async fn a_quota_that_was_not_counted_refuses_what_it_could_limit() {
    let server = Server::start().await;
    let client = server.client();
    quota(&client, "q", json!({"hard": {"limits.cpu": "1", "pods": "9", "secrets": "1"}}), json!({"pods": "0"})).await;
    let limits = json!({"limits": {"cpu": "1"}});
    let refused = client.post(PODS, with_resources("p", limits)).await.is(403);
    assert_eq!(told(&refused), "pods \"p\" is forbidden: status unknown for quota: q, resources: limits.cpu,pods");
}

#[tokio::test]
async fn pods_that_come_into_a_scope_are_charged() {
    let server = Server::start().await;
    let client = server.client();
    let spec = json!({"hard": {"pods": "1"}, "scopes": ["Terminating"]});
    quota(&client, "ends", spec, json!({"pods": "1"})).await;
    client.post(PODS, pod("p")).await.is(201);
    let refused = client.merge(&format!("{PODS}/p"), json!({"spec": {"activeDeadlineSeconds": 5}})).await.is(403);
    assert_eq!(
        told(&refused),
        "pods \"p\" is forbidden: exceeded quota: ends, requested: pods=1, used: pods=1, limited: pods=1"
    );
}

#[tokio::test]
async fn quotas_are_charged_before_what_they_limit_is_stored() {
    let server = Server::start().await;
    let client = server.client();
    quota(&client, "q", json!({"hard": {"pods": "1", "requests.cpu": "1"}}), json!({"pods": "0", "requests.cpu": "0"}))
        .await;
    let refused = client.post(PODS, pod("silent")).await.is(403);
    assert_eq!(told(&refused), "pods \"silent\" is forbidden: failed quota: q: must specify requests.cpu for: c");
    let half = json!({"requests": {"cpu": "500m"}});
    client.post(&format!("{PODS}?dryRun=All"), with_resources("p", half.clone())).await.is(201);
    assert_eq!(used(&client, "q").await, json!({"pods": "0", "requests.cpu": "0"}));
    client.post(PODS, with_resources("p", half.clone())).await.is(201);
    assert_eq!(used(&client, "q").await, json!({"pods": "1", "requests.cpu": "500m"}));
    assert_eq!(client.post(PODS, with_resources("p", half.clone())).await.reason(), "AlreadyExists");
    let refused = client.post(PODS, with_resources("r", json!({"requests": {"cpu": "600m"}}))).await.is(403);
    assert_eq!(
        told(&refused),
        "pods \"r\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=600m, used: pods=1,requests.cpu=500m, limited: pods=1,requests.cpu=1"
    );
    // What has been charged is of a version that can be replaced.
    let charged = client.get(&format!("{QUOTAS}/q")).await.is(200);
    client.put(&format!("{QUOTAS}/q/status"), charged).await.is(200);
    let other = "/api/v1/namespaces/kube-public/pods";
    client.post(other, pod("elsewhere")).await.is(201);
}

#[tokio::test]
async fn many_creators_get_no_more_than_there_is() {
    let server = Server::start().await;
    let client = server.client();
    quota(&client, "q", json!({"hard": {"count/configmaps": "5"}}), json!({"count/configmaps": "0"})).await;
    let creations = (0..20).map(|number| {
        let client = client.clone();
        async move {
            let map = support::config_map(&format!("m{number}"), "l");
            client.post("/api/v1/namespaces/default/configmaps", map).await.code
        }
    });
    let codes = futures::future::join_all(creations).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 5, "{codes:?}");
    assert_eq!(used(&client, "q").await, json!({"count/configmaps": "5"}));
}

#[tokio::test]
async fn scoped_quotas_and_services_count_what_they_are_about() {
    let server = Server::start().await;
    let client = server.client();
    quota(&client, "best", json!({"hard": {"pods": "0"}, "scopes": ["BestEffort"]}), json!({"pods": "0"})).await;
    quota(&client, "ports", json!({"hard": {"services.nodeports": "1"}}), json!({"services.nodeports": "0"})).await;
    client.post(PODS, pod("best")).await.is(403);
    client.post(PODS, with_resources("burst", json!({"requests": {"cpu": "1"}}))).await.is(201);
    let service = |kind: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"type": kind, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}})
    };
    let services = "/api/v1/namespaces/default/services";
    client.post(services, service("NodePort")).await.is(403);
    client.post(services, service("ClusterIP")).await.is(201);
    let refused = client.merge(&format!("{services}/s"), json!({"spec": {"type": "NodePort"}})).await.is(403);
    assert!(told(&refused).contains("requested: services.nodeports=2, used: services.nodeports=0"));
}

#[tokio::test]
async fn priorities_are_those_of_classes() {
    let server = Server::start().await;
    let client = server.client();
    let class = |name: &str, value: i64, default: bool| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "globalDefault": default, "preemptionPolicy": "Never"})
    };
    let system = client.get(&format!("{PRIORITIES}/system-node-critical")).await.is(200);
    assert_eq!((&system["value"], &system["metadata"]["generation"]), (&json!(2_000_001_000), &json!(1)));
    client.post(PRIORITIES, class("low", 7, true)).await.is(201);
    let refused = client.post(PRIORITIES, class("other", 8, true)).await.is(403);
    assert!(told(&refused).ends_with("PriorityClass low is already marked as default. Only one default can exist"));
    let given = client.post(PODS, pod("p")).await.is(201)["spec"].clone();
    let part = ["priority", "priorityClassName", "preemptionPolicy"].map(|key| given[key].clone());
    assert_eq!(part, [json!(7), json!("low"), json!("Never")]);
    let refused = client.post(PODS, pod_with("q", json!({"priorityClassName": "none"}))).await.is(403);
    assert_eq!(told(&refused), "pods \"q\" is forbidden: no PriorityClass with name none was found");
    let refused = client.post(PODS, pod_with("q", json!({"priorityClassName": "low", "priority": 8}))).await.is(403);
    assert!(told(&refused).contains("the integer value of priority (8) must not be provided in pod spec"));
    let invalid = client.merge(&format!("{PRIORITIES}/low"), json!({"value": 8})).await.is(422);
    assert_eq!(invalid["details"]["causes"][0]["field"], "value");
}

#[tokio::test]
async fn runtime_classes_cost_and_choose_nodes() {
    let server = Server::start().await;
    let client = server.client();
    let class = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "wasm"}, "handler": "wasm",
        "overhead": {"podFixed": {"cpu": "10m"}},
        "scheduling": {"nodeSelector": {"wasm": "yes"}, "tolerations": [{"key": "wasm", "operator": "Exists"}]},
    });
    client.post("/apis/node.k8s.io/v1/runtimeclasses", class).await.is(201);
    let given = client.post(PODS, pod_with("p", json!({"runtimeClassName": "wasm"}))).await.is(201)["spec"].clone();
    assert_eq!((&given["overhead"], &given["nodeSelector"]), (&json!({"cpu": "10m"}), &json!({"wasm": "yes"})));
    // After those that every pod has.
    assert_eq!(given["tolerations"][2]["key"], "wasm");
    for (spec, why) in [
        (json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found"),
        (
            json!({"overhead": {"cpu": "1"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            json!({"runtimeClassName": "wasm", "nodeSelector": {"wasm": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[wasm] = yes; pod.spec.nodeSelector[wasm] = no",
        ),
    ] {
        let refused = client.post(PODS, pod_with("q", spec)).await.is(403);
        assert!(told(&refused).ends_with(why), "{refused}");
    }
}

#[tokio::test]
async fn claims_get_a_class_and_grow_where_it_lets_them() {
    let server = Server::start().await;
    let client = server.client();
    client.post(CLAIMS, claim("before", "1Gi")).await.is(201);
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "p",
        "metadata": {"name": "s", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    });
    client.post(CLASSES, class).await.is(201);
    let made = client.post(CLAIMS, claim("c", "1Gi")).await.is(201);
    assert_eq!(made["spec"]["storageClassName"], "s");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let at = format!("{CLAIMS}/c");
    client
        .merge(&format!("{at}/status"), json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}))
        .await
        .is(200);
    assert!(told(&client.merge(&at, larger.clone()).await.is(403)).contains("must support resize"));
    client.merge(&format!("{CLASSES}/s"), json!({"allowVolumeExpansion": true})).await.is(200);
    client.merge(&at, larger).await.is(200);
    let held = client.delete(&at).await.is(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    client.merge(&at, json!({"metadata": {"finalizers": null}})).await.is(200);
    client.get(&at).await.is(404);
}

#[tokio::test]
async fn some_kinds_are_replaced_only_by_who_knows_them() {
    let server = Server::start().await;
    let client = server.client();
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "d"}, "spec": {}});
    let all = "/apis/storage.k8s.io/v1/csidrivers";
    let mut made = client.post(all, driver.clone()).await.is(201);
    let refused = client.put(&format!("{all}/d"), driver).await.is(422);
    assert_eq!(refused["details"]["causes"][0]["field"], "metadata.resourceVersion");
    made["spec"]["requiresRepublish"] = json!(true);
    assert_eq!(client.put(&format!("{all}/d"), made).await.is(200)["metadata"]["generation"], 2);
}

#[tokio::test]
async fn the_control_plane_tells_how_it_is() {
    let server = Server::start().await;
    let client = server.client();
    let list = client.get("/api/v1/componentstatuses").await.is(200);
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("ComponentStatusList"), 3));
    let one = client.get("/api/v1/componentstatuses/etcd-0").await.is(200);
    assert_eq!(one["conditions"], json!([{"type": "Healthy", "status": "True", "message": "ok"}]));
    client.get("/api/v1/componentstatuses/none").await.is(404);
}

#[tokio::test]
async fn pods_know_the_zone_of_their_node() {
    let server = Server::start().await;
    let client = server.client();
    let zone = json!({"topology.kubernetes.io/zone": "z", "other": "x"});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": zone}});
    client.post("/api/v1/nodes", node).await.is(201);
    client.post(PODS, pod("bound")).await.is(201);
    client.post(&format!("{PODS}/bound/binding"), json!({"target": {"name": "n"}})).await.is(201);
    client.post(PODS, pod_with("placed", json!({"nodeName": "n"}))).await.is(201);
    for name in ["bound", "placed"] {
        let labels = client.get(&format!("{PODS}/{name}")).await.is(200)["metadata"]["labels"].clone();
        assert_eq!((&labels["topology.kubernetes.io/zone"], &labels["other"]), (&json!("z"), &Value::Null));
    }
}

const NAMESPACE: &str = "/api/v1/namespaces/default";

/// What a write warns of.
async fn warnings(client: &Client, method: &str, path: &str, media_type: &str, body: Value) -> (u16, Vec<String>) {
    let response = client.send(method, path, media_type, body.to_string()).await;
    let warnings = response.headers().get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), warnings.collect())
}

#[tokio::test]
async fn pods_keep_to_the_standard_of_their_namespace() {
    let server = Server::start().await;
    let client = server.client();
    client.post(PODS, pod_with("first", json!({"hostPID": true}))).await.is(201);
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let refused = client
        .merge(
            NAMESPACE,
            labels(
                json!({"pod-security.kubernetes.io/enforce": "most", "pod-security.kubernetes.io/warn-version": "1"}),
            ),
        )
        .await
        .is(422);
    assert_eq!(refused["reason"], "Invalid");
    let causes: Vec<_> = refused["details"]["causes"].as_array().unwrap().iter().map(|cause| &cause["field"]).collect();
    assert_eq!(
        causes,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]",
            "metadata.labels[pod-security.kubernetes.io/warn-version]"
        ]
    );
    let enforce = labels(
        json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}),
    );
    let (code, told_of) = warnings(&client, "PATCH", NAMESPACE, "application/merge-patch+json", enforce).await;
    assert_eq!(code, 200);
    assert_eq!(
        told_of,
        [
            "299 - \"existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"",
            "299 - \"first: host namespaces\"",
        ]
    );
    let refused = client.post(PODS, pod_with("p", json!({"hostNetwork": true}))).await.is(403);
    assert_eq!(
        told(&refused),
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    let (code, told_of) = warnings(&client, "POST", PODS, "application/json", pod("p")).await;
    assert_eq!((code, told_of.len()), (201, 1), "{told_of:?}");
    assert!(
        told_of[0].contains("would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation != false")
    );
    // What makes pods is never refused, and what does not change a pod's containers is not looked at.
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"hostPID": true, "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    });
    let (code, told_of) =
        warnings(&client, "POST", "/apis/batch/v1/namespaces/default/jobs", "application/json", job).await;
    assert_eq!((code, told_of.len()), (201, 1), "{told_of:?}");
    assert!(told_of[0].contains("host namespaces (hostPID=true)"), "{told_of:?}");
    let first = format!("{PODS}/first");
    client.merge(&first, json!({"metadata": {"labels": {"a": "b"}}})).await.is(200);
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "other"}]);
    client.call("PATCH", &first, "application/json-patch+json", image.to_string()).await.is(403);
}

#[tokio::test]
async fn ingresses_get_the_newest_class_that_is_marked() {
    let server = Server::start().await;
    let client = server.client();
    let (classes, ingresses) =
        ("/apis/networking.k8s.io/v1/ingressclasses", "/apis/networking.k8s.io/v1/namespaces/default/ingresses");
    let class = |name: &str, mark: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": mark}},
            "spec": {"controller": "a.test/c"}})
    };
    let ingress = |name: &str, annotations: Value, spec: Value| {
        let mut ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}});
        ingress["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        ingress
    };
    let none = client.post(ingresses, ingress("none", json!({}), json!({}))).await.is(201);
    assert_eq!(none["spec"].get("ingressClassName"), None);
    client.post(classes, class("b", "true")).await.is(201);
    client.post(classes, class("a", "false")).await.is(201);
    for (name, annotations, spec, expected) in [
        ("given", json!({}), json!({}), json!("b")),
        ("own", json!({}), json!({"ingressClassName": "a"}), json!("a")),
        ("old", json!({"kubernetes.io/ingress.class": "x"}), json!({}), Value::Null),
    ] {
        let made = client.post(ingresses, ingress(name, annotations, spec)).await.is(201);
        assert_eq!(made["spec"]["ingressClassName"], expected, "{name}");
    }
}

#[tokio::test]
async fn a_status_takes_the_metadata_of_some_kinds_along_and_of_others_not() {
    let server = Server::start().await;
    let client = server.client();
    let label = json!({"metadata": {"labels": {"seen": "yes"}}});
    for (path, is_kept) in [
        ("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/catch-all/status", false),
        ("/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/catch-all/status", false),
        ("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps/status", false),
        ("/apis/networking.k8s.io/v1/servicecidrs/kubernetes/status", false),
        ("/api/v1/namespaces/default/status", true),
    ] {
        let written = client.merge(path, label.clone()).await.is(200);
        assert_eq!(written["metadata"]["labels"].get("seen").is_some(), is_kept, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_that_goes_not_even_a_token() {
    let server = Server::start().await;
    let client = server.client();
    let meta = json!({"name": "going", "finalizers": ["a.test/hold"]});
    client.post("/api/v1/namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})).await.is(201);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "s"}});
    client.post("/api/v1/namespaces/going/serviceaccounts", account).await.is(201);
    client.post("/api/v1/namespaces/going/pods", pod("p")).await.is(201);
    client.delete("/api/v1/namespaces/going").await.is(200);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    for (path, body, about) in [
        ("pods", pod("q"), "pods \"q\""),
        ("pods/p/binding", binding, "pods \"p\""),
        ("pods/p/eviction", eviction, "pods \"p\""),
        ("serviceaccounts/s/token", token, "serviceaccounts \"s\""),
    ] {
        let refused = client.post(&format!("/api/v1/namespaces/going/{path}"), body).await.is(403);
        assert_eq!(
            told(&refused),
            format!(
                "{about} is forbidden: unable to create new content in namespace going because it is being terminated"
            )
        );
        assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating", "{path}");
    }
}
