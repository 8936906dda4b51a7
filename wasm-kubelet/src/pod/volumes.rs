//! The folders that a pod's containers see: made before its first container starts, removed after its last has ended.
//!
//! ```text
//! ROOT/pods/<uid>/volumes/<name>/…     mode 0700, files 0600, whatever the pod asks for: the node's user reads them all
//! ```
//!
//! What comes from the API is written anew each time; an `emptyDir` lives as long as its pod, over restarts of the
//! kubelet too. Source: kubelet's volume plugins.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use coracle_client::Client;
use http::Request;
use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::env::{Facts, container_resource, pod_field};
use super::state::Failure;
use crate::limits::VOLUME_BYTES_MAX;
use crate::runtime::Mount;

/// Files of a volume by their paths in it.
type Files = BTreeMap<String, Vec<u8>>;

/// The folder of one pod.
#[derive(Clone, Debug)]
pub struct PodDir(PathBuf);

impl PodDir {
    /// The folder of the pod with this uid; not made yet.
    pub fn new(root: &Path, uid: &str) -> Self {
        Self(root.join("pods").join(uid.replace(['/', '.'], "_")))
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.0.join("volumes").join(name)
    }

    /// Removes all of it. Blocks.
    pub fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %self.0.display(), %error, "cannot remove a pod's volumes");
        }
    }
}

/// Removes the folders of pods that are not known. Blocks.
pub fn sweep(root: &Path, is_known: impl Fn(&str) -> bool) {
    for dir in fs::read_dir(root.join("pods")).into_iter().flatten().flatten() {
        if !dir.file_name().to_str().is_some_and(&is_known) {
            PodDir(dir.path()).remove();
        }
    }
}

/// What API servers call the volume by which they give every pod a token. Source: the `ServiceAccount` admission plugin.
const API_ACCESS: &str = "kube-api-access-";

/// Whether a volume is the API access that every pod is given unasked. A guest that was not written for Kubernetes has
/// no use for it, so it is made for pods only that say `automountServiceAccountToken: true`: thousands of small pods
/// pay no token and no files for it, and none holds a credential that it did not ask for.
fn is_unasked(spec: &core::PodSpec, volume: &str) -> bool {
    volume.starts_with(API_ACCESS) && spec.automount_service_account_token != Some(true)
}

/// The volumes of a pod that are made.
pub fn wanted(pod: &core::Pod) -> impl Iterator<Item = &core::Volume> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| spec.volumes.iter().flatten().filter(|volume| !is_unasked(spec, &volume.name)))
}

/// Makes all volumes of a pod.
///
/// # Errors
/// What is missing; the kubelet tries again.
pub async fn prepare(dir: &PodDir, facts: Facts<'_>, client: &Client) -> Result<(), Failure> {
    for volume in wanted(facts.pod) {
        let made = make(dir, volume, facts, client).await;
        made.map_err(|why| mount_failure(&volume.name, &why))?;
    }
    Ok(())
}

fn mount_failure(name: &str, why: &str) -> Failure {
    Failure { reason: "FailedMount", message: format!("MountVolume.SetUp failed for volume {name:?} : {why}") }
}

async fn make(dir: &PodDir, volume: &core::Volume, facts: Facts<'_>, client: &Client) -> Result<(), String> {
    let path = dir.volume(&volume.name);
    if let Some(host) = &volume.host_path {
        let wants_made = host.type_.as_deref() == Some("DirectoryOrCreate");
        let is_there = Path::new(&host.path).is_dir();
        return match (is_there, wants_made) {
            (true, _) => Ok(()),
            (false, true) => make_dir(Path::new(&host.path)).map_err(|error| error.to_string()),
            (false, false) => Err(format!("hostPath type check failed: {} is not a directory", host.path)),
        };
    }
    if volume.empty_dir.is_some() {
        return make_dir(&path).map_err(|error| error.to_string());
    }
    let files = files(volume, facts, client).await?;
    let bytes: usize = files.values().map(Vec::len).sum();
    if bytes > VOLUME_BYTES_MAX {
        return Err(format!("its files are {bytes} bytes, more than the {VOLUME_BYTES_MAX} that a volume may have"));
    }
    write_files(&path, &files).map_err(|error| error.to_string())
}

async fn files(volume: &core::Volume, facts: Facts<'_>, client: &Client) -> Result<Files, String> {
    if let Some(source) = &volume.config_map {
        return config_map(&source.name, source.items.as_deref(), source.optional, facts, client).await;
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        return secret(name, source.items.as_deref(), source.optional, facts, client).await;
    }
    if let Some(source) = &volume.downward_api {
        return downward(source.items.as_deref().unwrap_or_default(), facts);
    }
    let mut all = Files::new();
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        all.extend(projection(source, facts, client).await?);
    }
    Ok(all)
}

