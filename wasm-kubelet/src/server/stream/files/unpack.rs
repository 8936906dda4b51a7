//! `tar x`: an archive, as files.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{AtFlags, Mode, OFlags, openat, symlinkat, unlinkat};

use super::archive::{Kind, Member, next, skip_padding};
use super::place::{Place, find, join, stays};
use crate::runtime::Mount;

/// Makes what an archive holds, in `folder`; how much of it could not be made.
///
/// # Errors
/// Of the reader, and when what comes is no archive.
pub fn unpack(mounts: &[Mount], folder: &str, mut from: impl Read, complaints: &mut impl Write) -> io::Result<usize> {
    let mut failures = 0;
    while let Some(member) = next(&mut from)? {
        let mut content = from.take(member.size);
        if let Err(error) = make(mounts, folder, &member, &mut content) {
            failures += 1;
            // Nobody hears it when this fails.
            let _ = complaints.write_all(format!("tar: {}: Cannot open: {}\n", member.name, said(&error)).as_bytes());
        }
        io::copy(&mut content, &mut io::sink())?;
        if content.limit() > 0 {
            return Err(io::Error::other("Unexpected EOF in archive"));
        }
        from = content.into_inner();
        skip_padding(&mut from, member.size)?;
    }
    Ok(failures)
}

/// What the system says, without its number.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn make(mounts: &[Mount], folder: &str, member: &Member, content: &mut impl Read) -> io::Result<()> {
    if member.name.split('/').any(|name| name == "..") {
        return Err(io::Error::other("Member name contains '..'"));
    }
    let path = join(folder, member.name.trim_start_matches('/'));
    let place = find(mounts, &path).ok_or_else(|| io::Error::other("no volume is mounted there"))?;
    if place.mount.read_only {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::ROFS.raw_os_error()));
    }
    if place.path.is_empty() {
        // The mount itself is there already.
        return match member.kind {
            Kind::Folder => Ok(()),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        };
    }
    match &member.kind {
        Kind::Folder => place.make_folder(&place.path).map(drop),
        Kind::File => file(&place, member.mode, content),
        Kind::Link(target) if stays(&place.path, target) => {
            let (parent, name) = place.make_parent()?;
            remove(&parent, name)?;
            Ok(symlinkat(target.as_str(), &parent, name)?)
        }
        Kind::Link(_) => Err(io::Error::other("the link leads out of its volume")),
        Kind::Other(kind) => Err(io::Error::other(format!("members of type {kind:?} are not made here"))),
    }
}

fn file(place: &Place<'_>, mode: u32, content: &mut impl Read) -> io::Result<()> {
    let (parent, name) = place.make_parent()?;
    remove(&parent, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What the node's own user cannot read its guests cannot either.
    let mode = Mode::from_raw_mode(mode & 0o777 | 0o600);
    let mut file = File::from(openat(&parent, name, flags, mode)?);
    io::copy(content, &mut file)?;
    Ok(())
}

/// Makes room for a new file or link of this name.
fn remove(parent: &impl std::os::fd::AsFd, name: &str) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
