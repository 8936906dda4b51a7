//! The checks of the standards: one function each, and the table that says of which level and since when.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Lifecycle, PodSpec, Probe, SELinuxOptions, SecurityContext, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Level, Standard, Version, Violation};

/// A check, and the minor version since which it stands.
struct Check {
    level: Level,
    since: u32,
    /// Since when a check of the restricted level takes the place of this one of the baseline.
    replaced: Option<u32>,
    run: fn(&Subject<'_>) -> Option<Violation>,
}

const fn baseline(since: u32, replaced: Option<u32>, run: fn(&Subject<'_>) -> Option<Violation>) -> Check {
    Check { level: Level::Baseline, since, replaced, run }
}

const fn restricted(since: u32, run: fn(&Subject<'_>) -> Option<Violation>) -> Check {
    Check { level: Level::Restricted, since, replaced: None, run }
}

/// Each level's in the order of upstream's names for them, which is the order in which a pod is told of them.
static ALL: [Check; 19] = [
    baseline(0, None, app_armor),
    baseline(0, Some(22), capabilities_added),
    baseline(0, None, host_namespaces),
    baseline(0, Some(0), host_paths),
    baseline(0, None, host_ports),
    baseline(34, None, hosts_of_probes),
    baseline(0, None, privileged),
    baseline(0, Some(35), proc_mount),
    baseline(0, None, se_linux),
    baseline(0, Some(19), seccomp_baseline),
    baseline(0, None, sysctls),
    baseline(0, None, host_process),
    restricted(8, privilege_escalation),
    restricted(22, capabilities_dropped),
    restricted(35, masked_proc_mount),
    restricted(0, volume_types),
    restricted(0, non_root),
    restricted(23, user_zero),
    restricted(19, seccomp_restricted),
];

/// How a pod falls short of a standard.
pub(super) fn of(standard: Standard, meta: &ObjectMeta, spec: &PodSpec) -> Vec<Violation> {
    let Version(version) = standard.version;
    let subject = Subject { meta, spec, version, containers: seen(spec) };
    let stands = |check: &&Check| {
        let is_replaced = standard.level == Level::Restricted && check.replaced.is_some_and(|since| since <= version);
        check.level <= standard.level && check.since <= version && !is_replaced
    };
    ALL.iter().filter(stands).filter_map(|check| (check.run)(&subject)).collect()
}

/// A pod that is looked at, and by the standards of when.
struct Subject<'p> {
    meta: &'p ObjectMeta,
    spec: &'p PodSpec,
    version: u32,
    containers: Vec<Seen<'p>>,
}

/// What the checks look at of a container of any kind.
struct Seen<'p> {
    name: &'p str,
    security: Option<&'p SecurityContext>,
    ports: &'p [ContainerPort],
    probes: [Option<&'p Probe>; 3],
    lifecycle: Option<&'p Lifecycle>,
}

/// Every container: those of the initialization, the pod's own, those to look into it.
fn seen(spec: &PodSpec) -> Vec<Seen<'_>> {
    let own = spec.init_containers.iter().flatten().chain(&spec.containers).map(of_container);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| Seen {
        name: &container.name,
        security: container.security_context.as_ref(),
        ports: container.ports.as_deref().unwrap_or_default(),
        probes: [
            container.liveness_probe.as_ref(),
            container.readiness_probe.as_ref(),
            container.startup_probe.as_ref(),
        ],
        lifecycle: container.lifecycle.as_ref(),
    });
    own.chain(ephemeral).collect()
}

fn of_container(container: &Container) -> Seen<'_> {
    Seen {
        name: &container.name,
        security: container.security_context.as_ref(),
        ports: container.ports.as_deref().unwrap_or_default(),
        probes: [
            container.liveness_probe.as_ref(),
            container.readiness_probe.as_ref(),
            container.startup_probe.as_ref(),
        ],
        lifecycle: container.lifecycle.as_ref(),
    }
}

