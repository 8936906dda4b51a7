//! A container's environment and arguments: values, references to the pod's own fields, config maps, secrets, files, the
//! services of its namespace, and `$(NAME)`. Pure: what has to be read is read before, into [`Sources`].
//! Source: kubelet, `makeEnvironmentVariables`.

mod expand;
mod field;
mod file;
mod hostname;
mod resource;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1 as core;

pub use self::expand::expand_all;
use self::expand::{expand, find};
pub use self::field::pod_field;
pub use self::hostname::hostname;
pub use self::resource::container_resource;
pub use self::services::variables as service_variables;
use crate::images::Program;

/// What a container's environment is made of and is not in the pod; `None` for what is not there.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, Option<core::ConfigMap>>,
    pub secrets: BTreeMap<String, Option<core::Secret>>,
    /// Files of the pod's volumes, by volume and path.
    pub files: BTreeMap<(String, String), Option<Vec<u8>>>,
    /// The variables of the services.
    pub services: Vec<(String, String)>,
}

/// The names of what [`environment`] wants in its sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub files: BTreeSet<(String, String)>,
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
    /// See [`Facts::node_cpu_millis`].
    pub node_storage_bytes: u64,
}

/// A container's variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// In order, each name once.
    pub variables: Vec<(String, String)>,
    /// What was left out of it, as the event [`INVALID_NAMES`] says it.
    pub skipped: Vec<String>,
}

/// The reason of the event that tells of variables whose names cannot be. Source: kubelet.
pub const INVALID_NAMES: &str = "InvalidEnvironmentVariableNames";

/// What a container's environment names.
pub fn wanted(container: &core::Container) -> Wanted {
    let mut wanted = Wanted::default();
    for from in container.env_from.iter().flatten() {
        wanted.config_maps.extend(from.config_map_ref.iter().map(|reference| reference.name.clone()));
        wanted.secrets.extend(from.secret_ref.iter().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        wanted.config_maps.extend(source.config_map_key_ref.iter().map(|reference| reference.name.clone()));
        wanted.secrets.extend(source.secret_key_ref.iter().map(|reference| reference.name.clone()));
        wanted.files.extend(source.file_key_ref.iter().map(|file| (file.volume_name.clone(), file.path.clone())));
    }
    wanted
}

/// The environment; a name that comes twice keeps its first place and its last value, and what the pod sets goes before
/// what its services say.
///
/// # Errors
/// What is missing, as `CreateContainerConfigError` shows it.
pub fn environment(container: &core::Container, facts: Facts<'_>, sources: &Sources) -> Result<Environment, String> {
    let mut made = Environment::default();
    for from in container.env_from.iter().flatten() {
        add_all(from, sources, facts, &mut made)?;
    }
    let env = &mut made.variables;
    for var in container.env.iter().flatten() {
        let written = var.value.as_deref().filter(|value| !value.is_empty());
        let value = match (written, &var.value_from) {
            (None, Some(source)) => from_one(source, container, facts, sources)?,
            (written, _) => {
                let known = |name: &str| find(env, name).or_else(|| find(&sources.services, name));
                Some(expand(written.unwrap_or_default(), known))
            }
        };
        if let Some(value) = value {
            set(env, var.name.clone(), value);
        }
    }
    for (name, value) in &sources.services {
        if find(env, name).is_none() {
            env.push((name.clone(), value.clone()));
        }
    }
    Ok(made)
}

/// `argv`: the command, or the container's name where the image's own program runs, and then the arguments. A module
/// has one program, so a command's words after the first are arguments before the others.
pub fn arguments(container: &core::Container, env: &[(String, String)], image: &Program) -> Vec<String> {
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, |name| find(env, name))).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    image.arguments(&container.name, command, args)
}

fn set(env: &mut Vec<(String, String)>, name: String, value: String) {
    match env.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => env.push((name, value)),
    }
}

