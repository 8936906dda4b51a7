//! As whom containers of Windows run, and containers that run as the host itself.

use k8s_openapi::api::core::v1::{PodSpec, WindowsSecurityContextOptions};

use super::each::each_container;
use crate::field::{Errors, Path};
use crate::names;

const CREDENTIAL_BYTES_MAX: usize = 64 * 1024;
const DOMAIN_BYTES_MAX: usize = 256;
const USER_BYTES_MAX: usize = 104;
const NET_BIOS_CHARS_MAX: usize = 15;

pub(super) fn options(options: Option<&WindowsSecurityContextOptions>, path: &Path<'_>, errors: &mut Errors) {
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        errors.invalid_each(&path.child("gmsaCredentialSpecName"), name, names::dns_subdomain(name));
    }
    if let Some(credential) = &options.gmsa_credential_spec {
        let path = path.child("gmsaCredentialSpec");
        if credential.is_empty() {
            errors.invalid(&path, credential, "gmsaCredentialSpec cannot be an empty string");
        } else if credential.len() > CREDENTIAL_BYTES_MAX {
            errors.invalid(&path, credential, "gmsaCredentialSpec size must be under 64 KiB");
        }
    }
    if let Some(user) = &options.run_as_user_name {
        errors.invalid_each(&path.child("runAsUserName"), user, user_name(user));
    }
}

/// `user`, or `DOMAIN\\user`
fn user_name(name: &str) -> Vec<String> {
    let only = |rule: &str| vec![format!("runAsUserName {rule}")];
    if name.is_empty() {
        return only("cannot be an empty string");
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return only("cannot contain control characters");
    }
    let (domain, user) = match name.split('\\').collect::<Vec<_>>()[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return only("cannot contain more than one backslash"),
    };
    let mut wrong = Vec::new();
    let mut check = |is_wrong: bool, rule: &str| {
        if is_wrong {
            wrong.push(format!("runAsUserName's {rule}"));
        }
    };
    let long = domain.is_some_and(|domain| domain.len() >= DOMAIN_BYTES_MAX);
    check(long, "Domain length must be under 256 characters");
    let named = domain.is_none_or(|domain| is_net_bios(domain) || is_dns(domain));
    check(!named, "Domain doesn't match the NetBios nor the DNS format");
    check(user.is_empty(), "User cannot be empty");
    check(user.len() > USER_BYTES_MAX, "User length must not be longer than 104 characters");
    let blank = !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' '));
    check(blank, "User cannot contain only periods or spaces");
    let odd = user.contains(|c| "\"/\\:;|=,+*?<>@[]".contains(c));
    check(odd, "User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    wrong
}

fn is_net_bios(domain: &str) -> bool {
    let odd = |c: char| "\\/:*?\"<>|".contains(c);
    (1..=NET_BIOS_CHARS_MAX).contains(&domain.chars().count()) && !domain.starts_with('.') && !domain.contains(odd)
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| names::dns_label(&label.to_lowercase()).is_empty())
}

/// Of the containers of a pod either all are processes of the host, or none.
pub(super) fn host_processes(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let of_pod = spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref()?.host_process);
    let (mut all, mut of_host) = (0, 0);
    each_container(spec, path, &mut |container, path| {
        let own = container.context.and_then(|context| context.windows_options.as_ref()?.host_process);
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            let rule = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            let path = path.child("securityContext");
            errors.invalid(&path.child("windowsOptions").child("hostProcess"), &own, &rule);
        }
        all += 1;
        of_host += i32::from(own.or(of_pod) == Some(true));
    });
    if of_host == 0 {
        return;
    }
    if of_host != all {
        let rule = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(path, "", rule);
    }
    if spec.host_network != Some(true) {
        let rule = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&path.child("hostNetwork"), &false, rule);
    }
}
