//! The files of a volume that comes from the API: their paths, bytes and modes.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1 as core;

use crate::limits::VOLUME_BYTES_MAX;

/// Source: the API's default of every `defaultMode`.
const MODE_DEFAULT: u32 = 0o644;

/// Files by their paths in the volume.
pub type Files = BTreeMap<String, File>;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    /// As the pod asks for it. Guests see no modes, and all run as the kubelet's own user.
    pub mode: u32,
}

/// The keys of an object as the files of a volume.
pub struct Pick<'a> {
    /// As messages name the object's keys: `config`, `secret`.
    pub what: &'static str,
    pub items: Option<&'a [core::KeyToPath]>,
    pub default_mode: Option<i32>,
    pub is_optional: bool,
}

impl Pick<'_> {
    /// The keys that a volume names, under the paths that it gives them; all of them when it names none.
    ///
    /// # Errors
    /// Of a key that is not there and not optional.
    pub fn of(&self, mut all: BTreeMap<String, Vec<u8>>) -> Result<Files, String> {
        let default_mode = mode(None, self.default_mode);
        let Some(items) = self.items.filter(|items| !items.is_empty()) else {
            return Ok(all.into_iter().map(|(key, bytes)| (key, File { bytes, mode: default_mode })).collect());
        };
        let mut picked = Files::new();
        for item in items {
            match all.get_mut(&item.key) {
                Some(bytes) => {
                    let file = File { bytes: bytes.clone(), mode: mode(item.mode, self.default_mode) };
                    picked.insert(item.path.clone(), file);
                }
                None if self.is_optional => {}
                None => {
                    let owner = if self.what == "config" { "configmap " } else { "" };
                    return Err(format!("{owner}references non-existent {} key: {}", self.what, item.key));
                }
            }
        }
        Ok(picked)
    }
}

/// A file's own mode, or its volume's.
pub fn mode(own: Option<i32>, default: Option<i32>) -> u32 {
    own.or(default).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(MODE_DEFAULT) & 0o777
}

/// Whether a file may have this path: it stays in its volume, and takes no name of the writer's own.
fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with("..")
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Checks what is about to be written.
///
/// # Errors
/// Of a path that leads out, or of too many bytes.
pub fn check(files: &Files) -> Result<(), String> {
    if let Some(path) = files.keys().find(|path| !is_plain(path)) {
        return Err(format!("invalid path: {path:?} must stay in its volume and not start with '..'"));
    }
    let bytes: usize = files.values().map(|file| file.bytes.len()).sum();
    if bytes > VOLUME_BYTES_MAX {
        return Err(format!("its files are {bytes} bytes, more than the {VOLUME_BYTES_MAX} that a volume may have"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn items_choose_keys_their_paths_and_modes() {
        let all = || BTreeMap::from([("k".to_owned(), b"v".to_vec()), ("l".to_owned(), b"w".to_vec())]);
        let item = |key: &str, mode| core::KeyToPath { key: key.into(), path: format!("p/{key}"), mode };
        let pick = |items: Option<&[core::KeyToPath]>, default_mode, is_optional, what| {
            let files = Pick { what, items, default_mode, is_optional }.of(all())?;
            Ok::<_, String>(files.into_iter().map(|(path, file)| (path, file.mode)).collect::<Vec<_>>())
        };
        let named = |list: &[(&str, u32)]| -> Vec<(String, u32)> {
            list.iter().map(|(path, mode)| ((*path).to_owned(), *mode)).collect()
        };
        assert_eq!(pick(None, None, false, "config"), Ok(named(&[("k", 0o644), ("l", 0o644)])));
        assert_eq!(pick(Some(&[]), Some(0o400), false, "config"), Ok(named(&[("k", 0o400), ("l", 0o400)])));
        let both = [item("k", Some(0o440)), item("l", None)];
        assert_eq!(pick(Some(&both), Some(0o600), false, "config"), Ok(named(&[("p/k", 0o440), ("p/l", 0o600)])));
        let no = [item("no", None)];
        assert_eq!(pick(Some(&no), None, true, "config"), Ok(Vec::new()));
        let message = |what| pick(Some(&no), None, false, what).unwrap_err();
        assert_eq!(message("config"), "configmap references non-existent config key: no");
        assert_eq!(message("secret"), "references non-existent secret key: no");
    }

    #[test]
    fn hostile_paths_are_refused() {
        let files = |path: &str| Files::from([(path.to_owned(), File { bytes: Vec::new(), mode: 0o644 })]);
        for path in ["", "/x", "..", "../x", "..data", "..data/x", "a/../x", "a/../../x", "./x/.."] {
            assert!(check(&files(path)).is_err(), "{path}");
        }
        for path in ["x", "a/b/c", ".hidden", "a..b", "a/..b"] {
            assert_eq!(check(&files(path)), Ok(()), "{path}");
        }
        let large = File { bytes: vec![0; VOLUME_BYTES_MAX + 1], mode: 0o644 };
        assert!(check(&Files::from([("x".to_owned(), large)])).is_err());
    }
}
