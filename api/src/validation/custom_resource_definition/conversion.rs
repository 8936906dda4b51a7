//! How objects of one version become those of another.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::ServiceReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec, WebhookClientConfig,
};

use super::rules;
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::admission::webhook;

/// The versions of `ConversionReview` that are understood.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

pub(super) fn validate(spec: &CustomResourceDefinitionSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(conversion) = &spec.conversion else { return };
    let strategy = path.child("strategy");
    if conversion.strategy != "None" && spec.preserve_unknown_fields == Some(true) {
        errors.invalid(&strategy, &conversion.strategy, "must be None if spec.preserveUnknownFields is true");
    }
    rules::required_one_of(&conversion.strategy, &["None", "Webhook"], &strategy, errors);
    let config = conversion.webhook.as_ref().and_then(|w| w.client_config.as_ref());
    let reviews = conversion.webhook.as_ref().map(|w| w.conversion_review_versions.as_slice()).unwrap_or_default();
    let (config_path, reviews_path) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if conversion.strategy == "Webhook" {
        match config {
            None => errors.required(&config_path, "required when strategy is set to Webhook"),
            Some(config) => client(config, &config_path, errors),
        }
        review_versions(reviews, &reviews_path, errors);
    } else {
        let rule = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            errors.forbidden(&config_path, rule);
        }
        if !reviews.is_empty() {
            errors.forbidden(&reviews_path, rule);
        }
    }
}

/// The certificates by which the conversion is trusted, if it says any.
#[must_use]
pub fn ca_bundle(definition: &CustomResourceDefinition) -> Option<&[u8]> {
    let config = definition.spec.conversion.as_ref()?.webhook.as_ref()?.client_config.as_ref()?;
    config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice()).filter(|bundle| !bundle.is_empty())
}

/// Whether these are certificates, as text.
#[must_use]
pub fn is_ca_bundle(bundle: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bundle);
    text.split_once("-----BEGIN CERTIFICATE-----").is_some_and(|(_, rest)| rest.contains("-----END CERTIFICATE-----"))
}

/// A definition that is established is not given certificates that are none.
pub(super) fn validate_bundle(definition: &CustomResourceDefinition, path: &Path<'_>, errors: &mut Errors) {
    if let Some(bundle) = ca_bundle(definition).filter(|bundle| !is_ca_bundle(bundle)) {
        let rule = "unable to load root certificates: unable to parse bytes as PEM block";
        let config = path.child("webhookClientConfig");
        errors.invalid(&config.child("caBundle"), &STANDARD.encode(bundle), rule);
    }
}

fn client(config: &WebhookClientConfig, path: &Path<'_>, errors: &mut Errors) {
    match (&config.url, &config.service) {
        (Some(url), None) => webhook::url(url, &path.child("url"), errors),
        (None, Some(service)) => {
            // Upstream asks for the one under the other's name.
            let asked = ServiceReference {
                name: service.namespace.clone(),
                namespace: service.name.clone(),
                path: service.path.clone(),
                port: service.port,
            };
            webhook::service(&asked, &path.child("service"), errors);
        }
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn review_versions(versions: &[String], path: &Path<'_>, errors: &mut Errors) {
    if versions.is_empty() {
        return errors.required(path, "");
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            errors.invalid(&path.index(i), version, "duplicate version");
        } else {
            errors.invalid_each(&path.index(i), version, names::dns_1035_label(version));
        }
    }
    if !versions.iter().any(|v| REVIEWS.contains(&v.as_str())) {
        errors.invalid(path, versions, &format!("must include at least one of {}", REVIEWS.join(", ")));
    }
}
