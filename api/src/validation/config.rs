//! ConfigMaps, Secrets and service accounts.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

use super::rules::{immutable, size, text};
use super::{Validate, meta};
use crate::field::{Errors, Path};
use crate::limits;
use crate::names;

impl Validate for ConfigMap {
    fn validate(&self, errors: &mut Errors) {
        config_map(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update_config_map(self, old, errors);
    }
}

impl Validate for Secret {
    fn validate(&self, errors: &mut Errors) {
        secret(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update_secret(self, old, errors);
    }
}

impl Validate for ServiceAccount {
    fn validate(&self, errors: &mut Errors) {
        service_account(self, errors);
    }
}

const DATA: Path<'static> = Path::new("data");
const FROZEN: &str = "field is immutable when `immutable` is set";

pub(super) fn service_account(account: &ServiceAccount, errors: &mut Errors) {
    meta::create(&account.metadata, meta::IN_NAMESPACE, errors);
}

pub(super) fn config_map(map: &ConfigMap, errors: &mut Errors) {
    meta::create(&map.metadata, meta::IN_NAMESPACE, errors);
    config_map_data(map, errors);
}

fn config_map_data(map: &ConfigMap, errors: &mut Errors) {
    keys(map.data.as_ref(), &DATA, errors);
    for key in map.data.iter().flatten().map(|(key, _)| key) {
        if map.binary_data.as_ref().is_some_and(|b| b.contains_key(key)) {
            errors.invalid(&DATA.key(key), key, "duplicate of key present in binaryData");
        }
    }
    keys(map.binary_data.as_ref(), &Path::new("binaryData"), errors);
    let bytes = size(map.data.as_ref(), String::len) + size(map.binary_data.as_ref(), |b| b.0.len());
    if bytes > limits::DATA_BYTES_MAX {
        errors.too_long(&Path::ROOT, limits::DATA_BYTES_MAX);
    }
}

fn keys<V>(map: Option<&BTreeMap<String, V>>, path: &Path<'_>, errors: &mut Errors) {
    for key in map.into_iter().flatten().map(|(key, _)| key) {
        errors.invalid_each(&path.key(key), key, names::config_key(key));
    }
}

pub(super) fn update_config_map(new: &ConfigMap, old: &ConfigMap, errors: &mut Errors) {
    if old.immutable == Some(true) {
        frozen(new.immutable == Some(true), "immutable", errors);
        frozen(new.data == old.data, "data", errors);
        frozen(new.binary_data == old.binary_data, "binaryData", errors);
    }
    config_map_data(new, errors);
}

fn frozen(unchanged: bool, field: &str, errors: &mut Errors) {
    if !unchanged {
        errors.forbidden(&Path::new(field), FROZEN);
    }
}

pub(super) fn secret(secret: &Secret, errors: &mut Errors) {
    meta::create(&secret.metadata, meta::IN_NAMESPACE, errors);
    secret_data(secret, errors);
}

fn secret_data(secret: &Secret, errors: &mut Errors) {
    keys(secret.data.as_ref(), &DATA, errors);
    if size(secret.data.as_ref(), |b| b.0.len()) > limits::DATA_BYTES_MAX {
        errors.too_long(&DATA, limits::DATA_BYTES_MAX);
    }
    let value = |key: &str| secret.data.as_ref().and_then(|d| d.get(key)).map(|b| b.0.as_slice());
    let mut must_have = |key: &str| {
        if value(key).is_none() {
            errors.required(&DATA.key(key), "");
        }
    };
    match text(secret.type_.as_ref()) {
        "kubernetes.io/service-account-token" => account_named(secret, errors),
        "kubernetes.io/dockercfg" => json_in(".dockercfg", value(".dockercfg"), errors),
        "kubernetes.io/dockerconfigjson" => json_in(".dockerconfigjson", value(".dockerconfigjson"), errors),
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            must_have("username");
            must_have("password");
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(<[u8]>::is_empty) => {
            errors.required(&DATA.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            must_have("tls.crt");
            must_have("tls.key");
        }
        _ => {}
    }
}

fn account_named(secret: &Secret, errors: &mut Errors) {
    const ANNOTATION: &str = "kubernetes.io/service-account.name";
    let annotations = secret.metadata.annotations.as_ref();
    if annotations.and_then(|a| a.get(ANNOTATION)).is_none_or(String::is_empty) {
        let path = Path::new("metadata");
        errors.required(&path.child("annotations").key(ANNOTATION), "");
    }
}

fn json_in(key: &str, value: Option<&[u8]>, errors: &mut Errors) {
    match value {
        None => errors.required(&DATA.key(key), ""),
        Some(json) => {
            if let Err(error) = serde_json::from_slice::<Option<BTreeMap<String, serde::de::IgnoredAny>>>(json) {
                errors.invalid(&DATA.key(key), "<secret contents redacted>", &error.to_string());
            }
        }
    }
}

pub(super) fn update_secret(new: &Secret, old: &Secret, errors: &mut Errors) {
    immutable(&new.type_, &old.type_, &Path::new("type"), errors);
    if old.immutable == Some(true) {
        let same = |a: &Option<BTreeMap<String, ByteString>>, b: &Option<BTreeMap<String, ByteString>>| {
            a.iter().flatten().eq(b.iter().flatten())
        };
        frozen(new.immutable == Some(true), "immutable", errors);
        frozen(same(&new.data, &old.data), "data", errors);
    }
    secret_data(new, errors);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};

    use crate::validation::tests::{refused, refused_update};

    const META: &str = r#""metadata":{"name":"a","namespace":"n"}"#;

    #[test]
    fn data_has_keys_and_a_size() {
        for (body, expected) in [
            (r#""data":{"bad key":"x"}"#.to_owned(), &["data[bad key] Invalid"][..]),
            (r#""data":{"a":"x"},"binaryData":{"a":""}"#.to_owned(), &["data[a] Invalid"]),
            (format!(r#""data":{{"a":"{}"}}"#, "x".repeat(1 << 20 | 1)), &[" TooLong"]),
        ] {
            assert_eq!(refused::<ConfigMap>(&format!("{{{META},{body}}}")), expected);
        }
    }

    #[test]
    fn secrets_have_what_their_type_says() {
        for (body, expected) in [
            (r#""type":"kubernetes.io/tls","data":{}"#, &["data[tls.crt] Required", "data[tls.key] Required"][..]),
            (
                r#""type":"kubernetes.io/dockerconfigjson","stringData":{".dockerconfigjson":"{"}"#,
                &["data[.dockerconfigjson] Invalid"],
            ),
            (
                r#""type":"kubernetes.io/service-account-token""#,
                &["metadata.annotations[kubernetes.io/service-account.name] Required"],
            ),
            (r#""type":"kubernetes.io/dockercfg","stringData":{".dockercfg":"[]"}"#, &["data[.dockercfg] Invalid"]),
            (r#""type":"kubernetes.io/basic-auth","stringData":{"username":"u"}"#, &[]),
            (r#""type":"my/own""#, &[]),
        ] {
            assert_eq!(refused::<Secret>(&format!("{{{META},{body}}}")), expected, "{body}");
        }
    }

    #[test]
    fn what_is_frozen_stays() {
        let old = format!(r#"{{{META},"immutable":true,"data":{{"a":"MQ=="}}}}"#);
        let new = format!(r#"{{{META},"type":"other","data":{{"a":"Mg=="}}}}"#);
        assert_eq!(refused_update::<Secret>(&old, &old), [""; 0]);
        assert_eq!(refused_update::<Secret>(&old, &new), ["type Invalid", "immutable Forbidden", "data Forbidden"]);
    }
}
