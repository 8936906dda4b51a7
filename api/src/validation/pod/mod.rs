//! Pods and the templates of them.

mod annotations;
mod claims;
mod container;
mod devices;
mod each;
mod env;
mod ephemeral;
mod os;
mod projected;
mod resize;
mod resources;
mod scheduling;
mod security;
mod status;
mod storage;
mod update;
mod volume;
mod windows;

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, PodSpec, PodTemplate, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::rules::{between, named_if_set, one_of_if_set, required_one_of, text};
use super::{Validate, ip, labels, meta};
use crate::field::{Errors, Path};
use crate::names;

impl Validate for Pod {
    fn validate(&self, errors: &mut Errors) {
        create(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update(self, old, errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        status::update(self, old, errors);
    }
}

pub(super) use scheduling::{node_terms, tolerations};
/// A template of pods on its own.
impl Validate for PodTemplate {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        template(self.template.as_ref().unwrap_or(&PodTemplateSpec::default()), &Path::new("template"), errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        template(self.template.as_ref().unwrap_or(&PodTemplateSpec::default()), &Path::new("template"), errors);
    }
}

pub use resize::update_resize;
pub(super) use update::update;
pub use update::update_ephemeral_containers;

const METADATA: Path<'static> = Path::new("metadata");
const SPEC: Path<'static> = Path::new("spec");
const HOSTNAME_BYTES_MAX: usize = 64;
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;

pub(super) fn create(pod: &Pod, errors: &mut Errors) {
    meta::create(&pod.metadata, meta::IN_NAMESPACE, errors);
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    own_spec(&pod.metadata, spec, errors);
    if spec.ephemeral_containers.as_ref().is_some_and(|guests| !guests.is_empty()) {
        errors.forbidden(&SPEC.child("ephemeralContainers"), "cannot be set on create");
    }
    if !scheduling::gates(spec).is_empty() && !text(spec.node_name.as_ref()).is_empty() {
        errors.forbidden(&SPEC.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    annotations::agree(Some(&pod.metadata), spec, &SPEC, errors);
}

/// What a pod's own spec is held to, and its annotations, whenever it is written.
fn own_spec(meta: &ObjectMeta, spec: &PodSpec, errors: &mut Errors) {
    annotations::check(Some(meta), spec, &METADATA.child("annotations"), errors);
    self::spec(spec, Some(meta), &SPEC, errors);
    if text(spec.service_account_name.as_ref()).is_empty() {
        tokens_of_nobody(spec, errors);
    }
    container::images(spec, &SPEC, errors);
}

/// Tokens are an account's.
fn tokens_of_nobody(spec: &PodSpec, errors: &mut Errors) {
    let list = SPEC.child("volumes");
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = list.index(i);
        let path = path.child("projected");
        let list = path.child("sources");
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (i, _) in sources.enumerate().filter(|(_, source)| source.service_account_token.is_some()) {
            let rule = "must not be specified when serviceAccountName is not set";
            errors.forbidden(&list.index(i).child("serviceAccountToken"), rule);
        }
    }
}

pub(super) fn template(template: &PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    meta::template(template.metadata.as_ref(), path, errors);
    let default = PodSpec::default();
    let template_spec = template.spec.as_ref().unwrap_or(&default);
    annotations::check(template.metadata.as_ref(), template_spec, &path.child("annotations"), errors);
    let spec_path = path.child("spec");
    spec(template_spec, None, &spec_path, errors);
    annotations::agree(template.metadata.as_ref(), template_spec, &spec_path, errors);
    if template_spec.ephemeral_containers.as_ref().is_some_and(|c| !c.is_empty()) {
        errors.forbidden(&spec_path.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

/// The rules of a pod's spec, with the metadata of the pod, or of a template's, without any.
fn spec(spec: &PodSpec, pod: Option<&ObjectMeta>, path: &Path<'_>, errors: &mut Errors) {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let claims = spec.resource_claims.as_deref().unwrap_or_default();
    let around = container::Around {
        spec,
        volumes: volume::volumes(volumes, pod, &path.child("volumes"), errors),
        claimed: claims.iter().map(|claim| claim.name.as_str()).filter(|name| !name.is_empty()).collect(),
    };
    if !claims.is_empty() && pod.is_some_and(annotations::is_mirror) {
        errors.forbidden(&Path::ROOT, "static pods do not support resource claims");
    } else {
        claims::of_pod(claims, &path.child("resourceClaims"), errors);
    }
    container::all(&around, path, errors);
    resources::of_pod(spec, &path.child("resources"), errors);
    container::ports_of_host(spec, pod.is_none(), path, errors);
    let policies = ["Always", "OnFailure", "Never"];
    required_one_of(text(spec.restart_policy.as_ref()), &policies, &path.child("restartPolicy"), errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    required_one_of(text(spec.dns_policy.as_ref()), &policies, &path.child("dnsPolicy"), errors);
    labels::labels(spec.node_selector.as_ref(), &path.child("nodeSelector"), errors);
    security::pod(spec, &path.child("securityContext"), errors);
    scheduling::affinity(spec.affinity.as_ref(), &path.child("affinity"), errors);
    dns(spec, &path.child("dnsConfig"), errors);
    scheduling::all(spec, path, errors);
    windows::host_processes(spec, path, errors);
    security::host_users(spec, path, errors);
    hostname_override(spec, &path.child("hostnameOverride"), errors);
    names_of_others(spec, path, errors);
    if let Some(seconds) = spec.active_deadline_seconds {
        between(seconds, 1, i32::MAX.into(), &path.child("activeDeadlineSeconds"), errors);
    }
    named_if_set(spec.hostname.as_ref(), names::dns_label, &path.child("hostname"), errors);
    named_if_set(spec.subdomain.as_ref(), names::dns_label, &path.child("subdomain"), errors);
    host_aliases(spec, &path.child("hostAliases"), errors);
    let preemption = ["PreemptLowerPriority", "Never"];
    one_of_if_set(spec.preemption_policy.as_ref(), &preemption, &path.child("preemptionPolicy"), errors);
    if let Some(overhead) = &spec.overhead {
        resources::overhead(overhead, &path.child("overhead"), errors);
    }
    os::check(spec, path, errors);
    files_of_variables(spec, path, errors);
}

fn names_of_others(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    for (field, value) in [
        ("serviceAccountName", &spec.service_account_name),
        ("nodeName", &spec.node_name),
        ("priorityClassName", &spec.priority_class_name),
    ] {
        named_if_set(value.as_ref(), names::dns_subdomain, &path.child(field), errors);
    }
    if let Some(class) = &spec.runtime_class_name {
        errors.invalid_each(&path.child("runtimeClassName"), class, names::dns_subdomain(class));
    }
}

/// A hostname that is said outright leaves nothing for others to say.
fn hostname_override(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(name) = &spec.hostname_override else { return };
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.forbidden(path, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.host_network == Some(true) {
        errors.forbidden(path, "may not be specified when hostNetwork is true");
    }
    if name.len() > HOSTNAME_BYTES_MAX {
        errors.too_long(path, HOSTNAME_BYTES_MAX);
    }
    errors.invalid_each(path, name, names::dns_subdomain(name));
}

/// A file that has variables is in a volume of the pod's own.
fn files_of_variables(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    each::each_container(spec, path, &mut |container, path| {
        let list = path.child("env");
        for (i, variable) in container.env.iter().enumerate() {
            let Some(file) = variable.value_from.as_ref().and_then(|from| from.file_key_ref.as_ref()) else { continue };
            let variable_path = list.index(i);
            let path = variable_path.child("valueFrom");
            let path = path.child("fileKeyRef");
            let name = path.child("volumeName");
            match spec.volumes.iter().flatten().find(|volume| volume.name == file.volume_name) {
                None => errors.not_found(&name, &file.volume_name),
                Some(volume) if volume.empty_dir.is_none() => {
                    errors.invalid(&name, &file.volume_name, "referenced volume must be of type emptyDir");
                }
                Some(_) => {}
            }
        }
    });
}

fn dns(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let config = spec.dns_config.as_ref();
    let is_none = spec.dns_policy.as_deref() == Some("None");
    if is_none && config.is_none() {
        errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
    } else if is_none && config.is_some_and(|config| config.nameservers.as_ref().is_none_or(Vec::is_empty)) {
        let rule = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.required(&path.child("nameservers"), rule);
    } else if let Some(config) = config {
        dns_config(config, path, errors);
    }
}

fn dns_config(config: &PodDNSConfig, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("nameservers");
    let servers = config.nameservers.as_deref().unwrap_or_default();
    if servers.len() > NAMESERVERS_MAX {
        errors.invalid(&list, servers, &format!("must not have more than {NAMESERVERS_MAX} nameservers"));
    }
    for (i, server) in servers.iter().enumerate() {
        ip::address(server, &list.index(i), errors);
    }
    let list = path.child("searches");
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > SEARCHES_MAX {
        errors.invalid(&list, searches, &format!("must not have more than {SEARCHES_MAX} search paths"));
    }
    if searches.join(" ").len() > SEARCH_BYTES_MAX {
        let rule =
            format!("must not have more than {SEARCH_BYTES_MAX} characters (including spaces) in the search list");
        errors.invalid(&list, searches, &rule);
    }
    for (i, search) in searches.iter().enumerate().filter(|(_, s)| s.as_str() != ".") {
        let domain = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_each(&list.index(i), search, names::dns_subdomain_with_underscore(domain));
    }
    let list = path.child("options");
    for (i, option) in config.options.iter().flatten().enumerate() {
        let path = list.index(i);
        if text(option.name.as_ref()).is_empty() {
            errors.required(&path, "must not be empty");
        }
    }
}

fn host_aliases(spec: &PodSpec, list: &Path<'_>, errors: &mut Errors) {
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = list.index(i);
        ip::address(&alias.ip, &path.child("ip"), errors);
        let hostnames = path.child("hostnames");
        for (i, hostname) in alias.hostnames.iter().flatten().enumerate() {
            errors.invalid_each(&hostnames.index(i), hostname, names::dns_subdomain(hostname));
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use crate::validation::tests::refused;

    fn pod(fields: &str) -> Vec<String> {
        let containers =
            if fields.contains("\"containers\"") { "" } else { r#""containers":[{"name":"c","image":"i"}],"# };
        refused::<Pod>(&format!(r#"{{"metadata":{{"name":"p","namespace":"n"}},"spec":{{{containers}{fields}}}}}"#))
    }

    fn container(fields: &str) -> Vec<String> {
        pod(&format!(r#""containers":[{{"name":"c","image":"i",{fields}}}]"#))
            .into_iter()
            .map(|cause| cause.replace("spec.containers[0].", ""))
            .collect()
    }

    #[test]
    fn pods_are_held_to_their_rules() {
        for (fields, expected) in [
            (r#""hostname":"h""#, &[][..]),
            (r#""containers":[]"#, &["spec.containers Required"]),
            (r#""containers":[{"name":"c"}]"#, &["spec.containers[0].image Required"]),
            (
                r#""containers":[{"name":"UPPER","image":" "}]"#,
                &["spec.containers[0].name Invalid", "spec.containers[0].image Invalid"],
            ),
            (
                r#""containers":[{"name":"c","image":"i"},{"name":"c","image":"i"}]"#,
                &["spec.containers[1].name Duplicate"],
            ),
            (r#""dnsPolicy":"X""#, &["spec.dnsPolicy NotSupported"]),
            (r#""dnsPolicy":"None""#, &["spec.dnsConfig Required"]),
            (
                r#""ephemeralContainers":[{"name":"e","image":"i","ports":[{"containerPort":1}]}]"#,
                &["spec.ephemeralContainers[0].ports Forbidden", "spec.ephemeralContainers Forbidden"],
            ),
            (r#""hostUsers":false,"hostPID":true"#, &["spec.HostPID Forbidden"]),
            (
                r#""os":{"name":"windows"},"securityContext":{"runAsUser":1}"#,
                &["spec.securityContext.runAsUser Forbidden"],
            ),
            (r#""resourceClaims":[{"name":"a"}]"#, &["spec.resourceClaims[0] Invalid"]),
            (
                r#""hostNetwork":true,"securityContext":{"sysctls":[{"name":"net.a","value":"1"},{"name":"A","value":"1"}]}"#,
                &["spec.securityContext.sysctls[0].name Invalid", "spec.securityContext.sysctls[1].name Invalid"],
            ),
            (
                r#""topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"k","whenUnsatisfiable":"DoNotSchedule","matchLabelKeys":["a"]}]"#,
                &["spec.topologySpreadConstraints[0].matchLabelKeys Forbidden"],
            ),
            (r#""restartPolicy":"Perhaps""#, &["spec.restartPolicy NotSupported"]),
            (r#""os":{"name":"beos"}"#, &["spec.os NotSupported"]),
            (r#""runtimeClassName":"""#, &["spec.runtimeClassName Invalid"]),
            (r#""overhead":{"cpu":"-1"}"#, &["spec.overhead.limits[cpu] Invalid"]),
            (
                r#""hostnameOverride":"a","setHostnameAsFQDN":true,"hostNetwork":true"#,
                &["spec.hostnameOverride Forbidden"; 2],
            ),
            (r#""dnsConfig":{"searches":["_sip._tcp.a","."]}"#, &[]),
            (
                r#""dnsConfig":{"nameservers":["010.0.0.1"],"searches":["-a"]}"#,
                &["spec.dnsConfig.nameservers[0] Invalid", "spec.dnsConfig.searches[0] Invalid"],
            ),
            (
                r#""securityContext":{"seLinuxChangePolicy":"MountOption"}"#,
                &["spec.securityContext.seLinuxChangePolicy NotSupported"],
            ),
            (
                r#""securityContext":{"windowsOptions":{"runAsUserName":"a\\b\\c","gmsaCredentialSpec":"","hostProcess":true}}"#,
                &[
                    "spec.securityContext.windowsOptions.gmsaCredentialSpec Invalid",
                    "spec.securityContext.windowsOptions.runAsUserName Invalid",
                    "spec.hostNetwork Invalid",
                ],
            ),
            (
                r#""resources":{"requests":{"ephemeral-storage":"1"}}"#,
                &["spec.resources.requests[ephemeral-storage] NotSupported"],
            ),
            (
                r#""resources":{"requests":{"cpu":"1"},"limits":{"cpu":"1"}},"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"2"}}}]"#,
                &["spec.resources.requests[cpu] Invalid", "spec.resources.containers[0][cpu].limits Invalid"],
            ),
            (
                r#""hostNetwork":true,"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"hostPort":81}]}]"#,
                &["spec.containers[0].ports[0].hostPort Invalid"],
            ),
            (
                r#""affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":""}]}}"#,
                &[
                    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey Required",
                    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey Invalid",
                    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey Invalid",
                ],
            ),
            (
                r#""tolerations":[{"key":"a","operator":"Gt","value":"1"}]"#,
                &["spec.tolerations[0].operator NotSupported"],
            ),
            (
                r#""initContainers":[{"name":"i","image":"i","resizePolicy":[{"resourceName":"cpu","restartPolicy":"RestartContainer"}]}]"#,
                &["spec.initContainers[0].resizePolicy[0].restartPolicy Invalid"],
            ),
            (
                r#""containers":[{"name":"c","image":"i","volumeMounts":[{"name":"v","mountPath":"/x"}]}],"volumes":[{"name":"v","configMap":{}}]"#,
                &["spec.volumes[0].configMap.name Required", "spec.containers[0].volumeMounts[0].name NotFound"],
            ),
            (r#""hostname":"Not.Valid""#, &["spec.hostname Invalid"]),
            (r#""nodeName":"n","schedulingGates":[{"name":"a"}]"#, &["spec.nodeName Forbidden"]),
            (r#""activeDeadlineSeconds":0"#, &["spec.activeDeadlineSeconds Invalid"]),
            (
                r#""hostAliases":[{"ip":"x","hostnames":["A"]}]"#,
                &["spec.hostAliases[0].ip Invalid", "spec.hostAliases[0].hostnames[0] Invalid"],
            ),
            (r#""tolerations":[{"key":"a","effect":"Never"}]"#, &["spec.tolerations[0].effect NotSupported"]),
            (
                r#""tolerations":[{"key":"a","operator":"Exists","value":"x"}]"#,
                &["spec.tolerations[0].operator Invalid"],
            ),
            (r#""tolerations":[{"value":"x"}]"#, &["spec.tolerations[0].operator Invalid"]),
            (
                r#""topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"","whenUnsatisfiable":"X"}]"#,
                &[
                    "spec.topologySpreadConstraints[0].maxSkew Invalid",
                    "spec.topologySpreadConstraints[0].topologyKey Required",
                    "spec.topologySpreadConstraints[0].whenUnsatisfiable NotSupported",
                ],
            ),
            (
                r#""affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"Near"}]}]}}}"#,
                &[
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator Invalid",
                ],
            ),
            (
                r#""affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":0,"preference":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}]}}"#,
                &["spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight Invalid"],
            ),
        ] {
            assert_eq!(pod(fields), expected, "{fields}");
        }
    }

    #[test]
    fn containers_are_held_to_their_rules() {
        for (fields, expected) in [
            (r#""ports":[{"containerPort":80,"name":"http"}]"#, &[][..]),
            (r#""ports":[{"containerPort":1,"name":"Bad_Port"}]"#, &["ports[0].name Invalid"]),
            (r#""ports":[{"containerPort":70000}]"#, &["ports[0].containerPort Invalid"]),
            (r#""ports":[{"containerPort":1,"protocol":"QUIC"}]"#, &["ports[0].protocol NotSupported"]),
            (
                r#""ports":[{"containerPort":1,"name":"a"},{"containerPort":2,"name":"a"}]"#,
                &["ports[1].name Duplicate"],
            ),
            (r#""imagePullPolicy":"Sometimes""#, &["imagePullPolicy NotSupported"]),
            (r#""env":[{"name":"","value":"x"}]"#, &["env[0].name Required"]),
            (
                r#""env":[{"name":"A","value":"x","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]"#,
                &["env[0].valueFrom Invalid"],
            ),
            (
                r#""env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"spec.nothing"}}}]"#,
                &["env[0].valueFrom.fieldRef.fieldPath Invalid"],
            ),
            (r#""env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a']"}}}]"#, &[]),
            (r#""env":[{"name":"A","valueFrom":{}}]"#, &["env[0].valueFrom Invalid"]),
            (
                r#""env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s"}}}]"#,
                &["env[0].valueFrom.secretKeyRef.key Required"],
            ),
            (r#""envFrom":[{}]"#, &["envFrom Invalid"]),
            (
                r#""env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"status.phase"}}}]"#,
                &["env[0].valueFrom.fieldRef.fieldPath NotSupported"],
            ),
            (
                r#""env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a b']"}}}]"#,
                &["env[0].valueFrom.fieldRef Invalid"],
            ),
            (
                r#""env":[{"name":"A","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"2"}}}]"#,
                &["env[0].valueFrom.resourceFieldRef.divisor Invalid"],
            ),
            (
                r#""env":[{"name":"A","valueFrom":{"fileKeyRef":{"volumeName":"v","path":"f","key":"k"}}}]"#,
                &["env[0].valueFrom.fileKeyRef.volumeName NotFound"],
            ),
            (
                r#""volumeMounts":[{"mountPath":"/x","name":"none","subPath":"../a"}]"#,
                &["volumeMounts[0].name NotFound", "volumeMounts.subPath Invalid"],
            ),
            (r#""lifecycle":{"stopSignal":"SIGTERM"}"#, &["lifecycle.stopSignal Forbidden"]),
            (
                r#""resources":{"limits":{"cpu":"1","hugepages-2Mi":"3Mi"}}"#,
                &["resources.limits[hugepages-2Mi] Invalid", "resources.requests[hugepages-2Mi] Invalid"],
            ),
            (r#""volumeMounts":[{"mountPath":"/x","name":"none"}]"#, &["volumeMounts[0].name NotFound"]),
            (
                r#""livenessProbe":{"periodSeconds":-1,"tcpSocket":{"port":1}}"#,
                &["livenessProbe.periodSeconds Invalid"],
            ),
            (r#""livenessProbe":{}"#, &["livenessProbe Required"]),
            (
                r#""livenessProbe":{"httpGet":{"port":1},"tcpSocket":{"port":1}}"#,
                &["livenessProbe.tcpSocket Forbidden"],
            ),
            (
                r#""livenessProbe":{"successThreshold":2,"tcpSocket":{"port":1}}"#,
                &["livenessProbe.successThreshold Invalid"],
            ),
            (r#""lifecycle":{"postStart":{}}"#, &["lifecycle.postStart Required"]),
            (r#""resources":{"limits":{"cpu":"1"},"requests":{"cpu":"2"}}"#, &["resources.requests Invalid"]),
            (
                r#""resources":{"limits":{"cpu":"-1"}}"#,
                &["resources.limits[cpu] Invalid", "resources.requests[cpu] Invalid"],
            ),
            (
                r#""resources":{"requests":{"gold":"1"}}"#,
                &["resources.requests[gold] Invalid", "resources.requests[gold] Invalid"],
            ),
            (r#""resources":{"requests":{"example.com/gold":"1"}}"#, &["resources.limits Required"]),
            (r#""securityContext":{"runAsUser":-1}"#, &["securityContext.runAsUser Invalid"]),
            (r#""securityContext":{"procMount":"Unmasked"}"#, &["securityContext.procMount Invalid"]),
            (
                r#""securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"/a"},"appArmorProfile":{"type":"X"}}"#,
                &[
                    "securityContext.seccompProfile.localhostProfile Invalid",
                    "securityContext.appArmorProfile.type NotSupported",
                ],
            ),
            (r#""resources":{"limits":{"hugepages-2Mi":"2Mi"}}"#, &["resources Forbidden"]),
            (r#""resources":{"claims":[{"name":"gpu"}]}"#, &["resources.claims[0] NotFound"]),
            (
                r#""resizePolicy":[{"resourceName":"gold","restartPolicy":"NotRequired"}]"#,
                &["resizePolicy NotSupported"],
            ),
            (
                r#""restartPolicyRules":[{"action":"X","exitCodes":{"operator":"X"}}]"#,
                &[
                    "restartPolicy Required",
                    "restartPolicyRules[0].action NotSupported",
                    "restartPolicyRules[0].exitCodes.operator NotSupported",
                ],
            ),
            (r#""lifecycle":{"preStop":{"sleep":{"seconds":31}}}"#, &["lifecycle.preStop.sleep Invalid"]),
            (
                r#""volumeDevices":[{"name":"none","devicePath":"/../d"}],"volumeMounts":[{"name":"","mountPath":""}]"#,
                &[
                    "volumeMounts[0].name Required",
                    "volumeMounts[0].name NotFound",
                    "volumeMounts[0].mountPath Required",
                    "volumeDevices[0].name NotFound",
                    "volumeDevices[0].devicePath Invalid",
                ],
            ),
        ] {
            assert_eq!(container(fields), expected, "{fields}");
        }
    }

    #[test]
    fn volumes_are_held_to_their_rules() {
        for (volumes, expected) in [
            (r#"[{"name":"v","emptyDir":{}}]"#, &[][..]),
            (r#"[{"name":"v","configMap":{}}]"#, &["spec.volumes[0].configMap.name Required"]),
            (r#"[{"name":"v","emptyDir":{}},{"name":"v","emptyDir":{}}]"#, &["spec.volumes[1].name Duplicate"]),
            (r#"[{"name":"v","emptyDir":{},"hostPath":{"path":"/"}}]"#, &["spec.volumes[0].hostPath Forbidden"]),
            (
                r#"[{"name":"v","hostPath":{"path":"/x","type":"Blob"}}]"#,
                &["spec.volumes[0].hostPath.type NotSupported"],
            ),
            (
                r#"[{"name":"v","iscsi":{"targetPortal":"","iqn":"x","lun":256}}]"#,
                &[
                    "spec.volumes[0].iscsi.targetPortal Required",
                    "spec.volumes[0].iscsi.iqn Invalid",
                    "spec.volumes[0].iscsi.lun Invalid",
                ],
            ),
            (
                r#"[{"name":"v","ephemeral":{"volumeClaimTemplate":{"spec":{"resources":{"requests":{"storage":"1Gi"}}}}}}]"#,
                &["spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes Required"],
            ),
            (
                r#"[{"name":"v","projected":{"sources":[{"configMap":{"name":"a","items":[{"key":"k","path":"p"}]}},{"secret":{"name":"a","items":[{"key":"k","path":"p"}]},"downwardAPI":{}}]}}]"#,
                &["spec.volumes[0].projected.sources[1] Forbidden", "spec.volumes[0].projected Invalid"],
            ),
            (
                r#"[{"name":"v","nfs":{"server":"s","path":""}}]"#,
                &["spec.volumes[0].nfs.path Required", "spec.volumes[0].nfs.path Invalid"],
            ),
            (
                r#"[{"name":"v","gcePersistentDisk":{"pdName":""}}]"#,
                &["spec.volumes[0].persistentDisk.pdName Required"],
            ),
            (r#"[{"name":"v","csi":{"driver":""}}]"#, &["spec.volumes[0].csi.driver Required"]),
            (r#"[{"name":"v","image":{}}]"#, &["spec.volumes[0].image.reference Required"]),
            (
                r#"[{"name":"v","ephemeral":{"volumeClaimTemplate":{"metadata":{"name":"x"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}},{"name":"w","persistentVolumeClaim":{"claimName":"p-v"}}]"#,
                &[
                    "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name Forbidden",
                    "spec.volumes[1].persistentVolumeClaim.claimName Invalid",
                ],
            ),
            (
                r#"[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"/t"}}]}}]"#,
                &[
                    "spec.volumes[0].projected.path Invalid",
                    "spec.volumes[0].projected.sources[0].serviceAccountToken Forbidden",
                ],
            ),
            (r#"[{"name":"v","hostPath":{"path":"/x/../y"}}]"#, &["spec.volumes[0].hostPath.path Invalid"]),
            (
                r#"[{"name":"V","secret":{"secretName":"s","items":[{"key":"k","path":"../p","mode":512}]}}]"#,
                &[
                    "spec.volumes[0].secret.items[0].path Invalid",
                    "spec.volumes[0].secret.items[0].mode Invalid",
                    "spec.volumes[0].name Invalid",
                ],
            ),
            (
                r#"[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t","expirationSeconds":5}}]}}]"#,
                &[
                    "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds Invalid",
                    "spec.volumes[0].projected.sources[0].serviceAccountToken Forbidden",
                ],
            ),
            (r#"[{"name":"v","downwardAPI":{"items":[{"path":"l"}]}}]"#, &["spec.volumes[0].downwardAPI Required"]),
            (
                r#"[{"name":"v","persistentVolumeClaim":{"claimName":""}}]"#,
                &["spec.volumes[0].persistentVolumeClaim.claimName Required"],
            ),
        ] {
            assert_eq!(pod(&format!(r#""volumes":{volumes}"#)), expected, "{volumes}");
        }
    }

    #[test]
    fn annotations_are_held_to_their_rules() {
        const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/c";
        const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io";
        for (key, value, expected) in [
            (
                "kubernetes.io/config.mirror",
                "x",
                vec!["metadata.annotations[kubernetes.io/config.mirror] Invalid".into()],
            ),
            ("controller.kubernetes.io/pod-deletion-cost", "-7", vec![]),
            (
                "controller.kubernetes.io/pod-deletion-cost",
                "+7",
                vec!["metadata.annotations[controller.kubernetes.io/pod-deletion-cost] Invalid".into()],
            ),
            (
                SECCOMP,
                "runtime/default",
                vec!["spec.containers[0].securityContext.seccompProfile.type Forbidden".into()],
            ),
            (
                SECCOMP,
                "odd",
                vec![
                    format!("metadata.annotations.{SECCOMP} Invalid"),
                    "spec.containers[0].securityContext.seccompProfile.type Forbidden".into(),
                ],
            ),
            (&format!("{APP_ARMOR}/d"), "unconfined", vec![format!("metadata.annotations[{APP_ARMOR}/d] Invalid")]),
        ] {
            let container = r#"{"name":"c","image":"i","securityContext":{"seccompProfile":{"type":"Unconfined"}}}"#;
            let json = format!(
                r#"{{"metadata":{{"name":"p","namespace":"n","annotations":{{"{key}":"{value}"}}}},"spec":{{"containers":[{container}]}}}}"#
            );
            assert_eq!(refused::<Pod>(&json), expected, "{key}");
        }
    }

    #[test]
    fn init_containers_have_no_probes() {
        let init = r#""initContainers":[{"name":"i","image":"i","livenessProbe":{"exec":{"command":["x"]}}},{"name":"c","image":"i","restartPolicy":"Always","livenessProbe":{"exec":{"command":["x"]}}}]"#;
        assert_eq!(
            pod(init),
            ["spec.initContainers[0].livenessProbe Forbidden", "spec.initContainers[1].name Duplicate"]
        );
    }
}
