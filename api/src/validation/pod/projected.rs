//! Volumes that are made of several sources, none of which may write where another does.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, PodCertificateProjection, ProjectedVolumeSource, ServiceAccountTokenProjection,
    VolumeProjection,
};

use super::volume::{downward, file, items, mode};
use crate::field::{Errors, Path};
use crate::validation::labels;
use crate::validation::rules::{required, required_one_of, text};

const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
const CERTIFICATE_SECONDS_MIN: i32 = 3600;
const CERTIFICATE_SECONDS_MAX: i32 = 91 * 24 * 3600;
const KEY_TYPES: [&str; 6] = ["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"];

pub(super) fn volume(volume: &ProjectedVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    mode(volume.default_mode, &path.child("defaultMode"), errors);
    let list = path.child("sources");
    let mut paths = HashSet::new();
    for (i, source) in volume.sources.iter().flatten().enumerate() {
        let source_path = list.index(i);
        if let Some(token) = &source.service_account_token {
            // Kubernetes tells of this file as if it were the volume.
            file(&token.path, &path.child("path"), errors);
        }
        let written = projection(source, &source_path, errors);
        for file in written.into_iter().filter(|file| !file.is_empty()) {
            if !paths.insert(file) {
                errors.invalid(path, file, "conflicting duplicate paths");
            }
        }
    }
}

/// Checks a source; where it writes files.
fn projection<'s>(source: &'s VolumeProjection, path: &Path<'_>, errors: &mut Errors) -> Vec<&'s str> {
    let (mut count, mut written) = (0, Vec::new());
    if let Some(secret) = &source.secret {
        count += 1;
        let path = path.child("secret");
        required(&secret.name, &path.child("name"), errors);
        items(secret.items.as_deref(), &path.child("items"), errors);
        written.extend(secret.items.iter().flatten().map(|item| item.path.as_str()));
    }
    if let Some(map) = &source.config_map {
        count += 1;
        let path = path.child("configMap");
        required(&map.name, &path.child("name"), errors);
        items(map.items.as_deref(), &path.child("items"), errors);
        written.extend(map.items.iter().flatten().map(|item| item.path.as_str()));
    }
    if let Some(api) = &source.downward_api {
        count += 1;
        let path = path.child("downwardAPI");
        downward(api.items.as_deref(), &path, errors);
        written.extend(api.items.iter().flatten().map(|item| item.path.as_str()));
    }
    if let Some(token) = &source.service_account_token {
        count += 1;
        token_seconds(token, &path.child("serviceAccountToken").child("expirationSeconds"), errors);
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        count += 1;
        trust_bundle(bundle, &path.child("clusterTrustBundle"), errors);
        written.push(&bundle.path);
    }
    if let Some(certificate) = &source.pod_certificate {
        count += 1;
        written.extend(pod_certificate(certificate, &path.child("podCertificate"), errors));
    }
    if count > 1 {
        errors.forbidden(path, "may not specify more than 1 volume type");
    }
    written
}

fn token_seconds(token: &ServiceAccountTokenProjection, path: &Path<'_>, errors: &mut Errors) {
    match token.expiration_seconds {
        Some(seconds) if seconds < TOKEN_SECONDS_MIN => {
            errors.invalid(path, &seconds, "may not specify a duration less than 10 minutes");
        }
        Some(seconds) if seconds > TOKEN_SECONDS_MAX => {
            errors.invalid(path, &seconds, "may not specify a duration larger than 2^32 seconds");
        }
        _ => {}
    }
}

fn trust_bundle(bundle: &ClusterTrustBundleProjection, path: &Path<'_>, errors: &mut Errors) {
    match (&bundle.name, &bundle.signer_name) {
        (Some(_), Some(_)) => errors.invalid(path, bundle, "only one of name and signerName may be used"),
        (Some(name), None) => {
            if name.is_empty() {
                errors.required(&path.child("name"), "must be a valid object name");
            }
            if let Some(selector) = &bundle.label_selector {
                let rule = "labelSelector must be unset if name is specified";
                errors.invalid(&path.child("labelSelector"), selector, rule);
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&path.child("signerName"), "must be a valid signer name");
            }
            labels::selector(bundle.label_selector.as_ref(), &path.child("labelSelector"), errors);
        }
        (None, None) => errors.required(path, "either name or signerName must be specified"),
    }
    file(&bundle.path, &path.child("path"), errors);
}

fn pod_certificate<'c>(
    certificate: &'c PodCertificateProjection,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Vec<&'c str> {
    required(&certificate.signer_name, &path.child("signerName"), errors);
    required_one_of(&certificate.key_type, &KEY_TYPES, &path.child("keyType"), errors);
    if let Some(seconds) = certificate.max_expiration_seconds {
        let path = path.child("maxExpirationSeconds");
        if seconds < CERTIFICATE_SECONDS_MIN {
            errors.invalid(&path, &seconds, "if provided, maxExpirationSeconds must be >= 3600");
        } else if seconds > CERTIFICATE_SECONDS_MAX {
            errors.invalid(&path, &seconds, "if provided, maxExpirationSeconds must be <= 7862400");
        }
    }
    let mut written = Vec::new();
    for (field, value) in [
        ("credentialBundlePath", &certificate.credential_bundle_path),
        ("keyPath", &certificate.key_path),
        ("certificateChainPath", &certificate.certificate_chain_path),
    ] {
        let value = text(value.as_ref());
        if !value.is_empty() {
            file(value, &path.child(field), errors);
            written.push(value);
        }
    }
    if written.is_empty() {
        let rule = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.required(path, rule);
    }
    written
}