fn add_all(
    from: &core::EnvFromSource,
    sources: &Sources,
    facts: Facts<'_>,
    made: &mut Environment,
) -> Result<(), String> {
    let (kind, name, found) = if let Some(reference) = &from.config_map_ref {
        let map = sources.config_maps.get(&reference.name).and_then(Option::as_ref);
        let data = map.map(|map| map.data.clone().unwrap_or_default());
        ("configMap", &reference.name, data.ok_or(reference.optional == Some(true)))
    } else if let Some(reference) = &from.secret_ref {
        let secret = sources.secrets.get(&reference.name).and_then(Option::as_ref);
        let data = secret.map(|secret| texts(secret, &reference.name, facts)).transpose()?;
        ("secret", &reference.name, data.ok_or(reference.optional == Some(true)))
    } else {
        return Ok(());
    };
    let data = match found {
        Ok(data) => data,
        Err(true) => return Ok(()),
        Err(false) => return Err(absent(&kind.to_lowercase(), name)),
    };
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let mut invalid = Vec::new();
    for (key, value) in data {
        let variable = format!("{prefix}{key}");
        if is_name(&variable) { set(&mut made.variables, variable, value) } else { invalid.push(variable) }
    }
    if !invalid.is_empty() {
        made.skipped.push(format!(
            "Keys [{}] from the EnvFrom {kind} {}/{name} were skipped since they are considered invalid environment \
             variable names.",
            invalid.join(", "),
            namespace(facts)
        ));
    }
    Ok(())
}

fn texts(secret: &core::Secret, name: &str, facts: Facts<'_>) -> Result<BTreeMap<String, String>, String> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| Ok((key.clone(), text(value.0.clone(), name, key, facts)?))).collect()
}

/// Source: `IsRelaxedEnvVarName`, the rule since v1.34: printable ASCII without `=`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
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
        return match (value, map) {
            (Some(value), _) => Ok(Some(value)),
            (None, _) if key.optional == Some(true) => Ok(None),
            (None, None) => Err(absent("configmap", &key.name)),
            (None, Some(_)) => Err(no_key(&key.key, "ConfigMap", &key.name, facts)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let secret = sources.secrets.get(&key.name).and_then(Option::as_ref);
        let value = secret.and_then(|secret| secret.data.as_ref()?.get(&key.key).cloned());
        return match (value, secret) {
            (Some(value), _) => text(value.0, &key.name, &key.key, facts).map(Some),
            (None, _) if key.optional == Some(true) => Ok(None),
            (None, None) => Err(absent("secret", &key.name)),
            (None, Some(_)) => Err(no_key(&key.key, "Secret", &key.name, facts)),
        };
    }
    match &source.file_key_ref {
        Some(key) => from_file(key, facts, sources),
        None => Ok(Some(String::new())),
    }
}

fn from_file(key: &core::FileKeySelector, facts: Facts<'_>, sources: &Sources) -> Result<Option<String>, String> {
    let mut volumes = facts.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    if !volumes.any(|volume| volume.name == key.volume_name) {
        return Err(format!("cannot find the volume {:?} referenced by FileKeyRef", key.volume_name));
    }
    let place = (key.volume_name.clone(), key.path.clone());
    let bytes = sources.files.get(&place).and_then(Option::as_ref);
    let found = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).map(|text| file::find(text, &key.key));
    match found {
        Some(Ok(Some(value))) => Ok(Some(value)),
        Some(Ok(None)) if key.optional == Some(true) => Ok(None),
        Some(Ok(None)) => Err(format!("environment variable key {:?} not found in file {:?}", key.key, key.path)),
        Some(Err(())) | None => Err("couldn't parse env file".into()),
    }
}

fn no_key(key: &str, kind: &str, name: &str, facts: Facts<'_>) -> String {
    format!("couldn't find key {key} in {kind} {}/{name}", namespace(facts))
}

fn absent(kind: &str, name: &str) -> String {
    format!("{kind} {name:?} not found")
}