async fn projection(source: &core::VolumeProjection, facts: Facts<'_>, client: &Client) -> Result<Files, String> {
    if let Some(map) = &source.config_map {
        return config_map(&map.name, map.items.as_deref(), map.optional, facts, client).await;
    }
    if let Some(from) = &source.secret {
        return secret(&from.name, from.items.as_deref(), from.optional, facts, client).await;
    }
    if let Some(from) = &source.downward_api {
        return downward(from.items.as_deref().unwrap_or_default(), facts);
    }
    if let Some(from) = &source.service_account_token {
        return Ok(Files::from([(from.path.clone(), token(from, facts, client).await?)]));
    }
    Ok(Files::new())
}

async fn config_map(
    name: &str,
    items: Option<&[core::KeyToPath]>,
    optional: Option<bool>,
    facts: Facts<'_>,
    client: &Client,
) -> Result<Files, String> {
    let found =
        client.namespaced::<core::ConfigMap>(namespace(facts)).find(name).await.map_err(|error| error.to_string())?;
    let Some(map) = found else { return missing("configmap", name, optional) };
    let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
    let all = text.chain(map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0))).collect();
    pick(all, items, optional)
}

async fn secret(
    name: &str,
    items: Option<&[core::KeyToPath]>,
    optional: Option<bool>,
    facts: Facts<'_>,
    client: &Client,
) -> Result<Files, String> {
    let found =
        client.namespaced::<core::Secret>(namespace(facts)).find(name).await.map_err(|error| error.to_string())?;
    let Some(secret) = found else { return missing("secret", name, optional) };
    pick(secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect(), items, optional)
}

fn missing(kind: &str, name: &str, optional: Option<bool>) -> Result<Files, String> {
    if optional == Some(true) { Ok(Files::new()) } else { Err(format!("{kind} {name:?} not found")) }
}

/// The keys that a volume names, under the paths that it gives them; all of them when it names none.
fn pick(mut all: Files, items: Option<&[core::KeyToPath]>, optional: Option<bool>) -> Result<Files, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else { return Ok(all) };
    let mut picked = Files::new();
    for item in items {
        match all.remove(&item.key) {
            Some(value) => drop(picked.insert(item.path.clone(), value)),
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(picked)
}

fn downward(items: &[core::DownwardAPIVolumeFile], facts: Facts<'_>) -> Result<Files, String> {
    let mut files = Files::new();
    for item in items {
        let value = if let Some(field) = &item.field_ref {
            pod_field(&field.field_path, facts)?
        } else if let Some(resource) = &item.resource_field_ref {
            container_resource(resource, &core::Container::default(), facts)?
        } else {
            continue;
        };
        files.insert(item.path.clone(), value.into_bytes());
    }
    Ok(files)
}

/// A token of the pod's service account, bound to the pod. Source: the `TokenRequest` API.
async fn token(
    source: &core::ServiceAccountTokenProjection,
    facts: Facts<'_>,
    client: &Client,
) -> Result<Vec<u8>, String> {
    let meta = &facts.pod.metadata;
    let account = facts.pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let audiences: Vec<&String> = source.audience.iter().filter(|audience| !audience.is_empty()).collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": source.expiration_seconds.unwrap_or(3600),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
        },
    });
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{account}/token", namespace(facts));
    let request = Request::post(path)
        .header("Content-Type", "application/json")
        .body(body.to_string().into())
        .map_err(|error| error.to_string())?;
    let response = client.raw(request).await.map_err(|error| format!("failed to fetch token: {error}"))?;
    let answer: Value = serde_json::from_slice(response.body()).map_err(|error| error.to_string())?;
    let token = answer["status"]["token"].as_str().ok_or("the API server's answer holds no token")?;
    Ok(token.as_bytes().to_vec())
}

fn namespace(facts: Facts<'_>) -> &str {
    facts.pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// What a container sees, in the order of its `volumeMounts`. Folders that a `subPath` names are made.
///
/// # Errors
/// When a folder is not there, or leads out of its volume by a symbolic link.
pub fn mounts(dir: &PodDir, pod: &core::Pod, container: &core::Container) -> Result<Vec<Mount>, Failure> {
    let is_unasked = |name: &str| pod.spec.as_ref().is_some_and(|spec| is_unasked(spec, name));
    let mount = |mount: &core::VolumeMount| {
        let volume = wanted(pod).find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| mount_failure(&mount.name, "the pod has no such volume"))?;
        let made = mount_of(dir, volume, mount);
        made.map_err(|error| mount_failure(&mount.name, &error.to_string()))
    };
    container.volume_mounts.iter().flatten().filter(|mount| !is_unasked(&mount.name)).map(mount).collect()
}

