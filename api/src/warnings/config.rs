//! What is said of nodes, secrets and service accounts. Source: the `WarningsOnCreate` of their strategies.

use k8s_openapi::api::core::v1::{Node, Secret, ServiceAccount};

use super::settings::cidr;
use crate::field::Path;

const MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

pub(super) fn node(node: &Node, warnings: &mut Vec<String>) {
    let Some(spec) = &node.spec else { return };
    if spec.config_source.is_some() {
        warnings.push("spec.configSource: the feature is removed since v1.24".to_owned());
    }
    if spec.external_id.as_ref().is_some_and(|id| !id.is_empty()) {
        let rule = "this field is deprecated, and is unused by Kubernetes";
        warnings.push(format!("spec.externalID: {rule}"));
    }
    let path = Path::new("spec");
    let list = path.child("podCIDRs");
    for (i, range) in spec.pod_cidrs.iter().flatten().enumerate() {
        cidr(range, &list.index(i), warnings);
    }
}

/// Whether the key is that of the certificate is not looked at, only that there are both.
pub(super) fn secret(secret: &Secret, warnings: &mut Vec<String>) {
    if secret.type_.as_deref() != Some("kubernetes.io/tls") {
        return;
    }
    let has = |key: &str, block: &str| {
        let data = secret.data.as_ref().and_then(|data| data.get(key)).map(|data| data.0.as_slice());
        data.is_some_and(|data| String::from_utf8_lossy(data).contains(block))
    };
    if !has("tls.crt", "-----BEGIN CERTIFICATE-----") {
        warnings.push("tls: failed to find any PEM data in certificate input".to_owned());
    } else if !has("tls.key", "PRIVATE KEY-----") {
        warnings.push("tls: failed to find any PEM data in key input".to_owned());
    }
}

pub(super) fn service_account(account: &ServiceAccount, warnings: &mut Vec<String>) {
    let noted = account.metadata.annotations.as_ref().and_then(|all| all.get(MOUNTABLE));
    if noted.is_some_and(|value| matches!(value.as_str(), "true" | "True" | "TRUE" | "t" | "T" | "1")) {
        let rule = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        warnings.push(format!("metadata.annotations[{MOUNTABLE}]: {rule}"));
    }
}
