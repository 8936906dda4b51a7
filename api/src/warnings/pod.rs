//! What is said of pods and of the templates of them. Source: `pkg/api/pod/warnings.go`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, DownwardAPIVolumeFile, EnvVar, EphemeralContainer, KeyToPath, NodeSelectorTerm, Pod,
    PodAffinityTerm, PodSpec, PodTemplateSpec, ResourceRequirements, SecurityContext, Volume, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::settings::{self, ip};
use crate::field::Path;
use crate::names;
use crate::quantity;

const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Labels of nodes that are not to be used any more, and what is.
const OLD_LABELS: [(&str, &str); 8] = [
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
];
/// Annotations that do nothing any more, since when, and the fields that do.
const OLD_ANNOTATIONS: [(&str, &str, &str); 3] = [
    ("scheduler.alpha.kubernetes.io/critical-pod", "v1.16", "priorityClassName"),
    ("security.alpha.kubernetes.io/sysctls", "v1.11", "sysctls"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "v1.11", "sysctls"),
];

pub(super) fn pod(pod: &Pod, warnings: &mut Vec<String>) {
    if let Some(spec) = &pod.spec {
        Told { spec, meta: &pod.metadata, path: Path::ROOT, in_template: false, warnings }.all();
    }
}

pub(super) fn template(template: &PodTemplateSpec, path: &Path<'_>, warnings: &mut Vec<String>) {
    let Some(spec) = &template.spec else { return };
    let default = ObjectMeta::default();
    let meta = template.metadata.as_ref().unwrap_or(&default);
    Told { spec, meta, path: *path, in_template: true, warnings }.all();
}

struct Told<'t> {
    spec: &'t PodSpec,
    meta: &'t ObjectMeta,
    path: Path<'t>,
    in_template: bool,
    warnings: &'t mut Vec<String>,
}

/// What warnings are about in containers of any sort.
struct Seen<'c> {
    name: &'c str,
    env: &'c [EnvVar],
    ports: &'c [ContainerPort],
    resources: Option<&'c ResourceRequirements>,
    context: Option<&'c SecurityContext>,
}

impl<'c> Seen<'c> {
    fn of(container: &'c Container) -> Self {
        Self {
            name: &container.name,
            env: container.env.as_deref().unwrap_or_default(),
            ports: container.ports.as_deref().unwrap_or_default(),
            resources: container.resources.as_ref(),
            context: container.security_context.as_ref(),
        }
    }

    fn of_guest(guest: &'c EphemeralContainer) -> Self {
        Self {
            name: &guest.name,
            env: guest.env.as_deref().unwrap_or_default(),
            ports: guest.ports.as_deref().unwrap_or_default(),
            resources: guest.resources.as_ref(),
            context: guest.security_context.as_ref(),
        }
    }
}

