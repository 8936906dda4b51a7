//! The forms in which a module lies in a registry.

use coracle_kubelet::images::pull::PullError;
use serde_json::json;

use super::Node;
use super::fake::{Fake, INDEX, MANIFEST, MODULE, layer};

#[tokio::test]
async fn a_module_comes_in_every_layout() {
    let registry = Fake::start().await;
    let node = Node::default();
    let config = ("application/vnd.wasm.config.v1+json", &b"{}"[..]);
    let module = |at: u8| [MODULE, &[0, 1, at]].concat();
    registry.module("cncf", &module(1));
    registry.image("old", &[config, ("application/vnd.wasm.content.layer.v1+wasm", &module(2))]);
    registry.image("module", &[config, ("application/vnd.module.wasm.content.layer.v1+wasm", &module(3))]);
    let linux = json!({"os": "linux", "architecture": "amd64",
        "config": {"Entrypoint": ["/app.wasm", "-v"], "Cmd": ["serve"], "Env": ["A=1"]}});
    registry.files("scratch", &linux, &[layer(&[("app.wasm", &module(4))])]);
    let wasi = json!({"os": "wasi", "architecture": "wasm", "config": {"Entrypoint": ["/bin/app"]}});
    registry.files("layers", &wasi, &[layer(&[("bin/app", b"old")]), layer(&[("./bin/app", &module(5))])]);
    registry.files("only", &json!({"os": "linux"}), &[layer(&[("README", b"x"), ("a/b.wasm", &module(6))])]);

    for (at, tag) in ["cncf", "old", "module", "scratch", "layers", "only"].into_iter().enumerate() {
        let name = registry.name(&format!("app:{tag}"));
        let pulled = node.pull(&name).await.unwrap();
        assert!(pulled.fetched);
        assert_eq!(std::fs::read(&pulled.image.path).unwrap(), module(u8::try_from(at).unwrap() + 1), "{tag}");
        assert_eq!(&*pulled.image.name, name);
        assert!(pulled.image.id.starts_with(&registry.name("app@sha256:")), "{}", pulled.image.id);
        assert!(!node.pull(&name).await.unwrap().fetched, "{tag} is here, and unchanged");
        // The name by digest is known without the registry.
        let by_digest = node.pull_as(&pulled.image.id, super::Policy::Never, &super::Keyring::default()).await.unwrap();
        assert_eq!(by_digest.image.digest, pulled.image.digest);
    }
    let scratch = node.pull(&registry.name("app:scratch")).await.unwrap().image.program;
    assert_eq!(scratch.arguments("main", vec![], vec![]), ["/app.wasm", "-v", "serve"]);
    assert_eq!(scratch.env, [("A".to_owned(), "1".to_owned())]);
    assert_eq!(node.staged(), 0);
}

#[tokio::test]
async fn an_index_leads_to_the_image_for_wasm() {
    let registry = Fake::start().await;
    let node = Node::default();
    let linux = registry.files("linux", &json!({"os": "linux", "config": {"Cmd": ["sh"]}}), &[layer(&[])]);
    let wasm = registry.module("wasm", MODULE);
    let entry = |digest: &str, os: &str, architecture: &str| json!({"mediaType": MANIFEST, "digest": digest, "size": 2, "platform": {"os": os, "architecture": architecture}});
    let both = [entry(&linux.to_string(), "linux", "amd64"), entry(&wasm.to_string(), "wasi", "wasm")];
    let index = registry.manifest("latest", INDEX, &json!({"schemaVersion": 2, "manifests": both}));
    let pulled = node.pull(&registry.name("app")).await.unwrap();
    assert_eq!(*pulled.image.id, registry.name(&format!("app@{index}")), "the index is what the tag names");
    assert_eq!(std::fs::read(&pulled.image.path).unwrap(), MODULE);

    let none = [entry(&linux.to_string(), "linux", "s390x"), entry(&linux.to_string(), "windows", "amd64")];
    registry.manifest("none", INDEX, &json!({"schemaVersion": 2, "manifests": none}));
    let nested = [entry(&index.to_string(), "wasi", "wasm")];
    registry.manifest("nested", INDEX, &json!({"schemaVersion": 2, "manifests": nested}));
    assert!(node.refusal(&registry.name("app:none")).await.contains("linux/s390x, windows/amd64"));
    assert!(node.refusal(&registry.name("app:nested")).await.contains("an index within an index"));
}

#[tokio::test]
async fn what_is_no_wasm_is_refused_before_it_is_brought() {
    let registry = Fake::start().await;
    let node = Node::default();
    let nginx = json!({"os": "linux", "architecture": "amd64",
        "config": {"Entrypoint": ["/docker-entrypoint.sh"], "Cmd": ["nginx"]}});
    let files = layer(&[("usr/sbin/nginx", &[0x7f; 4096])]);
    registry.files("nginx", &nginx, std::slice::from_ref(&files));
    registry.files("missing", &json!({"config": {"Cmd": ["/app.wasm"]}}), &[layer(&[("other.wasm", MODULE)])]);
    registry.files("two", &json!({}), &[layer(&[("a.wasm", MODULE), ("b.wasm", MODULE)])]);
    registry.files("elf", &json!({"config": {"Cmd": ["/app.wasm"]}}), &[layer(&[("app.wasm", b"\x7fELF")])]);
    registry.module("text", b"(module)");
    registry.image("chart", &[("x", b"{}"), ("application/vnd.cncf.helm.chart.content.v1.tar+gzip.prov", b"x")]);
    for (tag, why) in [
        ("nginx", "it is a linux/amd64 container image that runs \"/docker-entrypoint.sh\""),
        ("missing", "it has no file \"/app.wasm\""),
        ("two", "2 files whose name ends in .wasm"),
        ("elf", "no WebAssembly"),
        ("text", "no WebAssembly"),
        ("chart", "helm"),
    ] {
        let error = node.pull(&registry.name(&format!("app:{tag}"))).await.unwrap_err();
        assert!(super::chain(&error).contains(why), "{tag}: {}", super::chain(&error));
        assert!(error.is_final(), "{tag} is never going to be something else");
        assert_eq!(error.reason(), "ErrImagePull");
    }
    let layer = coracle_kubelet::images::Digest::of(&files).to_string();
    assert!(registry.asked(&layer).is_empty(), "the files of a Linux image are not brought");
    let absent = node.pull(&registry.name("app:none")).await.unwrap_err();
    assert!(matches!(absent, PullError::Registry { .. }) && !absent.is_final(), "it may come yet");
    assert!(node.names().is_empty());
}
