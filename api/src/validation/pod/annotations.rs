//! What annotations of pods mean to Kubernetes, and what of it fields say too. Source: `ValidatePodSpecificAnnotations`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::each::each_container;
use crate::field::{Errors, Path};
use crate::validation::rules::{relative_path, text};

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const LOCALHOST: &str = "localhost/";

/// Whether the pod is one that its kubelet shows, and did not get from here.
pub(super) fn is_mirror(meta: &ObjectMeta) -> bool {
    said(meta, MIRROR).is_some()
}

fn said<'m>(meta: &'m ObjectMeta, key: &str) -> Option<&'m str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn check(meta: Option<&ObjectMeta>, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    for (key, value) in meta.and_then(|meta| meta.annotations.as_ref()).into_iter().flatten() {
        if key == MIRROR && text(spec.node_name.as_ref()).is_empty() {
            errors.invalid(&path.key(key), value, "must set spec.nodeName if mirror pod annotation is set");
        } else if key == DELETION_COST && !is_cost(value) {
            errors.invalid(&path.key(key), value, "must be a 32bit integer");
        } else if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp(value, &path.child(key), errors);
        } else if let Some(container) = key.strip_prefix(APP_ARMOR) {
            app_armor(container, value, spec, &path.key(key), errors);
        }
    }
}

/// A number without a plus or leading zeros.
fn is_cost(value: &str) -> bool {
    value.parse::<i32>().is_ok() && !value.starts_with('+') && (value == "0" || !value.starts_with('0'))
}

fn seccomp(profile: &str, path: &Path<'_>, errors: &mut Errors) {
    match profile.strip_prefix(LOCALHOST) {
        Some(file) => relative_path(file, path, errors),
        None if matches!(profile, "runtime/default" | "docker/default" | "unconfined") => {}
        None => errors.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

fn app_armor(container: &str, profile: &str, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let mut found = false;
    each_container(spec, path, &mut |own, _| found |= own.name == container);
    if !found {
        errors.invalid(path, container, "container not found");
    }
    if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with(LOCALHOST) {
        errors.invalid(path, profile, &format!("invalid AppArmor profile name: {profile:?}"));
    }
}

/// Annotations that stay as they were when the pod was created.
pub(super) fn update(new: &ObjectMeta, old: &ObjectMeta, path: &Path<'_>, errors: &mut Errors) {
    let empty = BTreeMap::new();
    let (now, before) = (new.annotations.as_ref().unwrap_or(&empty), old.annotations.as_ref().unwrap_or(&empty));
    let what = |key: &str| match key {
        MIRROR => Some("mirror pod annotation"),
        key if key.starts_with(APP_ARMOR) => Some("AppArmor annotations"),
        _ => None,
    };
    for (key, what) in before.keys().filter_map(|key| Some((key, what(key)?))) {
        if now.get(key) != before.get(key) {
            errors.forbidden(&path.key(key), &format!("may not remove or update {what}"));
        }
    }
    for (key, what) in now.keys().filter_map(|key| Some((key, what(key)?))) {
        if !before.contains_key(key) {
            errors.forbidden(&path.key(key), &format!("may not add {what}"));
        }
    }
}

/// What is said in an annotation and in a field is said the same.
pub(super) fn agree(meta: Option<&ObjectMeta>, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(meta) = meta.filter(|meta| meta.annotations.is_some()) else { return };
    let of_pod = spec.security_context.as_ref();
    if let Some((noted, profile)) =
        said(meta, SECCOMP_POD).zip(of_pod.and_then(|context| context.seccomp_profile.as_ref()))
    {
        let path = path.child("securityContext");
        same(noted, &Profile::of_seccomp(profile), &path.child("seccompProfile"), errors);
    }
    let is_windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    each_container(spec, path, &mut |container, path| {
        let path = path.child("securityContext");
        let noted = said(meta, &format!("{SECCOMP_CONTAINER}{}", container.name));
        let profile = container.context.and_then(|context| context.seccomp_profile.as_ref());
        if let Some((noted, profile)) = noted.zip(profile) {
            same(noted, &Profile::of_seccomp(profile), &path.child("seccompProfile"), errors);
        }
        let noted = said(meta, &format!("{APP_ARMOR}{}", container.name)).filter(|_| !is_windows);
        let own = container.context.and_then(|context| context.app_armor_profile.as_ref());
        let profile = own.or_else(|| of_pod.and_then(|context| context.app_armor_profile.as_ref()));
        if let Some((noted, profile)) = noted.zip(profile) {
            same(noted, &Profile::of_app_armor(profile), &path.child("appArmorProfile"), errors);
        }
    });
}

/// A profile as a field has it.
struct Profile<'p> {
    type_: &'p str,
    localhost: Option<&'p str>,
    what: &'static str,
}

impl<'p> Profile<'p> {
    fn of_seccomp(profile: &'p SeccompProfile) -> Self {
        Self { type_: &profile.type_, localhost: profile.localhost_profile.as_deref(), what: "seccomp" }
    }

    fn of_app_armor(profile: &'p AppArmorProfile) -> Self {
        Self { type_: &profile.type_, localhost: profile.localhost_profile.as_deref(), what: "apparmor" }
    }
}

fn same(noted: &str, profile: &Profile<'_>, path: &Path<'_>, errors: &mut Errors) {
    let what = profile.what;
    let type_agrees = match profile.type_ {
        "Unconfined" => noted == "unconfined",
        "RuntimeDefault" => noted == "runtime/default" || (what == "seccomp" && noted == "docker/default"),
        "Localhost" => noted.starts_with(LOCALHOST),
        _ => true,
    };
    if !type_agrees {
        errors.forbidden(&path.child("type"), &format!("{what} type in annotation and field must match"));
    } else if profile.type_ == "Localhost" && noted.strip_prefix(LOCALHOST) != profile.localhost {
        let rule = format!("{what} profile in annotation and field must match");
        errors.forbidden(&path.child("localhostProfile"), &rule);
    }
}
