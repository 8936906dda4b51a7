//! Writes the files of a volume so that a reader sees the old ones or the new ones, and never some of each.
//!
//! ```text
//! VOLUME/..2026_11_21_09_30_00.000000001/a     the files themselves, in a folder of this writing
//! VOLUME/..data  ─▶  ..2026_11_21_…            the one link that is swapped
//! VOLUME/a       ─▶  ..data/a                  what the guest opens
//! ```
//!
//! All links are relative and stay in the volume, so that a guest, which may not leave its folder, follows them. Source:
//! kubelet, `AtomicWriter`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use jiff::Timestamp;

use super::files::{File, Files};

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes `dir` hold exactly `files`, which are checked already; whether anything changed. Blocks.
///
/// # Errors
/// When the disk does not take them; what was there stays.
pub fn write(dir: &Path, files: &Files, now: Timestamp) -> io::Result<bool> {
    make_dir(dir)?;
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && is_same(&dir.join(current), files)
    {
        expose(dir, files)?;
        return Ok(false);
    }
    let written = write_new(dir, files, now)?;
    match fs::remove_file(dir.join(NEXT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&written, dir.join(NEXT))?;
    fs::rename(dir.join(NEXT), dir.join(DATA))?;
    expose(dir, files)?;
    remove_others(dir, &written, &tops(files))?;
    Ok(true)
}

/// A folder that the kubelet's user alone enters.
pub fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_new(dir: &Path, files: &Files, now: Timestamp) -> io::Result<OsString> {
    let mut now = now;
    let name = loop {
        let name = OsString::from(now.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string());
        match fs::DirBuilder::new().mode(0o700).create(dir.join(&name)) {
            Ok(()) => break name,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => now += jiff::SignedDuration::from_nanos(1),
            Err(error) => return Err(error),
        }
    };
    let folder = dir.join(&name);
    for (path, file) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        let mut written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        written.write_all(&file.bytes)?;
        written.set_permissions(Permissions::from_mode(host_mode(file)))?;
    }
    Ok(name)
}

/// The mode of a file on the host: the pod's, but for the guests' user always readable. The folders around it are open to
/// nobody else.
fn host_mode(file: &File) -> u32 {
    file.mode | 0o400
}

fn is_same(folder: &Path, files: &Files) -> bool {
    let mut count = 0;
    count_files(folder, &mut count);
    count == files.len()
        && files.iter().all(|(path, file)| {
            let path = folder.join(path);
            let mode = fs::symlink_metadata(&path).map(|meta| meta.permissions().mode() & 0o777);
            mode.is_ok_and(|mode| mode == host_mode(file)) && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
        })
}

fn count_files(folder: &Path, count: &mut usize) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => count_files(&entry.path(), count),
            _ => *count += 1,
        }
    }
}

/// The first parts of the files' paths: what is seen in the volume itself.
fn tops(files: &Files) -> BTreeSet<&OsStr> {
    files.keys().filter_map(|path| Path::new(path).iter().next()).collect()
}

fn expose(dir: &Path, files: &Files) -> io::Result<()> {
    for top in tops(files) {
        let (link, target) = (dir.join(top), Path::new(DATA).join(top));
        match fs::read_link(&link) {
            Ok(known) if known == target => continue,
            Ok(_) => fs::remove_file(&link)?,
            Err(_) => remove(&link)?,
        }
        symlink(target, link)?;
    }
    Ok(())
}

fn remove_others(dir: &Path, written: &OsStr, tops: &BTreeSet<&OsStr>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != DATA && name != written && !tops.contains(&*name) {
            remove(&dir.join(&name))?;
        }
    }
    Ok(())
}

/// Removes whatever is there, if anything is.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o640 };
        list.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    fn seen(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name == DATA || !name.starts_with(".."));
        names.sort();
        names
    }

    #[test]
    fn a_volume_holds_exactly_its_files() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        let now = Timestamp::UNIX_EPOCH;
        assert!(write(&dir, &files(&[("a", "1"), ("d/b", "2"), ("d/c", "3")]), now).unwrap());
        assert_eq!(seen(&dir), ["..data", "a", "d"]);
        assert_eq!(fs::read_to_string(dir.join("d/c")).unwrap(), "3");
        assert_eq!(fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let target = fs::read_link(dir.join("..data")).unwrap();
        assert!(!write(&dir, &files(&[("a", "1"), ("d/b", "2"), ("d/c", "3")]), now).unwrap(), "nothing is new");
        assert_eq!(fs::read_link(dir.join("..data")).unwrap(), target);

        assert!(write(&dir, &files(&[("a", "3"), ("e", "4")]), now).unwrap());
        assert_eq!(seen(&dir), ["..data", "a", "e"]);
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert!(!dir.join(target).exists(), "the former files are gone");
        assert!(write(&dir, &files(&[]), now).unwrap());
        assert_eq!(seen(&dir), ["..data"]);
    }

    #[test]
    fn what_a_killed_kubelet_or_an_older_one_left_is_no_hindrance() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        fs::create_dir_all(dir.join("..2020_half")).unwrap();
        fs::create_dir_all(dir.join("d")).unwrap();
        fs::write(dir.join("a"), "plain").unwrap();
        symlink("/etc", dir.join("..data_tmp")).unwrap();
        symlink("/etc/passwd", dir.join("b")).unwrap();
        write(&dir, &files(&[("a", "1"), ("b", "2"), ("d/c", "3")]), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(seen(&dir), ["..data", "a", "b", "d"]);
        assert_eq!(fs::read_to_string(dir.join("b")).unwrap(), "2");
        assert!(!dir.join("..2020_half").exists());
        assert!(fs::read_to_string("/etc/passwd").is_ok());
    }

    #[test]
    fn a_reader_never_sees_half_of_a_change() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        let version = |n: u32| files(&[("a", &n.to_string()), ("b", &n.to_string())]);
        write(&dir, &version(0), Timestamp::UNIX_EPOCH).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut looks = 0;
                while !done.load(Ordering::Relaxed) || looks == 0 {
                    // One folder, opened once, as a client does that wants both of the same version.
                    let folder = dir.join(fs::read_link(dir.join("..data")).unwrap());
                    let pair = (fs::read_to_string(folder.join("a")), fs::read_to_string(folder.join("b")));
                    if let (Ok(a), Ok(b)) = pair {
                        assert_eq!(a, b);
                        looks += 1;
                    }
                    assert!(fs::read_to_string(dir.join("..data")).is_err(), "it is a folder, always");
                }
            });
            for n in 1..200 {
                write(&dir, &version(n), Timestamp::from_second(n.into()).unwrap()).unwrap();
            }
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "199");
    }
}