impl<'p> Subject<'p> {
    /// The names of the containers of which this holds.
    fn those(&self, is_bad: impl Fn(&Seen<'p>) -> bool) -> Vec<&'p str> {
        self.containers.iter().filter(|container| is_bad(container)).map(|container| container.name).collect()
    }

    /// The security contexts of the containers, with their names.
    fn contexts(&self) -> impl Iterator<Item = (&'p str, &'p SecurityContext)> {
        self.containers.iter().filter_map(|container| Some((container.name, container.security?)))
    }

    /// Whether the pod is one for Windows, which some checks do not know since they do.
    fn is_windows(&self) -> bool {
        self.version >= 25 && self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }

    /// Whether the pod has users of its own, none of which is one of the host's.
    fn has_own_users(&self) -> bool {
        self.version >= 35 && self.spec.host_users == Some(false)
    }
}

fn violation(reason: &'static str, detail: String) -> Option<Violation> {
    Some(Violation { reason, detail })
}

/// `"a", "b"`
fn quoted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `containers "a", "b"`
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names))
}

const fn plural<'w>(count: usize, one: &'w str, several: &'w str) -> &'w str {
    if count == 1 { one } else { several }
}

/// Who sets what must not be: `pod and container "a"`.
fn setters(pod: bool, bad: &[&str]) -> Vec<String> {
    let own = pod.then(|| "pod".to_owned());
    own.into_iter().chain((!bad.is_empty()).then(|| containers(bad))).collect()
}

fn app_armor(subject: &Subject<'_>) -> Option<Violation> {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let is_bad = |type_: &str| !matches!(type_, "RuntimeDefault" | "Localhost");
    let mut values = BTreeSet::new();
    let own = subject.spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    let own = own.map(|profile| profile.type_.as_str()).filter(|type_| is_bad(type_));
    values.extend(own);
    let mut bad = Vec::new();
    for (name, context) in subject.contexts() {
        if let Some(type_) = context.app_armor_profile.as_ref().map(|p| p.type_.as_str()).filter(|t| is_bad(t)) {
            bad.push(name);
            values.insert(type_);
        }
    }
    let mut setters = setters(own.is_some(), &bad);
    let annotations = subject.meta.annotations.iter().flatten().filter(|(key, value)| {
        let is_fine = value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
        key.starts_with(ANNOTATION) && !is_fine
    });
    let mut annotations: Vec<String> = annotations.map(|(key, value)| format!("{key}={value:?}")).collect();
    annotations.sort();
    if !annotations.is_empty() {
        setters.push(plural(annotations.len(), "annotation", "annotations").to_owned());
    }
    let values: Vec<String> = values.into_iter().map(str::to_owned).chain(annotations).collect();
    if setters.is_empty() {
        return None;
    }
    violation(
        plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles"),
        format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(&values)),
    )
}

fn capabilities_added(subject: &Subject<'_>) -> Option<Violation> {
    const FINE: [&str; 13] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let (bad, added) = adding(subject, &FINE);
    if bad.is_empty() {
        return None;
    }
    violation("non-default capabilities", must_not_add(&bad, &added))
}

/// Who adds other capabilities than these, and which.
fn adding<'p>(subject: &Subject<'p>, fine: &[&str]) -> (Vec<&'p str>, BTreeSet<&'p str>) {
    let (mut bad, mut all) = (Vec::new(), BTreeSet::new());
    for (name, context) in subject.contexts() {
        let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        let added: Vec<&str> = added.map(String::as_str).filter(|one| !fine.contains(one)).collect();
        if !added.is_empty() {
            bad.push(name);
            all.extend(added);
        }
    }
    (bad, all)
}

fn must_not_add(bad: &[&str], added: &BTreeSet<&str>) -> String {
    format!("{} must not include {} in securityContext.capabilities.add", containers(bad), quoted(added))
}

