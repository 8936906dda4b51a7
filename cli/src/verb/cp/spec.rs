//! The two ends of a copy, as they are typed; and paths within containers, which are Linux's wherever this runs.

use crate::failure::{Failure, Result};

/// A file or folder, here or in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    Local(String),
    Remote { namespace: Option<String>, pod: String, path: String },
}

impl Spec {
    /// Reads `[[namespace/]pod:]file/path`.
    ///
    /// # Errors
    /// When it has another form, or names no file.
    pub fn parse(text: &str) -> Result<Self> {
        let malformed = || Failure::new("filespec must match the canonical format: [[namespace/]pod:]file/path");
        let Some((pod, path)) = text.split_once(':') else {
            return named(text).map(|path| Self::Local(path.to_owned()));
        };
        let path = named(path)?.to_owned();
        match *pod.split('/').collect::<Vec<_>>().as_slice() {
            [""] => Err(malformed()),
            [pod] => Ok(Self::Remote { namespace: None, pod: pod.to_owned(), path }),
            [namespace, pod] => Ok(Self::Remote { namespace: Some(namespace.to_owned()), pod: pod.to_owned(), path }),
            _ => Err(malformed()),
        }
    }
}

fn named(path: &str) -> Result<&str> {
    let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
    if path.is_empty() { Err(Failure::new("filepath can not be empty")) } else { Ok(path) }
}

/// The parts of a path without `.` and empty ones, each `..` taking the one before it away; those that lead out of where it
/// begins are counted.
pub fn parts(path: &str) -> (usize, Vec<&str>) {
    let (mut outward, mut inward) = (0, Vec::new());
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." if inward.pop().is_none() => outward += 1,
            ".." => {}
            _ => inward.push(part),
        }
    }
    (outward, inward)
}

/// A path's folder, and its last part. Source: Go's `path.Split` of a clean path.
pub fn split(path: &str) -> (String, String) {
    let (outward, mut inward) = parts(path);
    let is_absolute = path.starts_with('/');
    let last = inward.pop();
    let mut folder: Vec<&str> = if is_absolute { Vec::new() } else { vec![".."; outward] };
    folder.extend(inward);
    let folder = match (is_absolute, folder.join("/")) {
        (true, folder) => format!("/{folder}"),
        (false, folder) if folder.is_empty() => ".".to_owned(),
        (false, folder) => folder,
    };
    (folder, last.unwrap_or(".").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        let remote = |namespace: Option<&str>, pod: &str, path: &str| {
            Some(Spec::Remote { namespace: namespace.map(str::to_owned), pod: pod.to_owned(), path: path.to_owned() })
        };
        for (text, want) in [
            ("/a/b/", Some(Spec::Local("/a/b".to_owned()))),
            ("/", Some(Spec::Local("/".to_owned()))),
            ("pod:/a", remote(None, "pod", "/a")),
            ("ns/pod:a:b/", remote(Some("ns"), "pod", "a:b")),
            ("pod:", None),
            ("", None),
            (":/a", None),
            ("a/b/c:/d", None),
        ] {
            assert_eq!(Spec::parse(text).ok(), want, "{text}");
        }
        let refused = Spec::parse("a/b/c:/d").expect_err("too many parts").message();
        assert_eq!(refused, "error: filespec must match the canonical format: [[namespace/]pod:]file/path");
    }

    #[test]
    fn paths_are_split() {
        for (path, folder, last) in [
            ("/a/b", "/a", "b"),
            ("/a", "/", "a"),
            ("/", "/", "."),
            ("a", ".", "a"),
            ("a/./../b//c/", "b", "c"),
            ("../../a", "../..", "a"),
            ("/../a/b", "/a", "b"),
            (".", ".", "."),
        ] {
            assert_eq!(split(path), (folder.to_owned(), last.to_owned()), "{path}");
        }
    }
}
