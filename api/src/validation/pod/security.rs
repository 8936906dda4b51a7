//! As whom containers run, and what they may do.

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, SecurityContext};

use super::each::each_container;
use super::windows;
use crate::field::{Errors, Path};
use crate::validation::rules::{between, named, one_of_if_set, relative_path, required_one_of, unique};

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
const APP_ARMOR_BYTES_MAX: usize = 4095;
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
        named(&sysctl.name, sysctl_name, &path.child("name"), errors);
        for (shared, prefixes) in
            [("hostNetwork", &["net."][..]), ("hostIPC", &["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."][..])]
        {
            let set = if shared == "hostNetwork" { spec.host_network } else { spec.host_ipc };
            let name = sysctl.name.replace('/', ".");
            if set == Some(true) && prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                let rule = format!("may not be specified when '{shared}' is set to true");
                errors.invalid(&path.child("name"), &sysctl.name, &rule);
            }
        }
    }
    unique(sysctls, |s| Some(s.name.clone()), &list, Some("name"), errors);
    let changes = ["Always", "OnRootMismatch"];
    one_of_if_set(context.fs_group_change_policy.as_ref(), &changes, &path.child("fsGroupChangePolicy"), errors);
    let groups = ["Merge", "Strict"];
    let groups_path = path.child("supplementalGroupsPolicy");
    one_of_if_set(context.supplemental_groups_policy.as_ref(), &groups, &groups_path, errors);
    // To mount with a label is behind a gate that is closed.
    let policy = context.se_linux_change_policy.as_ref();
    one_of_if_set(policy, &["Recursive"], &path.child("seLinuxChangePolicy"), errors);
    profiles(context.seccomp_profile.as_ref(), context.app_armor_profile.as_ref(), path, errors);
    windows::options(context.windows_options.as_ref(), &path.child("windowsOptions"), errors);
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let rule = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), &true, rule);
    }
}

/// A pod with users of its own shares nothing of the host's. Kubernetes writes two of these fields with capital letters.
pub(super) fn host_users(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    const RULE: &str = "when `hostUsers` is false";
    if spec.host_users != Some(false) {
        return;
    }
    for (field, shared) in [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)]
    {
        if shared == Some(true) {
            errors.forbidden(&path.child(field), RULE);
        }
    }
    each_container(spec, path, &mut |container, path| {
        if container.has_devices {
            errors.forbidden(&path.child("volumeDevices"), RULE);
        }
    });
}

/// `net.ipv4.tcp_syncookies`, or with slashes.
fn sysctl_name(name: &str) -> Vec<String> {
    const BYTES_MAX: usize = 253;
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |segment: &str| {
        let (first, last) = (segment.bytes().next(), segment.bytes().last());
        first.is_some_and(inner)
            && last.is_some_and(inner)
            && segment.bytes().all(|b| inner(b) || matches!(b, b'-' | b'_'))
    };
    if name.len() <= BYTES_MAX && name.split(['.', '/']).all(segment) {
        return Vec::new();
    }
    vec![format!(
        "must have at most {BYTES_MAX} characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9]$"
    )]
}

pub(super) fn container(context: Option<&SecurityContext>, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(context) = context else { return };
    id(context.run_as_user, &path.child("runAsUser"), errors);
    id(context.run_as_group, &path.child("runAsGroup"), errors);
    one_of_if_set(context.proc_mount.as_ref(), &["Default", "Unmasked"], &path.child("procMount"), errors);
    profiles(context.seccomp_profile.as_ref(), context.app_armor_profile.as_ref(), path, errors);
    windows::options(context.windows_options.as_ref(), &path.child("windowsOptions"), errors);
    if context.proc_mount.as_deref() == Some("Unmasked") && spec.host_users != Some(false) {
        errors.invalid(&path.child("procMount"), "Unmasked", "`hostUsers` must be false to use `Unmasked`");
    }
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
        let path = path.child("seccompProfile");
        required_one_of(&profile.type_, &PROFILES, &path.child("type"), errors);
        let path = path.child("localhostProfile");
        match (profile.type_.as_str(), &profile.localhost_profile) {
            ("Localhost", None) => errors.required(&path, "must be set when seccomp type is Localhost"),
            ("Localhost", Some(name)) => relative_path(name, &path, errors),
            (_, Some(_)) => errors.invalid(&path, profile, "can only be set when seccomp type is Localhost"),
            (_, None) => {}
        }
    }
    if let Some(profile) = app_armor {
        self::app_armor(profile, &path.child("appArmorProfile"), errors);
    }
}

/// A profile of the node's is named; the others are not.
fn app_armor(profile: &AppArmorProfile, path: &Path<'_>, errors: &mut Errors) {
    required_one_of(&profile.type_, &PROFILES, &path.child("type"), errors);
    let path = path.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => errors.required(&path, "must be set when AppArmor type is Localhost"),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(&path, name, "must not be padded with whitespace");
            }
            if name.len() > APP_ARMOR_BYTES_MAX {
                errors.too_long(&path, APP_ARMOR_BYTES_MAX);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(&path, name, "can only be set when AppArmor type is Localhost");
        }
        _ => {}
    }
}
