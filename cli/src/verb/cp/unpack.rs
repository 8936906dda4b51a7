//! What came from a container, put here. Containers are not trusted: nothing is written but below where it was asked for,
//! and no links are made.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use coracle_kubelet::wire::archive::{Kind, Member, next, skip_padding};

use super::spec::parts;

/// Puts what an archive has of the path `from` at `to`; what is left out is told to `warn`.
///
/// # Errors
/// When what comes is no archive of that path, or something cannot be written.
pub fn unpack(from: &str, to: &Path, mut archive: impl Read, mut warn: impl FnMut(String)) -> anyhow::Result<()> {
    let prefix = parts(from).1;
    while let Some(member) = next(&mut archive)? {
        let Member { name, size, kind, .. } = member;
        let place = place(&prefix, to, &name)?;
        let mut content = archive.by_ref().take(size);
        match (place, kind) {
            (None, _) => warn(format!("warning: file {name:?} is outside target destination, skipping")),
            (Some(place), Kind::Link(target)) => {
                warn(format!("warning: skipping symlink: {:?} -> {target:?}", place.display().to_string()));
            }
            (Some(place), Kind::Folder) => {
                fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
            }
            (Some(place), Kind::File) => put(&place, size, &mut content)?,
            (Some(place), Kind::Other(kind)) => {
                warn(format!("warning: skipping {:?}: of the kind {kind:?}", place.display().to_string()));
            }
        }
        io::copy(&mut content, &mut io::sink())?;
        skip_padding(&mut archive, size)?;
    }
    Ok(())
}

fn put(place: &Path, size: u64, content: &mut impl Read) -> anyhow::Result<()> {
    let writing = || format!("cannot write {}", place.display());
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).with_context(writing)?;
    }
    let mut file = File::create(place).with_context(writing)?;
    if io::copy(content, &mut file).with_context(writing)? < size {
        bail!("{} was cut off", place.display());
    }
    Ok(())
}

/// Where a member is put; nowhere, if its name leads out of where it may be.
///
/// # Errors
/// When it is nothing that was asked for.
fn place(prefix: &[&str], to: &Path, name: &str) -> anyhow::Result<Option<PathBuf>> {
    let mut words = name.split('/').filter(|part| !matches!(*part, "" | "."));
    if !prefix.iter().all(|part| words.next() == Some(part)) {
        bail!("tar contents corrupted");
    }
    let rest: Vec<&str> = words.collect();
    let rest = rest.join("/");
    Ok(match parts(&rest) {
        (0, inward) => Some(inward.iter().fold(to.to_owned(), |place, part| place.join(part))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use coracle_kubelet::wire::archive::{finish, pad};

    use super::super::pack::pack;
    use super::*;

    fn archive(members: &[(&str, Kind, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, kind, content) in members {
            let (name, kind, size) = ((*name).to_owned(), kind.clone(), content.len() as u64);
            Member { name, size, mode: 0o644, kind }.write(&mut bytes).unwrap();
            bytes.extend_from_slice(content.as_bytes());
            pad(&mut bytes, size).unwrap();
        }
        finish(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("deep/empty")).unwrap();
        fs::write(from.path().join("deep/file"), vec![7; 1000]).unwrap();
        std::os::unix::fs::symlink("file", from.path().join("deep/link")).unwrap();
        let (mut bytes, mut said) = (Vec::new(), Vec::new());
        pack(from.path(), "there", &mut bytes).unwrap();
        unpack("/there", &to.path().join("here"), &bytes[..], |line| said.push(line)).unwrap();
        assert_eq!(fs::read(to.path().join("here/deep/file")).unwrap(), vec![7; 1000]);
        assert!(to.path().join("here/deep/empty").is_dir() && !to.path().join("here/deep/link").exists());
        assert!(said.len() == 1 && said[0].starts_with("warning: skipping symlink: "), "{said:?}");
        let mut one = Vec::new();
        pack(&from.path().join("deep/file"), "name", &mut one).unwrap();
        unpack("name", &to.path().join("alone"), &one[..], |_| {}).unwrap();
        assert_eq!(fs::read(to.path().join("alone")).unwrap(), vec![7; 1000]);
    }

    #[test]
    fn no_name_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        let mut said = Vec::new();
        let bytes = archive(&[
            ("data/../../escaped", Kind::File, "bad"),
            ("/data/a/../../../escaped", Kind::File, "bad"),
            ("data/..", Kind::Folder, ""),
            ("./data/a/../b", Kind::File, "good"),
            ("data/link", Kind::Link("/".into()), ""),
            ("data/link/escaped", Kind::File, "inside"),
        ]);
        unpack("/data", &to, &bytes[..], |line| said.push(line)).unwrap();
        assert_eq!(said.len(), 4, "{said:?}");
        assert_eq!(said[0], "warning: file \"data/../../escaped\" is outside target destination, skipping");
        assert!(!folder.path().join("escaped").exists());
        assert_eq!(fs::read(to.join("b")).unwrap(), b"good");
        assert_eq!(fs::read(to.join("link/escaped")).unwrap(), b"inside", "there is no link");
        for other in ["other/a", "database", ""] {
            let bytes = archive(&[(other, Kind::File, "bad")]);
            assert!(unpack("/data", &to, &bytes[..], |_| {}).is_err(), "{other}");
        }
        let mut cut = archive(&[("data/cut", Kind::File, &"x".repeat(2000))]);
        cut.truncate(1024);
        assert!(unpack("/data", &to, &cut[..], |_| {}).is_err());
    }
}