fn host_namespaces(subject: &Subject<'_>) -> Option<Violation> {
    let spec = subject.spec;
    let shared =
        [(spec.host_network, "hostNetwork=true"), (spec.host_pid, "hostPID=true"), (spec.host_ipc, "hostIPC=true")];
    let shared: Vec<&str> = shared.into_iter().filter(|(is, _)| *is == Some(true)).map(|(_, told)| told).collect();
    if shared.is_empty() { None } else { violation("host namespaces", shared.join(", ")) }
}

fn host_paths(subject: &Subject<'_>) -> Option<Violation> {
    let volumes = subject.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let names: Vec<&str> = volumes.map(|volume| volume.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    violation("hostPath volumes", format!("{} {}", plural(names.len(), "volume", "volumes"), quoted(&names)))
}

fn host_ports(subject: &Subject<'_>) -> Option<Violation> {
    let of = |container: &Seen<'_>| -> Vec<String> {
        let ports = container.ports.iter().filter_map(|port| port.host_port.filter(|port| *port != 0));
        ports.map(|port| port.to_string()).collect()
    };
    let bad = subject.those(|container| !of(container).is_empty());
    // In the order of their text, as upstream has them.
    let ports: BTreeSet<String> = subject.containers.iter().flat_map(of).collect();
    if bad.is_empty() {
        return None;
    }
    let (uses, word) = (plural(bad.len(), "uses", "use"), plural(ports.len(), "hostPort", "hostPorts"));
    let ports = ports.into_iter().collect::<Vec<_>>().join(", ");
    violation("hostPort", format!("{} {uses} {word} {ports}", containers(&bad)))
}

fn hosts_of_probes(subject: &Subject<'_>) -> Option<Violation> {
    let of = |container: &Seen<'_>| -> Vec<String> {
        let probes = container.probes.into_iter().flatten();
        let probes = probes.map(|probe| (probe.http_get.as_ref(), probe.tcp_socket.as_ref()));
        let hooks = container.lifecycle.map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop]);
        let hooks = hooks.into_iter().flatten().flatten();
        let hooks = hooks.map(|hook| (hook.http_get.as_ref(), hook.tcp_socket.as_ref()));
        let hosts = probes
            .chain(hooks)
            .flat_map(|(http, tcp)| [http.and_then(|http| http.host.clone()), tcp.and_then(|tcp| tcp.host.clone())]);
        hosts.flatten().filter(|host| !host.is_empty()).collect()
    };
    let bad: BTreeSet<&str> = subject.those(|container| !of(container).is_empty()).into_iter().collect();
    let hosts: BTreeSet<String> = subject.containers.iter().flat_map(of).collect();
    if bad.is_empty() {
        return None;
    }
    let bad: Vec<&str> = bad.into_iter().collect();
    let uses = plural(bad.len(), "uses", "use");
    let word = plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts");
    violation("probe or lifecycle host", format!("{} {uses} {word} {}", containers(&bad), quoted(&hosts)))
}

fn privileged(subject: &Subject<'_>) -> Option<Violation> {
    let bad = subject.those(|container| container.security.is_some_and(|context| context.privileged == Some(true)));
    if bad.is_empty() {
        return None;
    }
    violation("privileged", format!("{} must not set securityContext.privileged=true", containers(&bad)))
}

fn proc_mount(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() { None } else { masked_proc_mount(subject) }
}