impl Told<'_> {
    fn all(&mut self) {
        let root = self.path;
        let path = root.child("spec");
        self.where_it_runs(&path);
        self.annotations(&root);
        self.volumes(&path);
        self.lists(&path);
        fractions(self.spec.overhead.as_ref(), &path.child("overhead"), self.warnings);
        self.containers(&path);
        if self.spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
            let path = path.child("terminationGracePeriodSeconds");
            self.warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
        }
        self.affinities(&path.child("affinity"));
    }

    fn where_it_runs(&mut self, path: &Path<'_>) {
        let selector = path.child("nodeSelector");
        for key in self.spec.node_selector.iter().flat_map(|labels| labels.keys()) {
            if let Some(message) = old_label(key) {
                self.warnings.push(format!("{}: {message}", selector.key(key)));
            }
        }
        let affinity = path.child("affinity");
        let node_path = affinity.child("nodeAffinity");
        if let Some(node) = self.spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()) {
            if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
                let required_path = node_path.child(REQUIRED);
                let list = required_path.child("nodeSelectorTerms");
                for (i, term) in required.node_selector_terms.iter().enumerate() {
                    node_term(term, false, &list.index(i), self.warnings);
                }
            }
            let list = node_path.child(PREFERRED);
            for (i, term) in node.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
                node_term(&term.preference, true, &list.index(i).child("preference"), self.warnings);
            }
        }
        let list = path.child("topologySpreadConstraints");
        for (i, constraint) in self.spec.topology_spread_constraints.iter().flatten().enumerate() {
            let path = list.index(i);
            if let Some(message) = old_label(&constraint.topology_key) {
                let key = &constraint.topology_key;
                self.warnings.push(format!("{}: {key} is {message}", path.child("topologyKey")));
            }
            if constraint.label_selector.is_none() {
                self.warnings.push(format!("{}: {NO_SELECTOR}", path.child("labelSelector")));
            }
        }
    }

    fn has_annotation(&self, key: &str) -> bool {
        self.meta.annotations.as_ref().is_some_and(|all| all.contains_key(key))
    }

    fn annotations(&mut self, root: &Path<'_>) {
        let metadata = root.child("metadata");
        let path = metadata.child("annotations");
        for (key, since, field) in OLD_ANNOTATIONS {
            if self.has_annotation(key) {
                self.warnings
                    .push(format!("{}: non-functional in {since}+; use the \"{field}\" field instead", path.key(key)));
            }
        }
        let context = self.spec.security_context.as_ref();
        if context.is_none_or(|context| context.seccomp_profile.is_none()) && self.has_annotation(SECCOMP_POD) {
            self.seccomp(&path, SECCOMP_POD);
        }
    }

    fn seccomp(&mut self, path: &Path<'_>, key: &str) {
        self.warnings
            .push(format!("{}: non-functional in v1.27+; use the \"seccompProfile\" field instead", path.key(key)));
    }

    fn volumes(&mut self, path: &Path<'_>) {
        let list = path.child("volumes");
        for (i, volume) in self.spec.volumes.iter().flatten().enumerate() {
            for (field, set, since) in [
                ("photonPersistentDisk", volume.photon_persistent_disk.is_some(), "v1.11, non-functional in v1.16+"),
                ("gitRepo", volume.git_repo.is_some(), "v1.11"),
                ("scaleIO", volume.scale_io.is_some(), "v1.16, non-functional in v1.22+"),
                ("flocker", volume.flocker.is_some(), "v1.22, non-functional in v1.25+"),
                ("storageOS", volume.storageos.is_some(), "v1.22, non-functional in v1.25+"),
                ("quobyte", volume.quobyte.is_some(), "v1.22, non-functional in v1.25+"),
                ("glusterfs", volume.glusterfs.is_some(), "v1.25, non-functional in v1.26+"),
                ("cephfs", volume.cephfs.is_some(), "v1.28, non-functional in v1.31+"),
                ("rbd", volume.rbd.is_some(), "v1.28, non-functional in v1.31+"),
            ] {
                if set {
                    self.warnings.push(format!("{}: deprecated in {since}", list.index(i).child(field)));
                }
            }
            let volume_path = list.index(i);
            let path = volume_path.child("ephemeral");
            if let Some(template) = volume.ephemeral.as_ref().and_then(|own| own.volume_claim_template.as_ref()) {
                let path = path.child("volumeClaimTemplate");
                settings::claim(&template.spec, &path.child("spec"), self.warnings);
            }
        }
        self.spec.volumes.iter().flatten().for_each(|volume| overlaps(volume, self.warnings));
    }

    /// Lists whose elements should differ.
    fn lists(&mut self, path: &Path<'_>) {
        let list = path.child("hostAliases");
        let mut seen = BTreeSet::new();
        for (i, alias) in self.spec.host_aliases.iter().flatten().enumerate() {
            if !seen.insert(&alias.ip) {
                self.warnings.push(format!("{}: duplicate ip {:?}", list.index(i).child("ip"), alias.ip));
            }
            ip(&alias.ip, &list.index(i).child("ip"), self.warnings);
        }
        let config = path.child("dnsConfig");
        let list = config.child("nameservers");
        let servers = self.spec.dns_config.as_ref().and_then(|config| config.nameservers.as_deref());
        for (i, server) in servers.unwrap_or_default().iter().enumerate() {
            ip(server, &list.index(i), self.warnings);
        }
        let list = path.child("imagePullSecrets");
        let mut seen = BTreeSet::new();
        let secrets = self.spec.image_pull_secrets.as_deref().unwrap_or_default();
        for (i, secret) in secrets.iter().enumerate() {
            if !seen.insert(&secret.name) {
                self.warnings.push(format!("{}: duplicate name {:?}", list.index(i).child("name"), secret.name));
            }
        }
        for i in secrets.iter().enumerate().filter(|(_, secret)| secret.name.is_empty()).map(|(i, _)| i) {
            self.warnings.push(format!("{}: invalid empty name \"\"", list.index(i).child("name")));
        }
    }

    fn containers(&mut self, path: &Path<'_>) {
        let spec = self.spec;
        let init: Vec<_> = spec.init_containers.iter().flatten().map(Seen::of).collect();
        let own: Vec<_> = spec.containers.iter().map(Seen::of).collect();
        let guests: Vec<_> = spec.ephemeral_containers.iter().flatten().map(Seen::of_guest).collect();
        let all = [("initContainers", init), ("containers", own), ("ephemeralContainers", guests)];
        for (field, containers) in &all {
            let list = path.child(field);
            for (i, container) in containers.iter().enumerate() {
                self.container(container, &list.index(i));
            }
        }
        let mut ports: BTreeMap<String, Vec<(String, &ContainerPort)>> = BTreeMap::new();
        for (field, containers) in &all {
            let list = path.child(field);
            for (i, container) in containers.iter().enumerate() {
                let container_path = list.index(i);
                let list = container_path.child("ports");
                for (i, port) in container.ports.iter().enumerate() {
                    self.port(port, list.index(i).to_string(), &mut ports);
                }
            }
        }
    }

    fn container(&mut self, container: &Seen<'_>, path: &Path<'_>) {
        let root = self.path;
        let metadata = root.child("metadata");
        let annotations = metadata.child("annotations");
        let key = format!("{SECCOMP_CONTAINER}{}", container.name);
        if container.context.is_none_or(|context| context.seccomp_profile.is_none()) && self.has_annotation(&key) {
            self.seccomp(&annotations, &key);
        }
        let key = format!("{APP_ARMOR}{}", container.name);
        let of_pod = self.spec.security_context.as_ref().is_some_and(|context| context.app_armor_profile.is_some());
        let own = container.context.is_some_and(|context| context.app_armor_profile.is_some());
        if !(self.in_template && (of_pod || own)) && self.has_annotation(&key) {
            let rule = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
            self.warnings.push(format!("{}: {rule}", annotations.key(&key)));
        }
        let resources = path.child("resources");
        fractions(container.resources.and_then(|r| r.limits.as_ref()), &resources.child("limits"), self.warnings);
        fractions(container.resources.and_then(|r| r.requests.as_ref()), &resources.child("requests"), self.warnings);
        variables(container.env, &path.child("env"), self.warnings);
    }

    fn port<'p>(
        &mut self,
        port: &'p ContainerPort,
        path: String,
        all: &mut BTreeMap<String, Vec<(String, &'p ContainerPort)>>,
    ) {
        let host = |port: &ContainerPort| (port.host_ip.clone().unwrap_or_default(), port.host_port.unwrap_or(0));
        let (ip, number) = host(port);
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if !ip.is_empty() && number == 0 {
            let name = port.name.as_deref().unwrap_or_default();
            self.warnings.push(format!(
                "{path}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{} Protocol:{protocol} HostIP:{ip}}}",
                port.container_port
            ));
        }
        let others = all.entry(format!("{}/{protocol}", port.container_port)).or_default();
        for (other_path, other) in others.iter() {
            let (other_ip, other_number) = host(other);
            let what = if (&ip, number) == (&other_ip, other_number) {
                "duplicate"
            } else if number == 0 || other_number == 0 {
                "overlapping"
            } else if number == other_number && ip.is_empty() != other_ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            self.warnings.push(format!("{path}: {what} port definition with {other_path}"));
        }
        others.push((path, port));
    }

    fn affinities(&mut self, path: &Path<'_>) {
        let Some(affinity) = &self.spec.affinity else { return };
        if let Some(pods) = &affinity.pod_affinity {
            let path = path.child("podAffinity");
            let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
            let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
            terms(required.unwrap_or_default(), preferred.unwrap_or_default(), &path, self.warnings);
        }
        if let Some(pods) = &affinity.pod_anti_affinity {
            let path = path.child("podAntiAffinity");
            let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
            let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
            terms(required.unwrap_or_default(), preferred.unwrap_or_default(), &path, self.warnings);
        }
    }
}

