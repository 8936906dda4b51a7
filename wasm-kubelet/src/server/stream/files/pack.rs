//! `tar c`: what is at some paths, as an archive.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};

use super::archive::{Kind, Member, finish, pad};
use super::place::{Place, below, find, names};
use crate::limits::TAR_DEPTH_MAX;
use crate::runtime::Mount;

/// Writes an archive of what is at `paths`; how much of it could not be read.
///
/// # Errors
/// Of the writer.
pub fn pack(mounts: &[Mount], paths: &[String], to: impl Write, complaints: &mut impl Write) -> io::Result<usize> {
    let mut packer = Packer { to, complaints, failures: 0 };
    for path in paths {
        let name = names(path).join("/");
        let place = find(mounts, path);
        let mut is_there = false;
        if let Some(place) = place {
            is_there = packer.place(&place, &name)?;
        }
        for mount in below(mounts, path) {
            is_there = true;
            packer.place(&Place { mount, path: String::new() }, &names(&mount.guest).join("/"))?;
        }
        if !is_there {
            packer.complain(path, "Cannot stat", "No such file or directory");
        }
    }
    finish(&mut packer.to)?;
    Ok(packer.failures)
}

struct Packer<'a, W, C> {
    to: W,
    complaints: &'a mut C,
    failures: usize,
}

impl<W: Write, C: Write> Packer<'_, W, C> {
    fn complain(&mut self, path: &str, what: &str, why: &str) {
        self.failures += 1;
        // Nobody hears it when this fails.
        let _ = self.complaints.write_all(format!("tar: {path}: {what}: {why}\n").as_bytes());
    }

    /// Packs what is at a place; whether there is anything.
    fn place(&mut self, place: &Place<'_>, name: &str) -> io::Result<bool> {
        if place.path.is_empty() {
            let Ok(root) = place.open(OFlags::RDONLY | OFlags::DIRECTORY) else { return Ok(false) };
            self.folder(root, name, 0)?;
            return Ok(true);
        }
        let (parent, last) = place.path.rsplit_once('/').unwrap_or(("", &place.path));
        let above = Place { mount: place.mount, path: parent.to_owned() };
        let Ok(folder) = above.open(OFlags::RDONLY | OFlags::DIRECTORY) else { return Ok(false) };
        if statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Ok(false);
        }
        self.entry(&folder, last, name, 0)?;
        Ok(true)
    }

    fn entry(&mut self, folder: &OwnedFd, own: &str, name: &str, depth: usize) -> io::Result<()> {
        let stat = match statat(folder, own, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => {
                self.complain(name, "Cannot stat", &error.to_string());
                return Ok(());
            }
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => match openat(folder, own, flags | OFlags::DIRECTORY, Mode::empty()) {
                Ok(opened) => return self.folder(opened, name, depth),
                Err(error) => self.complain(name, "Cannot open", &error.to_string()),
            },
            FileType::RegularFile => match openat(folder, own, flags, Mode::empty()) {
                Ok(opened) => return self.file(opened.into(), name),
                Err(error) => self.complain(name, "Cannot open", &error.to_string()),
            },
            FileType::Symlink => match readlinkat(folder, own, Vec::new()) {
                Ok(target) => {
                    let kind = Kind::Link(target.to_string_lossy().into_owned());
                    return Member { name: name.to_owned(), size: 0, mode: 0o777, kind }.write(&mut self.to);
                }
                Err(error) => self.complain(name, "Cannot read link", &error.to_string()),
            },
            _ => self.complain(name, "Cannot open", "neither a file nor a folder nor a link"),
        }
        Ok(())
    }

    fn folder(&mut self, folder: OwnedFd, name: &str, depth: usize) -> io::Result<()> {
        let mode = fstat(&folder).map_or(0o755, |stat| stat.st_mode & 0o777);
        if !name.is_empty() {
            Member { name: format!("{name}/"), size: 0, mode, kind: Kind::Folder }.write(&mut self.to)?;
        }
        if depth >= TAR_DEPTH_MAX {
            self.complain(name, "Cannot open", "too many folders within each other");
            return Ok(());
        }
        let entries = match Dir::read_from(folder.as_fd()) {
            Ok(entries) => entries,
            Err(error) => {
                self.complain(name, "Cannot open", &error.to_string());
                return Ok(());
            }
        };
        for entry in entries {
            let entry = entry?;
            let own = entry.file_name().to_string_lossy();
            if own != "." && own != ".." {
                let within = if name.is_empty() { own.to_string() } else { format!("{name}/{own}") };
                self.entry(&folder, &own, &within, depth + 1)?;
            }
        }
        Ok(())
    }

    /// A file that grows or shrinks meanwhile has the size that it had at first.
    fn file(&mut self, file: File, name: &str) -> io::Result<()> {
        let stat = fstat(&file)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Member { name: name.to_owned(), size, mode: stat.st_mode & 0o777, kind: Kind::File }.write(&mut self.to)?;
        let copied = io::copy(&mut file.take(size), &mut self.to)?;
        if copied < size {
            io::copy(&mut io::repeat(0).take(size - copied), &mut self.to)?;
            self.complain(name, "File shrank", &format!("by {} bytes; padding with zeros", size - copied));
        }
        pad(&mut self.to, size)
    }
}