fn masked_proc_mount(subject: &Subject<'_>) -> Option<Violation> {
    let (mut bad, mut types) = (Vec::new(), BTreeSet::new());
    for (name, context) in subject.contexts() {
        if let Some(type_) = context.proc_mount.as_deref().filter(|type_| *type_ != "Default") {
            bad.push(name);
            types.insert(type_);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted(&types));
    violation("procMount", detail)
}

fn se_linux(subject: &Subject<'_>) -> Option<Violation> {
    let is_fine = |type_: &str| match type_ {
        "" | "container_t" | "container_init_t" | "container_kvm_t" => true,
        "container_engine_t" => subject.version >= 31,
        _ => false,
    };
    let said = |text: Option<&String>| text.is_some_and(|text| !text.is_empty());
    let type_of = |options: &SELinuxOptions| options.type_.clone().unwrap_or_default();
    let is_bad = |options: &SELinuxOptions| {
        !is_fine(&type_of(options)) || said(options.user.as_ref()) || said(options.role.as_ref())
    };
    let own = subject.spec.security_context.as_ref().and_then(|context| context.se_linux_options.as_ref());
    let of = |container: &Seen<'_>| container.security.and_then(|context| context.se_linux_options.clone());
    let bad = subject.those(|container| of(container).as_ref().is_some_and(is_bad));
    let setters = setters(own.is_some_and(is_bad), &bad);
    if setters.is_empty() {
        return None;
    }
    let all: Vec<SELinuxOptions> = own.cloned().into_iter().chain(subject.containers.iter().filter_map(of)).collect();
    let types: BTreeSet<String> = all.iter().map(type_of).filter(|type_| !is_fine(type_)).collect();
    let mut wrong = Vec::new();
    // Upstream tells of users and roles only beside a type.
    if !types.is_empty() {
        wrong.push(format!("{} {}", plural(types.len(), "type", "types"), quoted(&types)));
        if all.iter().any(|options| said(options.user.as_ref())) {
            wrong.push("user may not be set".to_owned());
        }
        if all.iter().any(|options| said(options.role.as_ref())) {
            wrong.push("role may not be set".to_owned());
        }
    }
    let detail =
        format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.join(" and "), wrong.join("; "));
    violation("seLinuxOptions", detail)
}

fn is_fine_seccomp(type_: &str) -> bool {
    matches!(type_, "RuntimeDefault" | "Localhost")
}

fn seccomp_baseline(subject: &Subject<'_>) -> Option<Violation> {
    if subject.version < 19 { seccomp_annotations(subject) } else { bad_seccomp(subject) }
}

fn seccomp_annotations(subject: &Subject<'_>) -> Option<Violation> {
    const OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let is_fine =
        |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let annotation = |key: &str| subject.meta.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let keys = subject.containers.iter().map(|container| format!("{OF_CONTAINER}{}", container.name));
    let keys = std::iter::once(OF_POD.to_owned()).chain(keys);
    let bad: BTreeSet<String> = keys
        .filter_map(|key| annotation(&key).filter(|value| !is_fine(value)).map(|value| format!("{key}={value:?}")))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let word = plural(bad.len(), "annotation", "annotations");
    violation("seccompProfile", format!("forbidden {word} {}", bad.into_iter().collect::<Vec<_>>().join(", ")))
}

/// Profiles that are set, and must not be.
fn bad_seccomp(subject: &Subject<'_>) -> Option<Violation> {
    let own = subject.spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    let own = own.map(|profile| profile.type_.as_str()).filter(|type_| !is_fine_seccomp(type_));
    let (mut bad, mut values) = (Vec::new(), BTreeSet::from_iter(own));
    for (name, context) in subject.contexts() {
        let type_ = context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str());
        if let Some(type_) = type_.filter(|type_| !is_fine_seccomp(type_)) {
            bad.push(name);
            values.insert(type_);
        }
    }
    let setters = setters(own.is_some(), &bad);
    if setters.is_empty() {
        return None;
    }
    let setters = setters.join(" and ");
    violation(
        "seccompProfile",
        format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted(&values)),
    )
}

fn seccomp_restricted(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_windows() {
        return None;
    }
    if let Some(bad) = bad_seccomp(subject) {
        return Some(bad);
    }
    let own = subject.spec.security_context.as_ref().is_some_and(|context| context.seccomp_profile.is_some());
    let unsaid =
        subject.those(|container| !own && container.security.is_none_or(|context| context.seccomp_profile.is_none()));
    if unsaid.is_empty() {
        return None;
    }
    violation(
        "seccompProfile",
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&unsaid)
        ),
    )
}