fn terms(
    required: &[PodAffinityTerm],
    preferred: &[WeightedPodAffinityTerm],
    path: &Path<'_>,
    warnings: &mut Vec<String>,
) {
    let list = path.child(REQUIRED);
    for i in required.iter().enumerate().filter(|(_, term)| term.label_selector.is_none()).map(|(i, _)| i) {
        warnings.push(format!("{}: {NO_SELECTOR}", list.index(i).child("labelSelector")));
    }
    let list = path.child(PREFERRED);
    for (i, term) in preferred.iter().enumerate() {
        if term.pod_affinity_term.label_selector.is_none() {
            let path = list.index(i);
            warnings.push(format!("{}: {NO_SELECTOR}", path.child("podAffinityTerm").child("labelSelector")));
        }
    }
}

/// What is said of a label of nodes that is not to be used any more.
pub(super) fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, message)| *message)
}

/// The labels that a term asks for; whether what no label can be is told of too.
pub(super) fn node_term(term: &NodeSelectorTerm, with_values: bool, path: &Path<'_>, warnings: &mut Vec<String>) {
    let list = path.child("matchExpressions");
    for (i, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let path = list.index(i);
        if let Some(message) = old_label(&requirement.key) {
            warnings.push(format!("{}: {} is {message}", path.child("key"), requirement.key));
        }
        let list = path.child("values");
        for (i, value) in requirement.values.iter().flatten().enumerate().filter(|_| with_values) {
            for wrong in names::label_value(value) {
                warnings.push(format!("{}: {value} is invalid, {wrong}", list.index(i)));
            }
        }
    }
}

