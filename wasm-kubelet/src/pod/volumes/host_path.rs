//! Folders and files of the host, for pods that may have them: those below the folders that the node grants, and no other.
//!
//! Source: kubelet, `checkType` of the hostPath plugin, with its messages.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;

use super::beneath::Held;

/// Modes of what is made where nothing was. Source: the hostPath plugin.
const DIR_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Why a path of the host is not given to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not there, or is something else: it may be there later.
    Now(String),
    /// A guest could do nothing with it, or may not have it.
    Ever(String),
}

/// Whether a path lies in one of the granted folders, as far as its text says.
pub fn is_granted(path: &Path, granted: &[PathBuf]) -> bool {
    let is_plain = path.is_absolute() && path.components().all(|part| part != Component::ParentDir);
    is_plain && granted.iter().any(|folder| path.starts_with(folder))
}

/// What a pod is told whose path is not granted.
pub fn not_granted(path: &Path) -> String {
    format!("hostPath {path:?} is not among the folders that this node grants to pods")
}

/// Finds `path` below a granted folder, and makes it where its type says so.
///
/// # Errors
/// [`Refusal`].
pub fn open(path: &Path, type_: &str, granted: &[PathBuf]) -> Result<Held, Refusal> {
    let now = |error: io::Error| Refusal::Now(format!("hostPath {}: {error}", path.display()));
    if !is_granted(path, granted) {
        return Err(Refusal::Ever(not_granted(path)));
    }
    let (root, below) = resolve(path, granted).map_err(now)?.ok_or_else(|| Refusal::Ever(not_granted(path)))?;
    let found = match root.find(&below) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&root, &below, type_).map_err(now)?,
        found => Some(found.map_err(now)?),
    };
    check(found.as_ref(), path, type_)?;
    let Some(found) = found else { return Err(Refusal::Now(missing(path))) };
    let kind = found.kind().map_err(now)?;
    if kind.is_dir() || kind.is_file() {
        return Ok(found);
    }
    Err(Refusal::Ever(format!(
        "hostPath {}: a WASI guest is granted folders and files, not {}",
        path.display(),
        spoken(kind)
    )))
}

/// The granted folder that holds `path` once all links are followed, and the way from there. What is not there yet keeps
/// its name.
fn resolve(path: &Path, granted: &[PathBuf]) -> io::Result<Option<(Held, PathBuf)>> {
    let mut there = path.to_owned();
    let mut missing = PathBuf::new();
    let canonical = loop {
        match fs::canonicalize(&there) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = there.file_name().map(PathBuf::from).ok_or(error)?;
                missing = if missing.as_os_str().is_empty() { name } else { name.join(missing) };
                there.pop();
            }
            found => break found?,
        }
    };
    let whole = if missing.as_os_str().is_empty() { canonical } else { canonical.join(missing) };
    for folder in granted {
        let Ok(folder) = fs::canonicalize(folder) else { continue };
        if let Ok(below) = whole.strip_prefix(&folder) {
            return Ok(Some((Held::folder(&folder)?, below.to_owned())));
        }
    }
    Ok(None)
}

fn make(root: &Held, below: &Path, type_: &str) -> io::Result<Option<Held>> {
    match type_ {
        // What has no type is made by the runtime, which takes a missing path for a folder.
        "" | "DirectoryOrCreate" => root.make(below, DIR_MODE).map(Some),
        "FileOrCreate" => {
            let parent = root.find(below.parent().unwrap_or(Path::new("")))?;
            parent.touch(Path::new(below.file_name().unwrap_or_default()), FILE_MODE)?;
            root.find(below).map(Some)
        }
        _ => Ok(None),
    }
}

