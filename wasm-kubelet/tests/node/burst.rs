//! Many pods: one write each, and no time lost between them.

use coracle_kubelet::FakeRuntime;
use k8s_openapi::api::core::v1::Pod;

use super::{Node, is_ready, pod};

#[tokio::test]
async fn a_burst_of_pods_is_one_write_each() {
    const PODS: usize = 500;
    let node = Node::start(FakeRuntime::new()).await;
    for n in 0..PODS {
        node.server.put(&pod(&format!("p{n}"), r#"{"containers":[{"name":"main","image":"hello"}]}"#));
    }
    for n in 0..PODS {
        node.until(&format!("p{n}"), is_ready).await;
    }
    let writes = node
        .server
        .requests()
        .iter()
        .filter(|request| request.ends_with("/status") && request.contains("/pods/"))
        .count();
    // One that told of every step would write at least two; on a busy machine some take long enough for that.
    assert!((PODS..PODS + PODS / 2).contains(&writes), "{writes} status writes for {PODS} pods");
    let addresses: std::collections::HashSet<_> =
        node.server.all::<Pod>().into_iter().filter_map(|pod| pod.status?.pod_ip).collect();
    assert_eq!(addresses.len(), PODS);
}
