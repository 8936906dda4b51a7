//! Pods and the templates of them.

mod claims;
mod container;
mod devices;
mod env;
mod ephemeral;
mod os;
mod projected;
mod resources;
mod scheduling;
mod security;
mod storage;
mod update;
mod volume;

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, PodSpec, PodTemplate, PodTemplateSpec};

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
        update_status(self, old, errors);
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

pub(super) use update::{update, update_status};
pub use update::{update_ephemeral_containers, update_resize};

const SPEC: Path<'static> = Path::new("spec");
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;

pub(super) fn create(pod: &Pod, errors: &mut Errors) {
    meta::create(&pod.metadata, meta::IN_NAMESPACE, errors);
    let default = PodSpec::default();
    let spec_ = pod.spec.as_ref().unwrap_or(&default);
    spec(spec_, &SPEC, errors);
    if spec_.ephemeral_containers.as_ref().is_some_and(|guests| !guests.is_empty()) {
        errors.forbidden(&SPEC.child("ephemeralContainers"), "cannot be set on create");
    }
    if !scheduling::gates(spec_).is_empty() && !text(spec_.node_name.as_ref()).is_empty() {
        errors.forbidden(&SPEC.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

pub(super) fn template(template: &PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    meta::template(template.metadata.as_ref(), path, errors);
    let default = PodSpec::default();
    let template_spec = template.spec.as_ref().unwrap_or(&default);
    spec(template_spec, &path.child("spec"), errors);
    if template_spec.ephemeral_containers.as_ref().is_some_and(|c| !c.is_empty()) {
        let path = path.child("spec");
        errors.forbidden(&path.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

fn spec(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    volume::volumes(spec.volumes.as_deref().unwrap_or_default(), &path.child("volumes"), errors);
    container::all(spec, path, errors);
    let policies = ["Always", "OnFailure", "Never"];
    required_one_of(text(spec.restart_policy.as_ref()), &policies, &path.child("restartPolicy"), errors);
    dns(spec, path, errors);
    labels::labels(spec.node_selector.as_ref(), &path.child("nodeSelector"), errors);
    security::pod(spec, &path.child("securityContext"), errors);
    scheduling::affinity(spec.affinity.as_ref(), &path.child("affinity"), errors);
    scheduling::all(spec, path, errors);
    resources::list(spec.overhead.as_ref(), &path.child("overhead"), errors);
    resources::requirements(spec.resources.as_ref(), &path.child("resources"), errors);
    for (field, value) in [
        ("serviceAccountName", &spec.service_account_name),
        ("nodeName", &spec.node_name),
        ("priorityClassName", &spec.priority_class_name),
        ("runtimeClassName", &spec.runtime_class_name),
    ] {
        named_if_set(value.as_ref(), names::dns_subdomain, &path.child(field), errors);
    }
    if let Some(seconds) = spec.active_deadline_seconds {
        between(seconds, 1, i32::MAX.into(), &path.child("activeDeadlineSeconds"), errors);
    }
    named_if_set(spec.hostname.as_ref(), names::dns_label, &path.child("hostname"), errors);
    named_if_set(spec.subdomain.as_ref(), names::dns_label, &path.child("subdomain"), errors);
    host_aliases(spec, &path.child("hostAliases"), errors);
    let preemption = ["Never", "PreemptLowerPriority"];
    one_of_if_set(spec.preemption_policy.as_ref(), &preemption, &path.child("preemptionPolicy"), errors);
    security::host_users(spec, path, errors);
    claims::of_pod(spec.resource_claims.as_deref().unwrap_or_default(), &path.child("resourceClaims"), errors);
    named_if_set(spec.hostname_override.as_ref(), names::dns_subdomain, &path.child("hostnameOverride"), errors);
    os::check(spec, path, errors);
}

fn dns(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let policy = text(spec.dns_policy.as_ref());
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    required_one_of(policy, &policies, &path.child("dnsPolicy"), errors);
    let config_path = path.child("dnsConfig");
    let servers = spec.dns_config.as_ref().and_then(|c| c.nameservers.as_ref());
    if policy == "None" && servers.is_none_or(Vec::is_empty) {
        let rule = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        if spec.dns_config.is_none() {
            errors.required(&config_path, "must provide `dnsConfig` when `dnsPolicy` is None");
        } else {
            errors.required(&config_path.child("nameservers"), rule);
        }
    }
    if let Some(config) = &spec.dns_config {
        dns_config(config, &config_path, errors);
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
        let domain = search.strip_suffix('.').unwrap_or(search).replace('_', "-");
        errors.invalid_each(&list.index(i), search, names::dns_subdomain(&domain));
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
            (r#""hostUsers":false,"hostPID":true"#, &["spec.hostPID Forbidden"]),
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
            (r#"[{"name":"v","hostPath":{"path":"/x/../y"}}]"#, &["spec.volumes[0].hostPath.path Invalid"]),
            (
                r#"[{"name":"V","secret":{"secretName":"s","items":[{"key":"k","path":"../p","mode":512}]}}]"#,
                &[
                    "spec.volumes[0].name Invalid",
                    "spec.volumes[0].secret.items[0].path Invalid",
                    "spec.volumes[0].secret.items[0].mode Invalid",
                ],
            ),
            (
                r#"[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t","expirationSeconds":5}}]}}]"#,
                &["spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds Invalid"],
            ),
            (
                r#"[{"name":"v","downwardAPI":{"items":[{"path":"l"}]}}]"#,
                &["spec.volumes[0].downwardAPI.items[0] Required"],
            ),
            (
                r#"[{"name":"v","persistentVolumeClaim":{"claimName":""}}]"#,
                &["spec.volumes[0].persistentVolumeClaim.claimName Required"],
            ),
        ] {
            assert_eq!(pod(&format!(r#""volumes":{volumes}"#)), expected, "{volumes}");
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
