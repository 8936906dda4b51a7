//! What a module is given, from flags to the spec of a pod.

use std::path::PathBuf;
use std::time::Duration;

use coracle_api::quantity::Quantity;
use serde_json::{Map, Value, json};

/// The name of the pod's only container.
pub const CONTAINER: &str = "main";

/// Everything that a module gets.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    pub image: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub folders: Vec<Folder>,
    pub memory: Option<String>,
    pub cpu: Option<String>,
    /// Where it is served, when it answers HTTP requests.
    pub port: Option<u16>,
}

/// A folder of this machine as the module sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    pub host: PathBuf,
    pub guest: String,
    pub read_only: bool,
}

impl Grants {
    /// The spec of a pod that is given just this.
    pub fn pod_spec(&self) -> Value {
        let mut limits = Map::new();
        limits.extend(self.memory.clone().map(|memory| ("memory".to_owned(), memory.into())));
        limits.extend(self.cpu.clone().map(|cpu| ("cpu".to_owned(), cpu.into())));
        let env: Vec<Value> = self.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let folders = || self.folders.iter().enumerate();
        let mounts: Vec<Value> = folders()
            .map(|(at, it)| json!({"name": format!("dir-{at}"), "mountPath": it.guest, "readOnly": it.read_only}))
            .collect();
        let volumes: Vec<Value> = folders()
            .map(|(at, it)| json!({"name": format!("dir-{at}"), "hostPath": {"path": it.host, "type": "Directory"}}))
            .collect();
        let ports: Vec<Value> = self.port.iter().map(|port| json!({"containerPort": port})).collect();
        json!({
            "containers": [{
                "name": CONTAINER, "image": self.image, "imagePullPolicy": "IfNotPresent", "args": self.args,
                "env": env, "volumeMounts": mounts, "ports": ports, "resources": {"limits": limits},
            }],
            "volumes": volumes,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
        })
    }
}

/// `NAME=VALUE`
pub fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("not NAME=VALUE".to_owned()),
    }
}

/// `HOST:GUEST` or `HOST:GUEST:ro`
pub fn folder(text: &str) -> Result<Folder, String> {
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    let (host, guest) = rest.split_once(':').ok_or("not HOST:GUEST, such as /tmp/data:/data or .:/work:ro")?;
    if !guest.starts_with('/') {
        return Err(format!("the guest's path \"{guest}\" must begin with /"));
    }
    let host = std::fs::canonicalize(host).map_err(|error| format!("{host}: {error}"))?;
    if !host.is_dir() {
        return Err(format!("{} is not a folder", host.display()));
    }
    Ok(Folder { host, guest: guest.to_owned(), read_only })
}

/// A quantity as Kubernetes has it.
pub fn quantity(text: &str) -> Result<String, String> {
    let parsed: Quantity = text.parse().map_err(|_| "not a quantity such as 64Mi or 500m".to_owned())?;
    Ok(parsed.to_string())
}

/// A time with a unit, or in seconds: `500ms`, `10s`, `5m`, `1h`.
pub fn time(text: &str) -> Result<Duration, String> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().map(Duration::from_millis).map_err(|_| format!("\"{text}\" is not a time"));
    }
    crate::verb::logs::seconds(text).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn flags_become_a_pod() {
        let host = tempfile::tempdir().unwrap();
        let shown = host.path().canonicalize().unwrap();
        let grants = Grants {
            image: "file:///a.wasm".into(),
            args: vec!["x".into()],
            env: vec![variable("A=b=c").unwrap()],
            folders: vec![folder(&format!("{}:/data:ro", shown.display())).unwrap()],
            memory: Some(quantity("64Mi").unwrap()),
            ..Grants::default()
        };
        let spec = grants.pod_spec();
        let container = &spec["containers"][0];
        assert_eq!(container["env"], json!([{"name": "A", "value": "b=c"}]));
        assert_eq!(container["volumeMounts"], json!([{"name": "dir-0", "mountPath": "/data", "readOnly": true}]));
        assert_eq!(container["resources"]["limits"], json!({"memory": "64Mi"}));
        assert_eq!(spec["volumes"][0]["hostPath"]["path"], json!(shown));
    }

    #[test]
    fn bad_flags_are_refused_with_words() {
        assert!(variable("=x").is_err() && variable("x").is_err());
        assert!(folder("/tmp").unwrap_err().contains("not HOST:GUEST"));
        assert!(folder("/tmp:data").unwrap_err().contains("must begin with /"));
        assert!(folder("/does/not/exist:/data").is_err());
        assert!(quantity("much").is_err());
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
    }
}