/// The sysctls that are safe, and since when they are held to be.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(subject: &Subject<'_>) -> Option<Violation> {
    let is_safe = |name: &str| SYSCTLS.iter().any(|(safe, since)| *safe == name && *since <= subject.version);
    let own = subject.spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    let bad: Vec<&str> = own.map(|sysctl| sysctl.name.as_str()).filter(|name| !is_safe(name)).collect();
    if bad.is_empty() { None } else { violation("forbidden sysctls", bad.join(", ")) }
}

fn host_process(subject: &Subject<'_>) -> Option<Violation> {
    let own = subject.spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    let bad = subject.those(|container| {
        let options = container.security.and_then(|context| context.windows_options.as_ref());
        options.is_some_and(|options| options.host_process == Some(true))
    });
    let setters = setters(own.is_some_and(|options| options.host_process == Some(true)), &bad);
    if setters.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and "));
    violation("hostProcess", detail)
}

fn privilege_escalation(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_windows() {
        return None;
    }
    let bad = subject
        .those(|container| container.security.is_none_or(|context| context.allow_privilege_escalation != Some(false)));
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
    violation("allowPrivilegeEscalation != false", detail)
}

fn capabilities_dropped(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_windows() {
        return None;
    }
    let keeps = |container: &Seen<'_>| {
        let capabilities = container.security.and_then(|context| context.capabilities.as_ref());
        let dropped = capabilities.and_then(|capabilities| capabilities.drop.as_deref()).unwrap_or_default();
        !dropped.iter().any(|one| one == "ALL")
    };
    let keeping = subject.those(keeps);
    let (bad, added) = adding(subject, &["NET_BIND_SERVICE"]);
    let mut wrong = Vec::new();
    if !keeping.is_empty() {
        wrong.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !bad.is_empty() {
        wrong.push(must_not_add(&bad, &added));
    }
    if wrong.is_empty() { None } else { violation("unrestricted capabilities", wrong.join("; ")) }
}

/// What a volume is made of, where that is not for everybody.
fn restricted_type(volume: &Volume) -> Option<&'static str> {
    let is_fine = volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some();
    let types = [
        (volume.host_path.is_some(), "hostPath"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.rbd.is_some(), "rbd"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.cinder.is_some(), "cinder"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.flocker.is_some(), "flocker"),
        (volume.fc.is_some(), "fc"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk"),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
    ];
    let type_ = types.into_iter().find(|(is, _)| *is).map_or("unknown", |(_, type_)| type_);
    (!is_fine).then_some(type_)
}

fn volume_types(subject: &Subject<'_>) -> Option<Violation> {
    let volumes = subject.spec.volumes.iter().flatten();
    let bad: Vec<(&str, &str)> =
        volumes.filter_map(|volume| Some((volume.name.as_str(), restricted_type(volume)?))).collect();
    if bad.is_empty() {
        return None;
    }
    let types: BTreeSet<&str> = bad.iter().map(|(_, type_)| *type_).collect();
    let (word, uses) = (plural(bad.len(), "volume", "volumes"), plural(bad.len(), "uses", "use"));
    let kinds = plural(types.len(), "restricted volume type", "restricted volume types");
    let names = quoted(bad.iter().map(|(name, _)| name));
    violation("restricted volume types", format!("{word} {names} {uses} {kinds} {}", quoted(&types)))
}

fn non_root(subject: &Subject<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    if subject.has_own_users() {
        return None;
    }
    let own = subject.spec.security_context.as_ref().and_then(|context| context.run_as_non_root);
    let of = |container: &Seen<'_>| container.security.and_then(|context| context.run_as_non_root);
    let setters = setters(own == Some(false), &subject.those(|container| of(container) == Some(false)));
    if !setters.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and "));
        return violation(REASON, detail);
    }
    let unsaid = subject.those(|container| own != Some(true) && of(container).is_none());
    if unsaid.is_empty() {
        return None;
    }
    violation(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&unsaid)))
}