fn mount_of(dir: &PodDir, volume: &core::Volume, mount: &core::VolumeMount) -> io::Result<Mount> {
    let base = match &volume.host_path {
        Some(host) => PathBuf::from(&host.path),
        None => dir.volume(&volume.name),
    };
    let is_writable = volume.empty_dir.is_some() || volume.host_path.is_some();
    let base = base.canonicalize()?;
    let mut host = base.clone();
    if let Some(sub_path) = mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
        host = step_into(&base, Path::new(sub_path), is_writable)?;
    }
    let read_only = mount.read_only == Some(true) || !is_writable;
    Ok(Mount { host, guest: mount.mount_path.clone(), read_only })
}

/// `base/sub`, made where it is missing; refused where a link on the way leads out of `base`.
fn step_into(base: &Path, sub: &Path, may_make: bool) -> io::Result<PathBuf> {
    let mut path = base.to_owned();
    for part in sub.components() {
        let Component::Normal(part) = part else { continue };
        path.push(part);
        if may_make && !path.exists() {
            make_dir(&path)?;
        }
        path = path.canonicalize()?;
        if !path.starts_with(base) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "subPath leads out of its volume"));
        }
    }
    Ok(path)
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces what a volume holds by `files`.
fn write_files(dir: &Path, files: &Files) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => make_dir(dir)?,
    }
    for (name, bytes) in files {
        let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} leads out of the volume")));
        }
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;

    #[test]
    fn files_are_replaced_and_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        let files = |list: &[(&str, &str)]| -> Files {
            list.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
        };
        write_files(&volume, &files(&[("a", "1"), ("d/b", "2")])).unwrap();
        write_files(&volume, &files(&[("a", "3")])).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "3");
        assert!(!volume.join("d").exists());
        for name in ["../x", "/x", "a/../../x"] {
            assert!(write_files(&volume, &files(&[(name, "")])).is_err(), "{name}");
        }
    }

    #[test]
    fn a_sub_path_is_made_and_does_not_follow_links_out() {
        let root = tempfile::tempdir().unwrap();
        let dir = PodDir::new(root.path(), "u1");
        let pod = core::Pod::decode(
            br#"{"metadata":{"name":"p"},"spec":{"volumes":[{"name":"e","emptyDir":{}}],"containers":[{"name":"c",
            "volumeMounts":[{"name":"e","mountPath":"/data","subPath":"a/b","readOnly":true}]}]}}"#,
        )
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        assert_eq!(mounts(&dir, &pod, container).unwrap_err().reason, "FailedMount");
        make_dir(&dir.volume("e")).unwrap();
        let made = mounts(&dir, &pod, container).unwrap();
        assert!(made[0].host.ends_with("e/a/b") && made[0].read_only && made[0].guest == "/data");

        fs::remove_dir(dir.volume("e").join("a/b")).unwrap();
        std::os::unix::fs::symlink("/", dir.volume("e").join("a/b")).unwrap();
        assert!(mounts(&dir, &pod, container).unwrap_err().message.contains("leads out"));
        dir.remove();
        assert!(!dir.0.exists());
    }

    #[test]
    fn api_access_is_for_those_who_ask() {
        let pod = |asks: &str| {
            let spec = format!(
                r#"{{{asks}"volumes":[{{"name":"kube-api-access-x","projected":{{}}}},{{"name":"e","emptyDir":{{}}}}],
                "containers":[{{"name":"c","volumeMounts":[{{"name":"kube-api-access-x","mountPath":"/var"}}]}}]}}"#
            );
            core::Pod::decode(format!(r#"{{"metadata":{{"name":"p"}},"spec":{spec}}}"#).as_bytes()).unwrap()
        };
        let names = |pod: &core::Pod| wanted(pod).map(|volume| volume.name.clone()).collect::<Vec<_>>();
        let root = tempfile::tempdir().unwrap();
        let dir = PodDir::new(root.path(), "u1");
        let unasked = pod("");
        assert_eq!(names(&unasked), ["e"]);
        let container = &unasked.spec.as_ref().unwrap().containers[0];
        assert_eq!(mounts(&dir, &unasked, container).unwrap(), []);
        let asked = pod(r#""automountServiceAccountToken":true,"#);
        assert_eq!(names(&asked), ["kube-api-access-x", "e"]);
        let container = &asked.spec.as_ref().unwrap().containers[0];
        assert_eq!(mounts(&dir, &asked, container).unwrap_err().reason, "FailedMount", "it has to be made first");
    }

    #[test]
    fn items_choose_keys_and_their_paths() {
        let all = || Files::from([("k".to_owned(), b"v".to_vec()), ("l".to_owned(), b"w".to_vec())]);
        let item = |key: &str| core::KeyToPath { key: key.into(), path: "p/q".into(), mode: None };
        assert_eq!(pick(all(), None, None).unwrap().len(), 2);
        assert_eq!(pick(all(), Some(&[item("k")]), None).unwrap(), Files::from([("p/q".to_owned(), b"v".to_vec())]));
        assert!(pick(all(), Some(&[item("no")]), None).is_err());
        assert!(pick(all(), Some(&[item("no")]), Some(true)).unwrap().is_empty());
    }
}
