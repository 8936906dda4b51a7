//! What goes wrong on the way.

use coracle_kubelet::images::Digest;
use coracle_kubelet::{Mirror, Registries};
use serde_json::json;

use super::fake::{Fake, MANIFEST, MODULE, layer};
use super::{Node, chain};

fn large() -> Vec<u8> {
    let bytes = (0..100_000_u32).flat_map(u32::to_le_bytes);
    MODULE.iter().copied().chain(bytes).collect()
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_was() {
    let registry = Fake::start().await;
    let node = Node::default();
    registry.module("v1", &large());
    registry.set(|state| state.breaks = vec![1000, 2000, 30]);
    let pulled = node.pull(&registry.name("app:v1")).await.unwrap();
    assert_eq!(std::fs::read(&pulled.image.path).unwrap(), large());
    let blob = Digest::of(&large()).to_string();
    let asked: Vec<String> =
        registry.asked(&blob).iter().map(|line| line.split(&*blob).nth(1).unwrap().trim().to_owned()).collect();
    assert_eq!(asked, ["", "bytes=1000-", "bytes=3000-", "bytes=3030-"]);

    // Without parts it begins anew, and with one break too many the next pull goes on.
    registry.module("v2", &[large(), vec![2]].concat());
    registry.set(|state| (state.breaks, state.has_ranges) = (vec![1000, 2000], false));
    node.pull(&registry.name("app:v2")).await.unwrap();
    let third = [large(), vec![3]].concat();
    registry.module("v3", &third);
    registry.set(|state| (state.breaks, state.has_ranges) = (vec![100; 6], true));
    let error = node.refusal(&registry.name("app:v3")).await;
    assert!(error.contains("broke the transfer off"), "{error}");
    assert_eq!(node.staged(), 1, "what came is kept");
    let node = node.again(Registries::default());
    node.pull(&registry.name("app:v3")).await.unwrap();
    assert!(registry.asked(&Digest::of(&third).to_string()).last().unwrap().ends_with("bytes=600-"));
    assert_eq!(node.staged(), 0);
}

#[tokio::test]
async fn what_is_not_what_it_should_be_is_not_kept() {
    let registry = Fake::start().await;
    let node = Node::default();
    let digest = registry.module("lie", MODULE);
    registry.set(|state| {
        for bytes in state.blobs.values_mut().filter(|bytes| ***bytes == *MODULE) {
            *bytes = bytes::Bytes::from_static(b"\0asm\x01\0\0\x01");
        }
    });
    assert!(node.refusal(&registry.name("app:lie")).await.contains("the image's digest is sha256:"));

    let other = registry.module("other", &[MODULE, b"x"].concat());
    registry.set(|state| {
        let theirs = state.manifests[&other.to_string()].clone();
        state.manifests.insert(digest.to_string(), theirs);
    });
    let pinned = registry.name(&format!("app@{digest}"));
    assert!(node.refusal(&pinned).await.contains("the image's digest is sha256:"), "the manifest is another");

    let endless = json!({"mediaType": "application/wasm", "digest": registry.blob(&large()).to_string(), "size": 8});
    let config = json!({"mediaType": "x", "digest": registry.blob(b"{}").to_string(), "size": 2});
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [endless]});
    registry.manifest("endless", MANIFEST, &manifest);
    assert!(node.refusal(&registry.name("app:endless")).await.contains("the 8 bytes that were announced"));

    let mut vast = manifest.clone();
    vast["layers"][0]["size"] = json!(1_u64 << 40);
    registry.manifest("vast", MANIFEST, &vast);
    assert!(node.refusal(&registry.name("app:vast")).await.contains("512 MiB at most"));

    let mut huge = manifest;
    huge["annotations"] = json!({"x": "y".repeat(5 << 20)});
    registry.manifest("huge", MANIFEST, &huge);
    assert!(node.refusal(&registry.name("app:huge")).await.contains("larger than 4194304 bytes"));

    assert!(node.names().is_empty());
    assert_eq!(node.staged(), 0);
}

#[tokio::test]
async fn a_bomb_is_not_unpacked() {
    let registry = Fake::start().await;
    let node = Node::default();
    let bomb = layer(&[("app.wasm", &vec![0; 64 << 20])]);
    let layers = vec![bomb; 17];
    registry.files("bomb", &json!({"config": {"Cmd": ["/app.wasm"]}}), &layers);
    let error = node.pull(&registry.name("app:bomb")).await.unwrap_err();
    assert!(chain(&error).contains("it unpacks to more than 1024 MiB"), "{}", chain(&error));
    assert!(error.is_final());
    assert_eq!(node.staged(), 0);
}

#[tokio::test]
async fn many_who_want_the_same_share_one_transfer() {
    let registry = Fake::start().await;
    let node = Node::default();
    registry.module("v1", &large());
    registry.module("v2", &large());
    let names = [registry.name("app:v1"), registry.name("app:v2")];
    let pulls = (0..20).map(|at| node.pull(&names[at % 2]));
    let pulled = futures::future::join_all(pulls).await;
    assert!(pulled.iter().all(|pulled| pulled.as_ref().unwrap().image.digest == Digest::of(&large())));
    assert_eq!(registry.asked(&Digest::of(&large()).to_string()).len(), 1);
}

#[tokio::test]
async fn mirrors_come_first_and_the_registry_itself_last() {
    let [dead, mirror, origin] = [Fake::start().await, Fake::start().await, Fake::start().await];
    let url =
        |registry: &str, fake: &Fake| Mirror { registry: registry.into(), url: format!("http://{}", fake.address) };
    let mirrors = vec![url("*", &dead), url(&origin.address, &mirror), url("other.example", &dead)];
    let node = Node::with(Registries { mirrors, ..Registries::default() });
    mirror.module("v1", MODULE);
    origin.module("v2", &[MODULE, b"2"].concat());
    node.pull(&origin.name("app:v1")).await.unwrap();
    assert!(origin.asked("/v2/").is_empty(), "the mirror had it");
    node.pull(&origin.name("app:v2")).await.unwrap();
    assert_eq!(dead.asked("manifests").len(), 2);
    let error = node.refusal(&origin.name("app:v3")).await;
    assert_eq!(error.matches("not found").count(), 3, "{error}");
}