fn user_zero(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() {
        return None;
    }
    let own = subject.spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let bad = subject.those(|container| container.security.is_some_and(|context| context.run_as_user == Some(0)));
    let setters = setters(own == Some(0), &bad);
    if setters.is_empty() {
        return None;
    }
    violation("runAsUser=0", format!("{} must not set runAsUser=0", setters.join(" and ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::core::v1::Pod;

    use super::super::{Version, details};
    use super::*;
    use crate::object::Object;

    /// How a pod with this spec falls short.
    fn told(level: Level, version: u32, meta: &str, spec: &str) -> String {
        let pod = Pod::decode(format!(r#"{{"metadata":{{{meta}}},"spec":{spec}}}"#).as_bytes()).unwrap();
        details(&of(Standard { level, version: Version(version) }, &pod.metadata, &pod.spec.unwrap()))
    }

    #[test]
    fn the_baseline_keeps_pods_from_the_host() {
        let latest = u32::MAX;
        for (spec, expected) in [
            (r#"{"containers":[{"name":"a"}]}"#, ""),
            (
                r#"{"containers":[],"hostNetwork":true,"hostIPC":true}"#,
                "host namespaces (hostNetwork=true, hostIPC=true)",
            ),
            (
                r#"{"containers":[{"name":"a","securityContext":{"privileged":true}},{"name":"b","securityContext":{"privileged":true}}]}"#,
                r#"privileged (containers "a", "b" must not set securityContext.privileged=true)"#,
            ),
            (
                r#"{"containers":[{"name":"a","securityContext":{"capabilities":{"add":["NET_RAW","CHOWN","BPF"]}}}]}"#,
                r#"non-default capabilities (container "a" must not include "BPF", "NET_RAW" in securityContext.capabilities.add)"#,
            ),
            (
                r#"{"containers":[],"volumes":[{"name":"v","hostPath":{"path":"/"}}]}"#,
                r#"hostPath volumes (volume "v")"#,
            ),
            (
                r#"{"initContainers":[{"name":"i","ports":[{"containerPort":1,"hostPort":80},{"containerPort":2,"hostPort":443}]}],"containers":[{"name":"a","ports":[{"containerPort":1,"hostPort":80}]}]}"#,
                r#"hostPort (containers "i", "a" use hostPorts 443, 80)"#,
            ),
            (
                r#"{"containers":[{"name":"a","livenessProbe":{"httpGet":{"port":1,"host":"h"}},"lifecycle":{"preStop":{"tcpSocket":{"port":1,"host":"g"}}}}]}"#,
                r#"probe or lifecycle host (container "a" uses probe or lifecycle hosts "g", "h")"#,
            ),
            (
                r#"{"containers":[{"name":"a","securityContext":{"procMount":"Unmasked"}}]}"#,
                r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#,
            ),
            (r#"{"hostUsers":false,"containers":[{"name":"a","securityContext":{"procMount":"Unmasked"}}]}"#, ""),
            (
                r#"{"securityContext":{"seLinuxOptions":{"type":"x","user":"u"}},"containers":[{"name":"a","securityContext":{"seLinuxOptions":{"type":"container_engine_t","role":"r"}}}]}"#,
                r#"seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: type "x"; user may not be set; role may not be set)"#,
            ),
            (
                r#"{"securityContext":{"seccompProfile":{"type":"Unconfined"}},"containers":[{"name":"a"}]}"#,
                r#"seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#,
            ),
            (
                r#"{"securityContext":{"sysctls":[{"name":"a.b","value":"1"},{"name":"net.ipv4.tcp_rmem","value":"1"}]},"containers":[]}"#,
                "forbidden sysctls (a.b)",
            ),
            (
                r#"{"securityContext":{"windowsOptions":{"hostProcess":true}},"hostNetwork":true,"containers":[{"name":"a"}]}"#,
                "host namespaces (hostNetwork=true), hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
            ),
            (
                r#"{"securityContext":{"appArmorProfile":{"type":"Unconfined"}},"containers":[{"name":"a"}]}"#,
                r#"forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")"#,
            ),
        ] {
            assert_eq!(told(Level::Baseline, latest, "", spec), expected, "{spec}");
            assert_eq!(told(Level::Privileged, latest, "", spec), "", "{spec}");
        }
        let meta = r#""annotations":{"container.apparmor.security.beta.kubernetes.io/a":"unconfined","container.apparmor.security.beta.kubernetes.io/b":"runtime/default"}"#;
        assert_eq!(
            told(Level::Baseline, latest, meta, r#"{"containers":[]}"#),
            "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
             \"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\")"
        );
    }

    #[test]
    fn restricted_pods_say_that_they_are() {
        let latest = u32::MAX;
        let good = r#""securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}"#;
        for (spec, expected) in [
            (
                r#"{"containers":[{"name":"a"}]}"#.to_owned(),
                "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
                 unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
                 runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
                 seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
            ),
            (format!(r#"{{"containers":[{{"name":"a",{good}}}]}}"#), ""),
            (
                format!(r#"{{"securityContext":{{"runAsUser":0,"runAsNonRoot":false}},"containers":[{{"name":"a",{good}}}]}}"#),
                "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0)",
            ),
            (
                format!(r#"{{"hostUsers":false,"securityContext":{{"runAsUser":0}},"containers":[{{"name":"a",{good}}}]}}"#),
                "",
            ),
            (
                format!(
                    r#"{{"containers":[{{"name":"a",{good}}}],"volumes":[{{"name":"h","hostPath":{{"path":"/"}}}},{{"name":"n","nfs":{{"server":"s","path":"/"}}}},{{"name":"e","emptyDir":{{}}}},{{"name":"i","image":{{}}}}]}}"#
                ),
                "restricted volume types (volumes \"h\", \"n\" use restricted volume types \"hostPath\", \"nfs\")",
            ),
            (
                r#"{"os":{"name":"windows"},"securityContext":{"runAsNonRoot":true},"containers":[{"name":"a"}]}"#.to_owned(),
                "",
            ),
            (
                r#"{"hostUsers":false,"os":{"name":"windows"},"containers":[{"name":"a","securityContext":{"procMount":"Unmasked"}}]}"#.to_owned(),
                "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
            ),
        ] {
            assert_eq!(told(Level::Restricted, latest, "", &spec), expected, "{spec}");
        }
    }

    #[test]
    fn older_standards_are_as_they_were() {
        let probe = r#"{"containers":[{"name":"a","livenessProbe":{"httpGet":{"port":1,"host":"h"}}}]}"#;
        let sysctl = r#"{"securityContext":{"sysctls":[{"name":"net.ipv4.tcp_rmem","value":"1"}]},"containers":[]}"#;
        let engine = r#"{"securityContext":{"seLinuxOptions":{"type":"container_engine_t"}},"containers":[]}"#;
        let unmasked = r#"{"hostUsers":false,"containers":[{"name":"a","securityContext":{"procMount":"Unmasked"}}]}"#;
        for (spec, since) in [(probe, 34), (sysctl, 32), (engine, 31), (unmasked, 35)] {
            let (before, then) = (told(Level::Baseline, since - 1, "", spec), told(Level::Baseline, since, "", spec));
            assert!(before.is_empty() != then.is_empty(), "{spec}: {before:?} {then:?}");
        }
        let bare = r#"{"containers":[{"name":"a"}]}"#;
        assert_eq!(told(Level::Restricted, 7, "", bare).matches('(').count(), 1);
        assert_eq!(told(Level::Restricted, 21, "", bare).matches('(').count(), 3);
        let meta = r#""annotations":{"seccomp.security.alpha.kubernetes.io/pod":"unconfined"}"#;
        assert_eq!(
            told(Level::Baseline, 18, meta, bare),
            r#"seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#
        );
        assert_eq!(told(Level::Baseline, 19, meta, bare), "");
    }
}
