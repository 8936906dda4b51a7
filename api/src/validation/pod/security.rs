//! As whom containers run, and what they may do.

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, SecurityContext};

use crate::field::{Errors, Path};
use crate::validation::rules::{between, one_of_if_set, required_one_of, text, unique};

const ID_MAX: i64 = i32::MAX as i64;

fn id(value: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(value) = value {
        between(value, 0, ID_MAX, path, errors);
    }
}

pub(super) fn pod(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(context) = &spec.security_context else { return };
    id(context.fs_group, &path.child("fsGroup"), errors);
    id(context.run_as_user, &path.child("runAsUser"), errors);
    id(context.run_as_group, &path.child("runAsGroup"), errors);
    let list = path.child("supplementalGroups");
    for (i, group) in context.supplemental_groups.iter().flatten().enumerate() {
        between(*group, 0, ID_MAX, &list.index(i), errors);
    }
    let list = path.child("sysctls");
    let sysctls = context.sysctls.as_deref().unwrap_or_default();
    for (i, sysctl) in sysctls.iter().enumerate() {
        let path = list.index(i);
        if sysctl.name.is_empty() {
            errors.required(&path.child("name"), "");
        }
    }
    unique(sysctls, |s| Some(s.name.clone()), &list, Some("name"), errors);
    one_of_if_set(
        context.fs_group_change_policy.as_ref(),
        &["Always", "OnRootMismatch"],
        &path.child("fsGroupChangePolicy"),
        errors,
    );
    one_of_if_set(
        context.supplemental_groups_policy.as_ref(),
        &["Merge", "Strict"],
        &path.child("supplementalGroupsPolicy"),
        errors,
    );
    profiles(context.seccomp_profile.as_ref(), context.app_armor_profile.as_ref(), path, errors);
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let rule = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), &true, rule);
    }
}

pub(super) fn container(context: Option<&SecurityContext>, path: &Path<'_>, errors: &mut Errors) {
    let Some(context) = context else { return };
    id(context.run_as_user, &path.child("runAsUser"), errors);
    id(context.run_as_group, &path.child("runAsGroup"), errors);
    one_of_if_set(context.proc_mount.as_ref(), &["Default", "Unmasked"], &path.child("procMount"), errors);
    profiles(context.seccomp_profile.as_ref(), context.app_armor_profile.as_ref(), path, errors);
    if context.allow_privilege_escalation == Some(false) {
        let added = context.capabilities.iter().flat_map(|c| c.add.iter().flatten());
        if context.privileged == Some(true) {
            errors.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if added.into_iter().any(|c| c == "CAP_SYS_ADMIN") {
            let rule = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, context, rule);
        }
    }
}

fn profiles(
    seccomp: Option<&SeccompProfile>,
    app_armor: Option<&AppArmorProfile>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if let Some(profile) = seccomp {
        one_profile(&profile.type_, text(profile.localhost_profile.as_ref()), &path.child("seccompProfile"), errors);
    }
    if let Some(profile) = app_armor {
        one_profile(&profile.type_, text(profile.localhost_profile.as_ref()), &path.child("appArmorProfile"), errors);
    }
}

/// A profile of the node's is named; the others are not.
fn one_profile(type_: &str, localhost: &str, path: &Path<'_>, errors: &mut Errors) {
    required_one_of(type_, &["Localhost", "RuntimeDefault", "Unconfined"], &path.child("type"), errors);
    let path = path.child("localhostProfile");
    match (type_, localhost) {
        ("Localhost", "") => errors.required(&path, "must be set when type is Localhost"),
        ("Localhost", _) | (_, "") => {}
        _ => errors.invalid(&path, localhost, "can only be set when type is Localhost"),
    }
}