fn check(found: Option<&Held>, path: &Path, type_: &str) -> Result<(), Refusal> {
    let kind = found.and_then(|found| found.kind().ok());
    let is = |wanted: FileType| kind == Some(wanted);
    let (holds, what) = match type_ {
        "" => (true, ""),
        "Directory" | "DirectoryOrCreate" => (is(FileType::Directory), "a directory"),
        "File" | "FileOrCreate" => (is(FileType::RegularFile), "a file"),
        "Socket" => (is(FileType::Socket), "a socket file"),
        "CharDevice" => (is(FileType::CharacterDevice), "a character device"),
        "BlockDevice" => (is(FileType::BlockDevice), "a block device"),
        other => return Err(Refusal::Ever(format!("{other} is an invalid volume type"))),
    };
    let message = || format!("hostPath type check failed: {} is not {what}", path.display());
    if holds { Ok(()) } else { Err(Refusal::Now(message())) }
}

fn missing(path: &Path) -> String {
    format!("path {:?} does not exist", path.display().to_string())
}

fn spoken(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "sockets",
        FileType::CharacterDevice | FileType::BlockDevice => "devices",
        FileType::Fifo => "pipes",
        _ => "this",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn each_type_is_checked_and_made_as_upstream_does() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("file"), "x").unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();
        let granted = [root.clone()];
        let opened = |name: &str, type_: &str| open(&root.join(name), type_, &granted).map(|held| held.is_folder());
        let table = [
            ("dir", "", Ok(true)),
            ("dir", "Directory", Ok(true)),
            ("dir", "DirectoryOrCreate", Ok(true)),
            ("dir", "File", Err("not a file")),
            ("dir", "FileOrCreate", Err("not a file")),
            ("file", "", Ok(false)),
            ("file", "File", Ok(false)),
            ("file", "Directory", Err("not a directory")),
            ("file", "DirectoryOrCreate", Err("not a directory")),
            ("file", "Socket", Err("not a socket file")),
            ("file", "CharDevice", Err("not a character device")),
            ("file", "BlockDevice", Err("not a block device")),
            ("socket", "Socket", Err("folders and files, not sockets")),
            ("gone", "Directory", Err("not a directory")),
            ("gone", "File", Err("not a file")),
            ("gone", "Socket", Err("not a socket file")),
            ("made/deep", "DirectoryOrCreate", Ok(true)),
            ("plain/deep", "", Ok(true)),
            ("dir/new", "FileOrCreate", Ok(false)),
            ("no/parent", "FileOrCreate", Err("No such file")),
            ("dir", "Folder", Err("Folder is an invalid volume type")),
        ];
        for (name, type_, want) in table {
            match (opened(name, type_), want) {
                (Ok(is), Ok(want)) => assert_eq!(is, want, "{name} {type_}"),
                (Err(Refusal::Now(is) | Refusal::Ever(is)), Err(want)) => {
                    assert!(is.contains(want), "{name} {type_}: {is}")
                }
                (is, _) => panic!("{name} {type_}: {is:?}"),
            }
        }
        let message = open(&root.join("file"), "Directory", &granted).unwrap_err();
        let want = format!("hostPath type check failed: {}/file is not a directory", root.display());
        assert_eq!(message, Refusal::Now(want));
    }

    #[test]
    fn only_the_granted_folders_are_given() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for dir in ["granted/deep", "other", "real"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        symlink(root.join("other"), root.join("granted/out")).unwrap();
        symlink("../other", root.join("granted/up")).unwrap();
        symlink(root.join("granted/deep"), root.join("granted/in")).unwrap();
        symlink(root.join("real"), root.join("alias")).unwrap();
        let granted = [root.join("granted"), root.join("alias")];
        for inside in ["granted", "granted/deep", "granted/in", "alias", "alias/new"] {
            assert!(open(&root.join(inside), "DirectoryOrCreate", &granted).is_ok(), "{inside}");
        }
        for outside in
            ["other", "granted/out", "granted/up", "granted/up/x", "granted/../other", "grantedly", "", "real"]
        {
            let path = root.join(outside);
            let refused = open(&path, "DirectoryOrCreate", &granted).unwrap_err();
            assert_eq!(refused, Refusal::Ever(not_granted(&path)), "{outside}");
        }
        assert!(matches!(open(Path::new("granted"), "", &granted), Err(Refusal::Ever(_))));
        assert!(!root.join("other/x").exists());
        assert!(matches!(open(&root.join("granted"), "", &[]), Err(Refusal::Ever(_))));
    }
}
