//! A container's environment and arguments: values, references to the pod's own fields, config maps, secrets, and
//! `$(NAME)`. Pure: what has to be read from the API is read before, into [`Sources`].
//! Source: kubelet, `makeEnvironmentVariables`, and `third_party/forked/golang/expansion`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use coracle_api::quantity::{Quantity, parse_or_zero};
use k8s_openapi::api::core::v1 as core;

use crate::images::Program;

/// Config maps and secrets of the pod's namespace, as far as its containers name them; `None` for one that is not
/// there.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, Option<core::ConfigMap>>,
    pub secrets: BTreeMap<String, Option<core::Secret>>,
}

/// The names of what [`environment`] wants in its sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

/// What a pod's fields say while it runs here.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub pod: &'a core::Pod,
    pub pod_ip: Ipv4Addr,
    pub host_ip: IpAddr,
    /// What a limit that is not set stands for.
    pub node_cpu_millis: u64,
    /// See [`Facts::node_cpu_millis`].
    pub node_memory_bytes: u64,
}

/// The config maps and secrets that a container's environment names.
pub fn wanted(container: &core::Container) -> Wanted {
    let mut wanted = Wanted::default();
    for from in container.env_from.iter().flatten() {
        wanted.config_maps.extend(from.config_map_ref.iter().map(|reference| reference.name.clone()));
        wanted.secrets.extend(from.secret_ref.iter().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        wanted.config_maps.extend(source.config_map_key_ref.iter().map(|reference| reference.name.clone()));
        wanted.secrets.extend(source.secret_key_ref.iter().map(|reference| reference.name.clone()));
    }
    wanted
}

/// The environment, in order; a name that comes twice keeps its first place and its last value.
///
/// # Errors
/// What is missing, as `CreateContainerConfigError` shows it.
pub fn environment(
    container: &core::Container,
    facts: Facts<'_>,
    sources: &Sources,
) -> Result<Vec<(String, String)>, String> {
    let mut env: Vec<(String, String)> = Vec::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        for (key, value) in from_all(from, sources, facts)? {
            set(&mut env, format!("{prefix}{key}"), value);
        }
    }
    for var in container.env.iter().flatten() {
        let value = match &var.value_from {
            None => Some(expand(var.value.as_deref().unwrap_or_default(), &env)),
            Some(source) => from_one(source, container, facts, sources)?,
        };
        if let Some(value) = value {
            set(&mut env, var.name.clone(), value);
        }
    }
    Ok(env)
}

/// `argv`: the command, or the container's name where the image's own program runs, and then the arguments. A module
/// has one program, so a command's words after the first are arguments before the others.
pub fn arguments(container: &core::Container, env: &[(String, String)], image: &Program) -> Vec<String> {
    let expanded =
        |words: &Option<Vec<String>>| -> Vec<String> { words.iter().flatten().map(|word| expand(word, env)).collect() };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    image.arguments(&container.name, command, args)
}

fn set(env: &mut Vec<(String, String)>, name: String, value: String) {
    match env.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => env.push((name, value)),
    }
}

fn from_all(from: &core::EnvFromSource, sources: &Sources, facts: Facts<'_>) -> Result<Vec<(String, String)>, String> {
    if let Some(reference) = &from.config_map_ref {
        return match sources.config_maps.get(&reference.name).and_then(Option::as_ref) {
            Some(map) => Ok(map.data.clone().unwrap_or_default().into_iter().collect()),
            None if reference.optional == Some(true) => Ok(Vec::new()),
            None => Err(absent("configmap", &reference.name)),
        };
    }
    let Some(reference) = &from.secret_ref else { return Ok(Vec::new()) };
    match sources.secrets.get(&reference.name).and_then(Option::as_ref) {
        Some(secret) => {
            let data = secret.data.iter().flatten();
            data.map(|(key, value)| Ok((key.clone(), text(value.0.clone(), &reference.name, key, facts)?))).collect()
        }
        None if reference.optional == Some(true) => Ok(Vec::new()),
        None => Err(absent("secret", &reference.name)),
    }
}