fn namespace<'a>(facts: Facts<'a>) -> &'a str {
    facts.pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn text(value: Vec<u8>, name: &str, key: &str, facts: Facts<'_>) -> Result<String, String> {
    let value = String::from_utf8(value);
    value.map_err(|_| format!("key {key} of secret {}/{name} is not text", namespace(facts)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;
    use expect_test::expect;

    fn pod(containers: &str) -> core::Pod {
        let pod = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p","namespace":"n"}},
            "spec":{{"volumes":[{{"name":"v","emptyDir":{{}}}}],"containers":[{containers}]}}}}"#
        );
        core::Pod::decode(pod.as_bytes()).unwrap()
    }

    fn made(pod: &core::Pod, sources: &Sources) -> Result<Environment, String> {
        let facts = Facts {
            pod,
            pod_ip: Ipv4Addr::new(127, 64, 0, 1),
            host_ip: Ipv4Addr::LOCALHOST.into(),
            node_cpu_millis: 2000,
            node_memory_bytes: 1 << 30,
            node_storage_bytes: 1 << 40,
        };
        environment(&pod.spec.as_ref().unwrap().containers[0], facts, sources)
    }

    fn lines(environment: &Environment) -> String {
        let lines: Vec<String> = environment.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.join("\n")
    }

    #[test]
    fn every_source_of_a_variable() {
        let pod = pod(r#"{"name":"c","command":["prog","$(X)"],"args":["$(NAME)","$(WEB_SERVICE_HOST)"],
            "envFrom":[{"prefix":"P_","configMapRef":{"name":"m"}},{"secretRef":{"name":"gone","optional":true}},
              {"secretRef":{"name":"s"}}],
            "env":[{"name":"X","value":"x"},{"name":"NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
              {"name":"Y","value":"$(X)-$(P_k)-$(Z)-$(WEB_SERVICE_HOST)"},{"name":"Z","value":"late"},
              {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}}},
              {"name":"M","valueFrom":{"configMapKeyRef":{"name":"m","key":"k"}}},
              {"name":"S","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},
              {"name":"NONE","valueFrom":{"secretKeyRef":{"name":"s","key":"no","optional":true}}},
              {"name":"NOMAP","valueFrom":{"configMapKeyRef":{"name":"gone","key":"no","optional":true}}},
              {"name":"F","valueFrom":{"fileKeyRef":{"volumeName":"v","path":"env","key":"A"}}},
              {"name":"NOKEY","valueFrom":{"fileKeyRef":{"volumeName":"v","path":"env","key":"no","optional":true}}},
              {"name":"EMPTY"},{"name":"WEB_PORT","value":"mine"},{"name":"X","value":"again"}]}"#);
        let wanted = wanted(&pod.spec.as_ref().unwrap().containers[0]);
        assert_eq!(wanted.config_maps.len() + wanted.secrets.len() + wanted.files.len(), 5);
        let mut sources = Sources {
            services: vec![("WEB_SERVICE_HOST".into(), "10.0.0.1".into()), ("WEB_PORT".into(), "80".into())],
            ..Sources::default()
        };
        assert_eq!(made(&pod, &sources).unwrap_err(), "configmap \"m\" not found");
        let map = core::ConfigMap::decode(br#"{"data":{"k":"v","1-odd.key":"kept"}}"#).unwrap();
        sources.config_maps.insert("m".into(), Some(map));
        assert_eq!(made(&pod, &sources).unwrap_err(), "secret \"s\" not found");
        let secret = core::Secret::decode(br#"{"data":{"k":"c2VjcmV0"}}"#).unwrap();
        sources.secrets.insert("s".into(), Some(secret));
        assert_eq!(made(&pod, &sources).unwrap_err(), "couldn't parse env file");
        sources.files.insert(("v".into(), "env".into()), Some(b"A='from a file'".to_vec()));
        let environment = made(&pod, &sources).unwrap();
        assert_eq!(environment.skipped, Vec::<String>::new());
        let want = expect![[r#"
            P_1-odd.key=kept
            P_k=v
            k=secret
            X=again
            NAME=p
            Y=x-v-$(Z)-10.0.0.1
            Z=late
            CPU=2000
            M=v
            S=secret
            F=from a file
            EMPTY=
            WEB_PORT=mine
            WEB_SERVICE_HOST=10.0.0.1"#]];
        want.assert_eq(&lines(&environment));
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let arguments = arguments(container, &environment.variables, &Program::default());
        assert_eq!(arguments, ["prog", "again", "p", "10.0.0.1"]);
    }

    #[test]
    fn what_is_missing_is_said_as_upstream_says_it() {
        let one = |source: &str| pod(&format!(r#"{{"name":"c","env":[{{"name":"X","valueFrom":{source}}}]}}"#));
        let map = core::ConfigMap::decode(br#"{"data":{"k":"v"}}"#).unwrap();
        let secret = core::Secret::decode(br#"{"data":{"bin":"/w=="}}"#).unwrap();
        let mut sources = Sources::default();
        sources.config_maps.insert("m".into(), Some(map));
        sources.secrets.insert("s".into(), Some(secret));
        sources.files.insert(("v".into(), "env".into()), Some(b"A='1'".to_vec()));
        sources.files.insert(("v".into(), "bad".into()), Some(b"A=1".to_vec()));
        let table = [
            (r#"{"configMapKeyRef":{"name":"m","key":"no"}}"#, "couldn't find key no in ConfigMap n/m"),
            (r#"{"secretKeyRef":{"name":"s","key":"no"}}"#, "couldn't find key no in Secret n/s"),
            (r#"{"configMapKeyRef":{"name":"gone","key":"no"}}"#, "configmap \"gone\" not found"),
            (r#"{"secretKeyRef":{"name":"gone","key":"no"}}"#, "secret \"gone\" not found"),
            (r#"{"secretKeyRef":{"name":"s","key":"bin"}}"#, "key bin of secret n/s is not text"),
            (r#"{"fieldRef":{"fieldPath":"spec.x"}}"#, "unsupported fieldPath: spec.x"),
            (
                r#"{"fileKeyRef":{"volumeName":"v","path":"env","key":"no"}}"#,
                "environment variable key \"no\" not found in file \"env\"",
            ),
            (r#"{"fileKeyRef":{"volumeName":"v","path":"bad","key":"A","optional":true}}"#, "couldn't parse env file"),
            (
                r#"{"fileKeyRef":{"volumeName":"no","path":"env","key":"A"}}"#,
                "cannot find the volume \"no\" referenced by FileKeyRef",
            ),
        ];
        for (source, want) in table {
            assert_eq!(made(&one(source), &sources).unwrap_err(), want, "{source}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_skipped_and_told() {
        let pod =
            pod(r#"{"name":"c","envFrom":[{"configMapRef":{"name":"m"}},{"prefix":"=","secretRef":{"name":"s"}}]}"#);
        let mut sources = Sources::default();
        let map = core::ConfigMap::decode(r#"{"data":{"a=b":"1","ü":"2","fine key":"3"}}"#.as_bytes()).unwrap();
        let secret = core::Secret::decode(br#"{"data":{"k":"c2VjcmV0"}}"#).unwrap();
        sources.config_maps.insert("m".into(), Some(map));
        sources.secrets.insert("s".into(), Some(secret));
        let environment = made(&pod, &sources).unwrap();
        assert_eq!(lines(&environment), "fine key=3");
        let told = |keys: &str, from: &str| {
            format!(
                "Keys [{keys}] from the EnvFrom {from} were skipped since they are considered invalid environment \
                 variable names."
            )
        };
        assert_eq!(environment.skipped, [told("a=b, ü", "configMap n/m"), told("=k", "secret n/s")]);
    }
}
