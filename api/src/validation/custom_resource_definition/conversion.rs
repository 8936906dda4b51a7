//! How objects of one version become those of another.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinitionSpec, ServiceReference, WebhookClientConfig,
};

use super::rules;
use crate::field::{Errors, Path};
use crate::names;

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

fn client(config: &WebhookClientConfig, path: &Path<'_>, errors: &mut Errors) {
    match (&config.url, &config.service) {
        (Some(url), None) => webhook_url(url, &path.child("url"), errors),
        (None, Some(service)) => webhook_service(service, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

/// Source: `k8s.io/apiserver/pkg/util/webhook`.
fn webhook_url(url: &str, path: &Path<'_>, errors: &mut Errors) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return errors.invalid(
            path,
            url,
            "'https' is the only allowed URL scheme; desired format: https://host[/path]",
        );
    };
    if scheme != "https" {
        errors.invalid(path, scheme, "'https' is the only allowed URL scheme; desired format: https://host[/path]");
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() {
        errors.invalid(path, host, "host must be specified; desired format: https://host[/path]");
    }
    if authority.contains('@') {
        errors.invalid(path, "", "user information is not permitted in the URL");
    }
    if tail.contains('#') {
        errors.invalid(path, tail, "fragments are not permitted in the URL");
    }
    if tail.contains('?') {
        errors.invalid(path, tail, "query parameters are not permitted in the URL");
    }
}

fn webhook_service(service: &ServiceReference, path: &Path<'_>, errors: &mut Errors) {
    rules::required(&service.name, &path.child("name"), errors);
    rules::required(&service.namespace, &path.child("namespace"), errors);
    let port = service.port.unwrap_or(443);
    let wrong = names::port_number(port);
    if !wrong.is_empty() {
        errors.invalid(&path.child("port"), &port, &format!("port is not valid: {}", wrong.join(",")));
    }
    let Some(url_path) = service.path.as_deref().filter(|p| !p.is_empty()) else { return };
    let path = path.child("path");
    if url_path == "/" {
        return;
    }
    if !url_path.starts_with('/') {
        errors.invalid(&path, url_path, "must start with a '/'");
    }
    let segments: Vec<&str> = url_path.trim_start_matches('/').split('/').collect();
    for (i, segment) in segments.iter().enumerate() {
        if segment.is_empty() {
            if i + 1 < segments.len() {
                errors.invalid(&path, url_path, &format!("segment[{i}] may not be empty"));
            }
            continue;
        }
        for wrong in names::dns_subdomain(segment) {
            errors.invalid(&path, url_path, &format!("segment[{i}]: {wrong}"));
        }
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