fn from_one(
    source: &core::EnvVarSource,
    container: &core::Container,
    facts: Facts<'_>,
    sources: &Sources,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return pod_field(&field.field_path, facts).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return container_resource(resource, container, facts).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let map = sources.config_maps.get(&key.name).and_then(Option::as_ref);
        let value = map.and_then(|map| map.data.as_ref()?.get(&key.key).cloned());
        return required(value, map.is_some(), key.optional, "configmap", &key.name, &key.key, facts);
    }
    if let Some(key) = &source.secret_key_ref {
        let secret = sources.secrets.get(&key.name).and_then(Option::as_ref);
        let value = secret.and_then(|secret| secret.data.as_ref()?.get(&key.key).cloned());
        let value = value.map(|value| text(value.0, &key.name, &key.key, facts)).transpose()?;
        return required(value, secret.is_some(), key.optional, "secret", &key.name, &key.key, facts);
    }
    Err("an environment variable whose value comes from a source that this node does not have".into())
}

fn required(
    value: Option<String>,
    is_there: bool,
    optional: Option<bool>,
    kind: &str,
    name: &str,
    key: &str,
    facts: Facts<'_>,
) -> Result<Option<String>, String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    match value {
        Some(value) => Ok(Some(value)),
        None if optional == Some(true) => Ok(None),
        None if is_there => Err(format!("couldn't find key {key} in {kind} {namespace}/{name}")),
        None => Err(absent(kind, name)),
    }
}

fn absent(kind: &str, name: &str) -> String {
    format!("{kind} {name:?} not found")
}

fn text(value: Vec<u8>, name: &str, key: &str, facts: Facts<'_>) -> Result<String, String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    String::from_utf8(value).map_err(|_| format!("key {key} of secret {namespace}/{name} is not text"))
}

