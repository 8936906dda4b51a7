//! The defaults of pods and pod templates.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Defaults, container, set, set_text, volume};
use crate::pods;

impl Defaults for core::Pod {
    fn set_defaults(&mut self) {
        pod(self);
    }
}

const GRACE_SECONDS: i64 = 30;

/// A pod's own defaults, which templates don't have, and those of its spec.
fn pod(pod: &mut core::Pod) {
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    set(&mut spec.enable_service_links, true);
    if spec.host_network == Some(true) {
        host_ports(spec);
    }
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        spec.termination_grace_period_seconds = Some(1);
    }
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        if let Some(resources) = &mut container.resources {
            requests_from_limits(resources);
        }
    }
    of_whole_pod(spec);
    if let Some(status) = &mut pod.status {
        addresses(status);
    }
}

/// A template's defaults.
pub(super) fn pod_template(template: &mut core::PodTemplateSpec) {
    pod_spec(template.spec.get_or_insert_default());
}

fn pod_spec(spec: &mut core::PodSpec) {
    set_text(&mut spec.dns_policy, "ClusterFirst");
    set_text(&mut spec.restart_policy, "Always");
    set(&mut spec.security_context, core::PodSecurityContext::default());
    set(&mut spec.termination_grace_period_seconds, GRACE_SECONDS);
    set_text(&mut spec.scheduler_name, "default-scheduler");
    service_account(spec);
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(container::container);
    spec.ephemeral_containers.iter_mut().flatten().for_each(container::ephemeral);
    spec.volumes.iter_mut().flatten().for_each(volume::volume);
}

/// The account has an older name, under which it is shown too.
fn service_account(spec: &mut core::PodSpec) {
    let name =
        [&spec.service_account_name, &spec.service_account].into_iter().flatten().find(|n| !n.is_empty()).cloned();
    spec.service_account_name.clone_from(&name);
    spec.service_account = name;
}

/// On the host's network a container's port is the host's port.
fn host_ports(spec: &mut core::PodSpec) {
    let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    for port in containers.flat_map(|c| c.ports.iter_mut().flatten()) {
        if port.host_port.unwrap_or(0) == 0 {
            port.host_port = Some(port.container_port);
        }
    }
}

/// What is limited and not requested is requested up to the limit.
fn requests_from_limits(resources: &mut core::ResourceRequirements) {
    let Some(limits) = resources.limits.as_ref().filter(|l| !l.is_empty()) else { return };
    let requests: &mut BTreeMap<String, Quantity> = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// A pod that is limited as a whole requests what its containers request, or else up to its limits. Huge pages are
/// limited to what its containers may use. Source: `defaultHugePagePodLimits` and `defaultPodRequests`.
fn of_whole_pod(spec: &mut core::PodSpec) {
    let some = |list: &Option<BTreeMap<String, Quantity>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if !spec.resources.as_ref().is_some_and(|own| some(&own.limits) || some(&own.requests)) {
        return;
    }
    let is_huge = |name: &String| name.starts_with("hugepages-");
    let limits = pods::limits_of_containers(spec);
    let requests = pods::requests_of_containers(spec);
    let own = spec.resources.get_or_insert_default();
    for (name, limit) in limits.into_iter().filter(|(name, _)| is_huge(name)) {
        own.limits.get_or_insert_default().entry(name).or_insert_with(|| limit.to_text());
    }
    if some(&own.limits) {
        for (name, request) in requests.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")) {
            own.requests.get_or_insert_default().entry(name).or_insert_with(|| request.to_text());
        }
        requests_from_limits(own);
    }
}

/// The first of several addresses is shown on its own too.
fn addresses(status: &mut core::PodStatus) {
    let set = |ip: &Option<String>| ip.clone().filter(|ip| !ip.is_empty());
    match status.pod_ips.as_ref().and_then(|ips| ips.first()) {
        Some(first) => status.pod_ip = Some(first.ip.clone()),
        None => status.pod_ips = set(&status.pod_ip).map(|ip| vec![core::PodIP { ip }]),
    }
    match status.host_ips.as_ref().and_then(|ips| ips.first()) {
        Some(first) => status.host_ip = Some(first.ip.clone()),
        None => status.host_ips = set(&status.host_ip).map(|ip| vec![core::HostIP { ip }]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::object::Object;

    #[test]
    fn a_pod_has_what_kubernetes_gives_it() {
        let given = br#"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i:1","ports":[{"containerPort":80}],
            "readinessProbe":{"httpGet":{"port":80}},"resources":{"limits":{"cpu":"1"}},
            "env":[{"name":"P","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"L","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]}],
            "serviceAccount":"s","volumes":[{"name":"v"},{"name":"c","configMap":{"name":"x"}},{"name":"h","hostPath":{"path":"/"}}]},
            "status":{"podIP":"1.2.3.4"}}"#;
        let mut object = core::Pod::decode(given).unwrap();
        pod(&mut object);
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once);
        let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"env":[{"name":"P","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"L","valueFrom":{"resourceFieldRef":{"divisor":"0","resource":"limits.cpu"}}}],"image":"i:1","imagePullPolicy":"IfNotPresent","name":"c","ports":[{"containerPort":80,"protocol":"TCP"}],"readinessProbe":{"failureThreshold":3,"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"1"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","enableServiceLinks":true,"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"serviceAccount":"s","serviceAccountName":"s","terminationGracePeriodSeconds":30,"volumes":[{"emptyDir":{},"name":"v"},{"configMap":{"defaultMode":420,"name":"x"},"name":"c"},{"hostPath":{"path":"/","type":""},"name":"h"}]},"status":{"podIP":"1.2.3.4","podIPs":[{"ip":"1.2.3.4"}]}}"#;
        assert_eq!(String::from_utf8(object.encode().to_vec()).unwrap(), json);
    }

    #[test]
    fn a_pod_as_a_whole_requests_what_its_containers_do() {
        let given = br#"{"spec":{"resources":{"limits":{"cpu":"2","memory":"1Gi"}},"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}},{"name":"d","resources":{"requests":{"cpu":"500m"}}}]}}"#;
        let mut object = core::Pod::decode(given).unwrap();
        pod(&mut object);
        let requests = object.spec.unwrap().resources.unwrap().requests.unwrap();
        assert_eq!((requests["cpu"].0.as_str(), requests["memory"].0.as_str()), ("1500m", "1Gi"));
    }

    #[test]
    fn on_the_hosts_network_ports_are_the_hosts() {
        let mut object = core::Pod::decode(
            br#"{"spec":{"hostNetwork":true,"containers":[{"name":"c","ports":[{"containerPort":80}]}]}}"#,
        )
        .unwrap();
        pod(&mut object);
        assert_eq!(object.spec.unwrap().containers[0].ports.as_ref().unwrap()[0].host_port, Some(80));
    }
}
