//! What a pod may ask for and this node does not do: each said by its field, and none of it tried.
//!
//! A field that WebAssembly satisfies by itself (`runAsNonRoot`, dropped capabilities, a read-only root) or that has no
//! meaning for a guest (`runAsUser`, `dnsPolicy`) is not refused.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1 as core;

use super::spec::port;

/// Every refusal of a pod, as `field: reason`.
pub fn refusals(spec: &core::PodSpec, host_paths: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    pod(spec, &mut found);
    for volume in spec.volumes.iter().flatten() {
        if let Some(reason) = unsupported_volume(volume, host_paths) {
            found.push(format!("spec.volumes[{}]: {reason}", volume.name));
        }
    }
    for (list, containers) in
        [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))]
    {
        for (at, each) in containers.into_iter().flatten().enumerate() {
            container(&format!("spec.{list}[{at}]"), each, spec, &mut found);
        }
    }
    found
}

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
    refuse(spec.os.as_ref().is_some_and(|os| os.name == "windows"), "os", "this node runs WebAssembly, not Windows");
    refuse(spec.resource_claims.iter().flatten().next().is_some(), "resourceClaims", "this node has no devices");
    let context = spec.security_context.as_ref();
    refuse(
        context.is_some_and(|context| context.sysctls.iter().flatten().next().is_some()),
        "securityContext.sysctls",
        "a guest has no kernel of its own",
    );
    let windows = context.and_then(|context| context.windows_options.as_ref());
    refuse(
        windows.is_some_and(|options| options.host_process == Some(true)),
        "securityContext.windowsOptions.hostProcess",
        "this node runs WebAssembly, not Windows",
    );
}

fn container(field: &str, container: &core::Container, spec: &core::PodSpec, found: &mut Vec<String>) {
    let mut refuse = |is_asked: bool, name: &str, reason: &str| {
        if is_asked {
            found.push(format!("{field}.{name}: {reason}"));
        }
    };
    if let Some(context) = &container.security_context {
        refuse(
            context.privileged == Some(true),
            "securityContext.privileged",
            "a WebAssembly guest cannot be privileged",
        );
        let added = context.capabilities.iter().filter_map(|capabilities| capabilities.add.as_ref()).flatten();
        refuse(added.count() > 0, "securityContext.capabilities.add", "a guest has no Linux capabilities");
    }
    refuse(container.lifecycle.is_some(), "lifecycle", "this node runs no lifecycle hooks");
    refuse(container.volume_devices.iter().flatten().next().is_some(), "volumeDevices", "a guest has no block devices");
    let host_port = container.ports.iter().flatten().any(|port| port.host_port.is_some_and(|port| port != 0));
    refuse(host_port, "ports.hostPort", "the host's ports are reached through a Service of type NodePort");
    probes(container, &mut refuse);
    for mount in container.volume_mounts.iter().flatten() {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        if let Some(reason) = unsupported_mount(mount, volume) {
            refuse(true, &format!("volumeMounts[{}]", mount.mount_path), reason);
        }
    }
}

fn probes(container: &core::Container, refuse: &mut impl FnMut(bool, &str, &str)) {
    let probes = [
        ("startupProbe", &container.startup_probe),
        ("readinessProbe", &container.readiness_probe),
        ("livenessProbe", &container.liveness_probe),
    ];
    for (name, probe) in probes {
        let Some(probe) = probe else { continue };
        refuse(probe.exec.is_some(), name, "exec probes do not exist here, use httpGet or tcpSocket");
        refuse(probe.grpc.is_some(), name, "gRPC probes do not exist here, use httpGet or tcpSocket");
        let https = probe.http_get.as_ref().and_then(|http| http.scheme.as_deref()) == Some("HTTPS");
        refuse(https, name, "guests serve plain HTTP, use the scheme HTTP");
        let http_port = probe.http_get.as_ref().map(|http| &http.port);
        let asked = http_port.or(probe.tcp_socket.as_ref().map(|tcp| &tcp.port));
        refuse(asked.is_some_and(|asked| port(asked, container).is_none()), name, "no container port has this name");
    }
}

fn unsupported_volume(volume: &core::Volume, host_paths: &[PathBuf]) -> Option<String> {
    if let Some(host) = &volume.host_path {
        return unsupported_host_path(host, host_paths);
    }
    let is_supported = volume.empty_dir.is_some()
        || volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some();
    if is_supported {
        return None;
    }
    if let Some(projected) = &volume.projected {
        let foreign =
            |source: &core::VolumeProjection| source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some();
        let has_foreign = projected.sources.iter().flatten().any(foreign);
        return has_foreign.then(|| "this node projects config maps, secrets, the downward API and tokens only".into());
    }
    Some("this node has emptyDir, configMap, secret, downwardAPI, projected and hostPath volumes only".into())
}