/// A field of the pod, for an environment variable or a downward-API file.
///
/// # Errors
/// When there is no such field to refer to.
pub fn pod_field(path: &str, facts: Facts<'_>) -> Result<String, String> {
    let meta = &facts.pod.metadata;
    let spec = facts.pod.spec.as_ref();
    let of = |text: Option<&String>| Ok(text.cloned().unwrap_or_default());
    if let Some((field, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match field {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("unsupported field path {path:?}")),
        };
        return of(map.and_then(|map| map.get(key)));
    }
    match path {
        "metadata.name" => of(meta.name.as_ref()),
        "metadata.namespace" => of(meta.namespace.as_ref()),
        "metadata.uid" => of(meta.uid.as_ref()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        "spec.nodeName" => of(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => of(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.podIP" | "status.podIPs" => Ok(facts.pod_ip.to_string()),
        "status.hostIP" | "status.hostIPs" => Ok(facts.host_ip.to_string()),
        _ => Err(format!("unsupported field path {path:?}")),
    }
}

/// Source: `FormatMap`: `key="escaped value"`, a line each, in order.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// `limits.cpu`, `requests.memory`, …, in units of the divisor, rounded up; what is not set is the node's.
///
/// # Errors
/// When there is no such container or resource.
pub fn container_resource(
    selector: &core::ResourceFieldSelector,
    container: &core::Container,
    facts: Facts<'_>,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref() {
        None | Some("") => container,
        Some(name) => {
            let mut all = facts.pod.spec.iter().flat_map(|spec| &spec.containers);
            all.find(|container| container.name == name).ok_or_else(|| format!("container {name} not found"))?
        }
    };
    let error = || format!("unsupported container resource: {}", selector.resource);
    let (kind, resource) = selector.resource.split_once('.').ok_or_else(error)?;
    let resources = container.resources.as_ref();
    let (map, default) = match kind {
        "limits" => (resources.and_then(|resources| resources.limits.as_ref()), true),
        "requests" => (resources.and_then(|resources| resources.requests.as_ref()), false),
        _ => return Err(error()),
    };
    let written = map.and_then(|map| map.get(resource));
    let amount = match (resource, written) {
        (_, Some(written)) => parse_or_zero(Some(written)),
        ("cpu", None) if default => Quantity::from_milli(i64::try_from(facts.node_cpu_millis).unwrap_or(i64::MAX)),
        ("memory", None) if default => Quantity::from_bytes(facts.node_memory_bytes),
        ("cpu" | "memory" | "ephemeral-storage", None) => Quantity::ZERO,
        _ => return Err(error()),
    };
    let divisor = Some(parse_or_zero(selector.divisor.as_ref())).filter(|divisor| !divisor.is_zero());
    let divisor = divisor.unwrap_or(Quantity::from_units(1));
    let (amount, divisor) = match resource {
        "cpu" => (amount.milli(), divisor.milli()),
        _ => (amount.units(), divisor.units()),
    };
    Ok(amount.checked_add(divisor - 1).unwrap_or(amount).div_euclid(divisor.max(1)).to_string())
}

/// Replaces `$(NAME)` by the variable's value; `$$` stands for `$`, and a name that is not known stays as it is.
pub fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match env.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;
    use expect_test::expect;

    #[test]
    fn expansion_is_upstreams() {
        let env = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())];
        let table = [
            ("$(A)", "1"),
            ("x$(A)y$(B)z", "x1y$(A)z"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NO)", "$(NO)"),
            ("$A", "$A"),
            ("$", "$"),
            ("$$", "$"),
            ("$(A", "$(A"),
            ("ü$(A)", "ü1"),
            ("", ""),
        ];
        for (text, want) in table {
            assert_eq!(expand(text, &env), want, "{text}");
        }
    }

    #[test]
    fn every_source_of_a_variable() {
        let pod = core::Pod::decode(
            br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n","uid":"u","labels":{"app":"web"}},
            "spec":{"nodeName":"node","containers":[{"name":"c","command":["prog","$(X)"],"args":["$(NAME)"],
            "resources":{"limits":{"memory":"64Mi"},"requests":{"cpu":"1500m"}},
            "envFrom":[{"prefix":"P_","configMapRef":{"name":"m"}},{"secretRef":{"name":"gone","optional":true}}],
            "env":[{"name":"X","value":"x"},{"name":"NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
              {"name":"Y","value":"$(X)-$(P_k)-$(Z)"},{"name":"Z","value":"late"},
              {"name":"APP","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
              {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
              {"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
              {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"requests.cpu"}}},
              {"name":"ALL","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}}},
              {"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},
              {"name":"NONE","valueFrom":{"secretKeyRef":{"name":"s","key":"no","optional":true}}},
              {"name":"X","value":"again"}]}]}}"#,
        )
        .unwrap();
        let facts = Facts {
            pod: &pod,
            pod_ip: Ipv4Addr::new(127, 64, 0, 1),
            host_ip: Ipv4Addr::LOCALHOST.into(),
            node_cpu_millis: 2000,
            node_memory_bytes: 1 << 30,
        };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let map = core::ConfigMap::decode(br#"{"data":{"k":"v"}}"#).unwrap();
        let secret = core::Secret::decode(br#"{"data":{"k":"c2VjcmV0"}}"#).unwrap();
        let wanted = wanted(container);
        assert_eq!(wanted.config_maps.len() + wanted.secrets.len(), 3);
        let mut sources = Sources::default();
        assert_eq!(environment(container, facts, &sources).unwrap_err(), "configmap \"m\" not found");
        sources.config_maps.insert("m".into(), Some(map));
        assert_eq!(environment(container, facts, &sources).unwrap_err(), "secret \"s\" not found");
        sources.secrets.insert("s".into(), Some(secret));
        let env = environment(container, facts, &sources).unwrap();
        let lines: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let want = expect![[r#"
            P_k=v
            X=again
            NAME=p
            Y=x-v-$(Z)
            Z=late
            APP=web
            IP=127.64.0.1
            MEM=64
            CPU=2
            ALL=2000
            S=secret"#]];
        want.assert_eq(&lines.join("\n"));
        assert_eq!(arguments(container, &env, &Program::default()), ["prog", "again", "p"]);
    }
}
