//! What a pod may ask for and this node does not do: each said by its field, and none of it tried.
//!
//! A field that WebAssembly satisfies by itself (`runAsNonRoot`, dropped capabilities, a read-only root) or that has no
//! meaning for a guest (`runAsUser`, `mountPropagation`) is not refused. `docs/pod-spec.md` lists every field. What only the
//! API knows, such as which folder a claim is bound to, is judged when the pod's volumes are made.

mod volume;

use std::path::PathBuf;

use k8s_openapi::api::core::v1 as core;

use super::spec::port;

/// Every refusal of a pod, as `field: reason`. An ephemeral container refuses nothing: its pod runs already.
pub fn refusals(spec: &core::PodSpec, host_paths: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    pod(spec, &mut found);
    for volume in spec.volumes.iter().flatten() {
        let refused = volume::refusals(volume, host_paths);
        found.extend(refused.into_iter().map(|(field, why)| format!("spec.volumes[{}].{field}: {why}", volume.name)));
    }
    for (list, containers) in
        [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))]
    {
        for (at, each) in containers.into_iter().flatten().enumerate() {
            container(&format!("spec.{list}[{at}]"), each, &mut found);
        }
    }
    found
}

const NO_WINDOWS: &str = "this node runs WebAssembly, not Windows";
const NO_DEVICES: &str = "this node has no devices to give";

fn pod(spec: &core::PodSpec, found: &mut Vec<String>) {
    let mut refuse = |is_asked: bool, field: &str, reason: &str| {
        if is_asked {
            found.push(format!("spec.{field}: {reason}"));
        }
    };
    refuse(spec.host_network == Some(true), "hostNetwork", "a guest has no network of the host");
    refuse(spec.host_pid == Some(true), "hostPID", "a guest has no processes");
    refuse(spec.host_ipc == Some(true), "hostIPC", "a guest has no inter-process communication");
    refuse(spec.share_process_namespace == Some(true), "shareProcessNamespace", "a guest has no processes");
    refuse(spec.os.as_ref().is_some_and(|os| os.name == "windows"), "os.name", NO_WINDOWS);
    refuse(spec.resource_claims.iter().flatten().next().is_some(), "resourceClaims", NO_DEVICES);
    let resources = spec.resources.as_ref();
    let has = |map: Option<&std::collections::BTreeMap<_, _>>| map.is_some_and(|map| !map.is_empty());
    let why = "what a guest may use is counted by container: give each its own";
    refuse(has(resources.and_then(|resources| resources.limits.as_ref())), "resources.limits", why);
    refuse(has(resources.and_then(|resources| resources.requests.as_ref())), "resources.requests", why);
    let claims = resources.and_then(|resources| resources.claims.as_ref());
    refuse(claims.is_some_and(|claims| !claims.is_empty()), "resources.claims", NO_DEVICES);
    let Some(context) = &spec.security_context else { return };
    let sysctls = context.sysctls.iter().flatten().next().is_some();
    refuse(sysctls, "securityContext.sysctls", "a guest has no kernel of its own");
    refuse(is_host_process(context.windows_options.as_ref()), "securityContext.windowsOptions.hostProcess", NO_WINDOWS);
}

fn container(field: &str, container: &core::Container, found: &mut Vec<String>) {
    let mut refuse = |is_asked: bool, name: &str, reason: &str| {
        if is_asked {
            found.push(format!("{field}.{name}: {reason}"));
        }
    };
    if let Some(context) = &container.security_context {
        let why = "a WebAssembly guest cannot be privileged";
        refuse(context.privileged == Some(true), "securityContext.privileged", why);
        let added = context.capabilities.iter().filter_map(|capabilities| capabilities.add.as_ref()).flatten();
        refuse(added.count() > 0, "securityContext.capabilities.add", "a guest has no Linux capabilities");
        let is_host = is_host_process(context.windows_options.as_ref());
        refuse(is_host, "securityContext.windowsOptions.hostProcess", NO_WINDOWS);
    }
    refuse(container.volume_devices.iter().flatten().next().is_some(), "volumeDevices", "a guest has no block devices");
    let claims = container.resources.as_ref().and_then(|resources| resources.claims.as_ref());
    refuse(claims.is_some_and(|claims| !claims.is_empty()), "resources.claims", NO_DEVICES);
    let host_port = container.ports.iter().flatten().any(|port| port.host_port.is_some_and(|port| port != 0));
    refuse(host_port, "ports.hostPort", "the host's ports are reached through a Service of type NodePort");
    probes(container, &mut refuse);
}