/// Bytes are whole.
fn fractions(list: Option<&BTreeMap<String, Quantity>>, path: &Path<'_>, warnings: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        let Some(text) = list.and_then(|list| list.get(name)) else { continue };
        if !quantity::parse_or_zero(Some(text)).is_whole() {
            warnings.push(format!(
                "{}: fractional byte value {:?} is invalid, must be an integer",
                path.key(name),
                text.0
            ));
        }
    }
}

/// A variable that is defined again hides the one before, unless it is made of it.
fn variables(variables: &[EnvVar], list: &Path<'_>, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (i, variable) in variables.iter().enumerate() {
        let name = &variable.name;
        let before = format!("$({name})");
        let value = variable.value.as_deref().unwrap_or_default();
        let hides = variable.value_from.is_some() || value == before || !value.contains(&before);
        if !seen.insert(name) && hides {
            warnings.push(format!(
                "{}: hides previous definition of {name:?}, which may be dropped when using apply",
                list.index(i)
            ));
        }
    }
}

/// Files of one volume that are where other files of it are.
fn overlaps(volume: &Volume, warnings: &mut Vec<String>) {
    let name = &volume.name;
    if let Some(map) = &volume.config_map {
        let what = format!("volume {name:?} (ConfigMap {:?}): overlapping paths", map.name);
        overlap(&of_keys(map.items.as_deref()), &what, warnings);
    }
    if let Some(secret) = &volume.secret {
        let own = secret.secret_name.as_deref().unwrap_or_default();
        let what = format!("volume {name:?} (Secret {own:?}): overlapping paths");
        overlap(&of_keys(secret.items.as_deref()), &what, warnings);
    }
    if let Some(api) = &volume.downward_api {
        let what = format!("volume {name:?} (DownwardAPI): overlapping paths");
        overlap(&of_fields(api.items.as_deref()), &what, warnings);
    }
    let mut all: BTreeSet<&str> = BTreeSet::new();
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        let (paths, what) = if let Some(map) = &source.config_map {
            (of_keys(map.items.as_deref()), format!("ConfigMap {:?}", map.name))
        } else if let Some(secret) = &source.secret {
            (of_keys(secret.items.as_deref()), format!("Secret {:?}", secret.name))
        } else if let Some(api) = &source.downward_api {
            (of_fields(api.items.as_deref()), "DownwardAPI".to_owned())
        } else if let Some(token) = &source.service_account_token {
            (vec![token.path.as_str()], "ServiceAccountToken".to_owned())
        } else if let Some(bundle) = &source.cluster_trust_bundle {
            let own = bundle.name.as_ref().or(bundle.signer_name.as_ref()).map(String::as_str).unwrap_or_default();
            (vec![bundle.path.as_str()], format!("ClusterTrustBundle {own:?}"))
        } else if source.pod_certificate.is_some() {
            continue;
        } else {
            warnings.push(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        };
        let what = format!("volume {name:?} (Projected {what}): overlapping paths");
        overlap(&paths, &what, warnings);
        let mut sorted: Vec<&str> = paths.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let own = sorted.clone();
        sorted.extend(&all);
        sorted.sort_unstable();
        overlap(&sorted, &what, warnings);
        all.extend(own);
    }
}

fn of_keys(items: Option<&[KeyToPath]>) -> Vec<&str> {
    items.unwrap_or_default().iter().map(|item| item.path.as_str()).collect()
}

fn of_fields(items: Option<&[DownwardAPIVolumeFile]>) -> Vec<&str> {
    items.unwrap_or_default().iter().map(|item| item.path.as_str()).collect()
}

fn overlap(paths: &[&str], what: &str, warnings: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for path in paths.iter().map(|path| path.trim_end_matches('/')) {
        let over = |other: &&&str| {
            !other.is_empty()
                && !path.is_empty()
                && (format!("{other}/").starts_with(path) || format!("{path}/").starts_with(**other))
        };
        if let Some(other) = seen.iter().find(over) {
            warnings.push(format!("{what}: {path:?} with {other:?}"));
        }
        seen.push(path);
    }
}
