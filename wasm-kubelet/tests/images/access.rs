//! Who may have an image, and whose images are taken.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_kubelet::Registries;
use coracle_kubelet::images::pull::Policy;
use coracle_kubelet::images::{Digest, Keyring};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::json;

use super::fake::{Door, Fake, MANIFEST, MODULE};
use super::{Node, chain, keyring};

#[tokio::test]
async fn credentials_open_what_they_are_for() {
    for door in [Door::Basic, Door::Token] {
        let registry = Fake::start().await;
        let node = Node::default();
        registry.module("v1", MODULE);
        registry.set(|state| state.door = door);
        let name = registry.name("app:v1");
        let pull = async |keyring: Keyring, policy| node.pull_as(&name, policy, &keyring).await;

        let denied = pull(Keyring::default(), Policy::Always).await.unwrap_err();
        assert!(chain(&denied).contains("access denied by"), "{}", chain(&denied));
        assert!(!denied.is_final(), "a secret may yet be corrected");
        assert!(pull(keyring("other.example", "me", "secret"), Policy::Always).await.is_err(), "not for this registry");
        assert!(pull(keyring(&registry.address, "me", "wrong"), Policy::Always).await.is_err());

        let mut both = keyring(&registry.address, "me", "wrong");
        both.append(keyring(&registry.address, "me", "secret"));
        assert!(pull(both, Policy::Always).await.unwrap().fetched, "one after the other is tried");

        // What one pod's secret has opened is not open to others, though the bytes are here.
        assert!(pull(Keyring::default(), Policy::IfNotPresent).await.is_err());
        assert!(pull(keyring(&registry.address, "me", "wrong"), Policy::IfNotPresent).await.is_err());
        let never = pull(Keyring::default(), Policy::Never).await.unwrap_err();
        assert_eq!(never.reason(), "ErrImageNeverPull");
        let before = registry.asked("/").len();
        for policy in [Policy::IfNotPresent, Policy::Never] {
            assert!(!pull(keyring(&registry.address, "me", "secret"), policy).await.unwrap().fetched);
        }
        assert_eq!(registry.asked("/").len(), before, "the registry took them before");
        registry.set(|state| state.door = Door::Open);
        assert!(!pull(Keyring::default(), Policy::IfNotPresent).await.unwrap().fetched, "open to all now");
        assert_eq!(registry.asked(&Digest::of(MODULE).to_string()).len(), 1);
    }
}

#[tokio::test]
async fn names_without_a_registry_are_the_nodes_own() {
    let registry = Fake::start().await;
    registry.module("latest", MODULE);
    let node = Node::default();
    assert!(node.refusal("app").await.contains("coracle image load"));
    let node = node.again(Registries { default: Some(registry.address.clone()), ..Registries::default() });
    assert!(node.pull("app").await.unwrap().fetched, "a default registry has it");
    let own = node.puller.store().load(&coracle_kubelet::images::Reference::parse("app").unwrap(), &b"\0asm own"[..]);
    assert_eq!(node.pull("app").await.unwrap().image.digest, own.unwrap(), "what was loaded here comes first");
}

#[tokio::test]
async fn a_node_that_wants_signatures_takes_nothing_else() {
    let registry = Fake::start().await;
    let pair = rcgen::KeyPair::generate().unwrap();
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pair.serialize_der(), &random).unwrap();
    let sign = |image: &Digest| {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": "app"},
                "image": {"docker-manifest-digest": image.to_string()},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string();
        let signature = STANDARD.encode(key.sign(&random, payload.as_bytes()).unwrap());
        let layer = json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": registry.blob(payload.as_bytes()).to_string(),
            "size": payload.len(),
            "annotations": {"dev.cosignproject.cosign/signature": signature},
        });
        let config = json!({"mediaType": "x", "digest": registry.blob(b"{}").to_string(), "size": 2});
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        registry.manifest(&format!("sha256-{}.sig", image.hex()), MANIFEST, &manifest);
    };
    let name = registry.name("app:v1");
    let image = registry.module("v1", MODULE);

    let node = Node::default();
    node.pull(&name).await.unwrap();
    let strict = |pem: String| Registries { signers_pem: vec![pem], ..Registries::default() };
    let node = node.again(strict(pair.public_key_pem()));
    for policy in [Policy::Always, Policy::IfNotPresent] {
        let error = node.pull_as(&name, policy, &Keyring::default()).await.unwrap_err();
        assert_eq!(error.reason(), "SignatureValidationFailed", "what came before the node was strict counts no more");
        assert!(chain(&error).contains(&format!("sha256-{}.sig", image.hex())), "{}", chain(&error));
    }
    let unsigned = node.pull("https://localhost/app.wasm").await.unwrap_err();
    assert_eq!(unsigned.reason(), "SignatureValidationFailed");
    sign(&image);
    node.pull(&name).await.unwrap();
    let before = registry.asked("/").len();
    node.pull_as(&name, Policy::IfNotPresent, &Keyring::default()).await.unwrap();
    assert_eq!(registry.asked("/").len(), before, "its signature is known");

    let other = rcgen::KeyPair::generate().unwrap();
    let node = node.again(strict(other.public_key_pem()));
    let error = node.pull_as(&name, Policy::IfNotPresent, &Keyring::default()).await.unwrap_err();
    assert_eq!(error.reason(), "SignatureValidationFailed", "signed by another");
}
