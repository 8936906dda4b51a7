//! What pods of one operating system cannot have because it is of another.

use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SecurityContext};

use super::each::each_container;
use crate::field::{Errors, Path};

pub(super) fn check(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(os) = &spec.os else { return };
    let os_path = path.child("os");
    match os.name.as_str() {
        "" => errors.required(&os_path.child("name"), ""),
        "linux" => linux(spec, path, errors),
        "windows" => windows(spec, path, errors),
        other => errors.not_supported(&os_path, other, &["linux", "windows"]),
    }
}

fn refuse(fields: &[(&str, bool)], os: &str, path: &Path<'_>, errors: &mut Errors) {
    for (field, _) in fields.iter().filter(|(_, set)| *set) {
        errors.forbidden(&path.child(field), &format!("cannot be set for a {os} pod"));
    }
}

fn linux(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(context) = &spec.security_context {
        refuse(
            &[("windowsOptions", context.windows_options.is_some())],
            "linux",
            &path.child("securityContext"),
            errors,
        );
    }
    each_context(spec, path, errors, &|context, path, errors| {
        refuse(&[("windowsOptions", context.windows_options.is_some())], "linux", path, errors);
    });
}

fn windows(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    refuse(
        &[
            ("hostPID", spec.host_pid == Some(true)),
            ("hostIPC", spec.host_ipc == Some(true)),
            ("hostUsers", spec.host_users.is_some()),
            ("shareProcessNamespace", spec.share_process_namespace.is_some()),
        ],
        "windows",
        path,
        errors,
    );
    if let Some(context) = &spec.security_context {
        refuse(&of_pod(context), "windows", &path.child("securityContext"), errors);
    }
    each_context(spec, path, errors, &|context, path, errors| {
        refuse(&of_container(context), "windows", path, errors);
    });
}

fn of_pod<'f>(context: &PodSecurityContext) -> [(&'f str, bool); 11] {
    [
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("fsGroup", context.fs_group.is_some()),
        ("fsGroupChangePolicy", context.fs_group_change_policy.is_some()),
        ("sysctls", context.sysctls.as_ref().is_some_and(|all| !all.is_empty())),
        ("runAsUser", context.run_as_user.is_some()),
        ("runAsGroup", context.run_as_group.is_some()),
        ("supplementalGroups", context.supplemental_groups.is_some()),
        ("supplementalGroupsPolicy", context.supplemental_groups_policy.is_some()),
        ("seLinuxChangePolicy", context.se_linux_change_policy.is_some()),
    ]
}

fn of_container<'f>(context: &SecurityContext) -> [(&'f str, bool); 10] {
    [
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("capabilities", context.capabilities.is_some()),
        ("readOnlyRootFilesystem", context.read_only_root_filesystem.is_some()),
        ("privileged", context.privileged.is_some()),
        ("allowPrivilegeEscalation", context.allow_privilege_escalation.is_some()),
        ("procMount", context.proc_mount.is_some()),
        ("runAsUser", context.run_as_user.is_some()),
        ("runAsGroup", context.run_as_group.is_some()),
    ]
}

type Rule<'r> = &'r dyn Fn(&SecurityContext, &Path<'_>, &mut Errors);

/// Calls `rule` with what each container may do, of containers of all sorts.
fn each_context(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors, rule: Rule<'_>) {
    each_container(spec, path, &mut |container, path| {
        if let Some(context) = container.context {
            rule(context, &path.child("securityContext"), errors);
        }
    });
}