fn is_host_process(options: Option<&core::WindowsSecurityContextOptions>) -> bool {
    options.is_some_and(|options| options.host_process == Some(true))
}

fn probes(container: &core::Container, refuse: &mut impl FnMut(bool, &str, &str)) {
    let probes = [
        ("startupProbe", &container.startup_probe),
        ("readinessProbe", &container.readiness_probe),
        ("livenessProbe", &container.liveness_probe),
    ];
    for (name, probe) in probes {
        let Some(probe) = probe else { continue };
        let http_port = probe.http_get.as_ref().map(|http| &http.port);
        let asked = http_port.or(probe.tcp_socket.as_ref().map(|tcp| &tcp.port));
        refuse(asked.is_some_and(|asked| port(asked, container).is_none()), name, "no container port has this name");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;
    use expect_test::expect;

    fn spec(json: &str) -> core::PodSpec {
        let pod = format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},"spec":{json}}}"#);
        core::Pod::decode(pod.as_bytes()).unwrap().spec.unwrap()
    }

    #[test]
    fn what_containers_harden_themselves_with_is_taken() {
        let spec = spec(
            r#"{"securityContext":{"runAsNonRoot":true,"runAsUser":1000,"fsGroup":5,"seccompProfile":{"type":"RuntimeDefault"}},
            "dnsPolicy":"ClusterFirst","hostUsers":false,"os":{"name":"linux"},"automountServiceAccountToken":false,
            "volumes":[{"name":"e","emptyDir":{"medium":"Memory"}},{"name":"h","hostPath":{"path":"/srv/data/x","type":"File"}},
              {"name":"c","persistentVolumeClaim":{"claimName":"c"}},{"name":"g","ephemeral":{}}],
            "containers":[{"name":"c","image":"x","securityContext":{"privileged":false,"allowPrivilegeEscalation":false,
              "readOnlyRootFilesystem":true,"capabilities":{"drop":["ALL"]}},
              "volumeMounts":[{"name":"e","mountPath":"/e","subPathExpr":"$(A)/b"}],
              "ports":[{"name":"http","containerPort":80}],"readinessProbe":{"httpGet":{"port":"http"}}}],
            "ephemeralContainers":[{"name":"debug","securityContext":{"privileged":true,"capabilities":{"add":["SYS_PTRACE"]}}}]}"#,
        );
        assert_eq!(refusals(&spec, &["/srv/data".into()]), Vec::<String>::new());
    }

    #[test]
    fn each_refusal_names_its_field() {
        let spec = spec(
            r#"{"hostPID":true,"hostNetwork":true,"resources":{"limits":{"memory":"1Gi"}},
            "volumes":[{"name":"h","hostPath":{"path":"/srv/data/../../etc"}},{"name":"n","nfs":{"server":"s","path":"/"}},
              {"name":"p","projected":{"sources":[{"clusterTrustBundle":{"path":"x"}},{"secret":{"name":"s"}}]}},
              {"name":"big","emptyDir":{"medium":"HugePages"}}],
            "initContainers":[{"name":"i","image":"x","volumeDevices":[{"name":"n","devicePath":"/dev/x"}]}],
            "containers":[{"name":"c","image":"x","securityContext":{"privileged":true,
              "capabilities":{"add":["NET_ADMIN"]}},"ports":[{"containerPort":80,"hostPort":80}],
              "readinessProbe":{"httpGet":{"port":"nope"}}}]}"#,
        );
        let want = expect![[r#"
            spec.hostNetwork: a guest has no network of the host
            spec.hostPID: a guest has no processes
            spec.resources.limits: what a guest may use is counted by container: give each its own
            spec.volumes[h].hostPath: hostPath "/srv/data/../../etc" is not among the folders that this node grants to pods
            spec.volumes[n].nfs: this node has no network storage, and cannot mount
            spec.volumes[p].projected.sources[0].clusterTrustBundle: this node projects config maps, secrets, the downward API and tokens only
            spec.volumes[big].emptyDir.medium: this node has the disk and memory only
            spec.initContainers[0].volumeDevices: a guest has no block devices
            spec.containers[0].securityContext.privileged: a WebAssembly guest cannot be privileged
            spec.containers[0].securityContext.capabilities.add: a guest has no Linux capabilities
            spec.containers[0].ports.hostPort: the host's ports are reached through a Service of type NodePort
            spec.containers[0].readinessProbe: no container port has this name"#]];
        want.assert_eq(&refusals(&spec, &["/srv/data".into()]).join("\n"));
    }
}