fn unsupported_host_path(host: &core::HostPathVolumeSource, host_paths: &[PathBuf]) -> Option<String> {
    let path = Path::new(&host.path);
    let is_plain = path.is_absolute() && path.components().all(|part| part != Component::ParentDir);
    if !is_plain || !host_paths.iter().any(|granted| path.starts_with(granted)) {
        return Some(format!("hostPath {:?} is not among the folders that this node grants to pods", host.path));
    }
    match host.type_.as_deref().unwrap_or_default() {
        "" | "Directory" | "DirectoryOrCreate" => None,
        other => Some(format!("a guest is given folders, not a hostPath of type {other}")),
    }
}

fn unsupported_mount(mount: &core::VolumeMount, volume: Option<&core::Volume>) -> Option<&'static str> {
    let sub_path = mount.sub_path.as_deref().unwrap_or_default();
    if mount.sub_path_expr.as_deref().is_some_and(|expr| !expr.is_empty()) {
        return Some("subPathExpr is not expanded here, use subPath");
    }
    let leads_out =
        Path::new(sub_path).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    if leads_out {
        return Some("subPath must stay within its volume");
    }
    let is_file = volume.is_some_and(|volume| volume.empty_dir.is_none() && volume.host_path.is_none());
    (is_file && !sub_path.is_empty()).then_some("WASI grants folders, not files: mount the volume without subPath")
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
            r#"{"securityContext":{"runAsNonRoot":true,"runAsUser":1000,"fsGroup":5},"dnsPolicy":"ClusterFirst",
            "volumes":[{"name":"e","emptyDir":{}},{"name":"h","hostPath":{"path":"/srv/data/x"}}],
            "containers":[{"name":"c","image":"x","securityContext":{"privileged":false,"allowPrivilegeEscalation":false,
              "capabilities":{"drop":["ALL"]}},"volumeMounts":[{"name":"e","mountPath":"/e","subPath":"a/b"}],
              "ports":[{"name":"http","containerPort":80}],"readinessProbe":{"httpGet":{"port":"http"}}}]}"#,
        );
        assert_eq!(refusals(&spec, &["/srv/data".into()]), Vec::<String>::new());
    }

    #[test]
    fn each_refusal_names_its_field() {
        let spec = spec(
            r#"{"hostPID":true,"hostNetwork":true,
            "volumes":[{"name":"h","hostPath":{"path":"/srv/data/../../etc"}},{"name":"n","nfs":{"server":"s","path":"/"}},
              {"name":"c","configMap":{"name":"c"}}],
            "initContainers":[{"name":"i","image":"x","lifecycle":{"preStop":{"exec":{"command":["x"]}}}}],
            "containers":[{"name":"c","image":"x","workingDir":"/app","securityContext":{"privileged":true,
              "capabilities":{"add":["NET_ADMIN"]}},"volumeMounts":[{"name":"c","mountPath":"/c","subPath":"f"}],
              "ports":[{"containerPort":80,"hostPort":80}],"livenessProbe":{"exec":{"command":["x"]}},
              "readinessProbe":{"httpGet":{"port":"nope"}}}]}"#,
        );
        let want = expect![[r#"
            spec.hostNetwork: a guest has no network of the host
            spec.hostPID: a guest has no processes
            spec.volumes[h]: hostPath "/srv/data/../../etc" is not among the folders that this node grants to pods
            spec.volumes[n]: this node has emptyDir, configMap, secret, downwardAPI, projected and hostPath volumes only
            spec.initContainers[0].lifecycle: this node runs no lifecycle hooks
            spec.containers[0].securityContext.privileged: a WebAssembly guest cannot be privileged
            spec.containers[0].securityContext.capabilities.add: a guest has no Linux capabilities
            spec.containers[0].ports.hostPort: the host's ports are reached through a Service of type NodePort
            spec.containers[0].readinessProbe: no container port has this name
            spec.containers[0].livenessProbe: exec probes do not exist here, use httpGet or tcpSocket
            spec.containers[0].volumeMounts[/c]: WASI grants folders, not files: mount the volume without subPath"#]];
        want.assert_eq(&refusals(&spec, &["/srv/data".into()]).join("\n"));
    }
}
