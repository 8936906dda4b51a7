//! What is here, as an archive for a container.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use coracle_kubelet::wire::archive::{Kind, Member, finish, pad};

/// Writes an archive of the file or folder at `from`, which is called `name` in it.
///
/// # Errors
/// When something cannot be read, or the writer fails.
pub fn pack(from: &Path, name: &str, mut to: impl Write) -> anyhow::Result<()> {
    add(from, name, &mut to)?;
    Ok(finish(&mut to)?)
}

fn add(from: &Path, name: &str, to: &mut impl Write) -> anyhow::Result<()> {
    let reading = || format!("cannot read {}", from.display());
    let metadata = fs::symlink_metadata(from).with_context(reading)?;
    let head = |name: &str, size: u64, kind: Kind| Member { name: name.to_owned(), size, mode: mode(&metadata), kind };
    if metadata.is_dir() {
        head(&format!("{name}/"), 0, Kind::Folder).write(to)?;
        let mut entries = fs::read_dir(from).with_context(reading)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let own = entry.file_name().into_string();
            let own = own.map_err(|own| anyhow::anyhow!("the name {} is no text", own.display()))?;
            add(&entry.path(), &format!("{name}/{own}"), to)?;
        }
        return Ok(());
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from).with_context(reading)?;
        return Ok(head(name, 0, Kind::Link(target.to_string_lossy().into_owned())).write(to)?);
    }
    if !metadata.is_file() {
        bail!("{} is neither a file nor a folder nor a link", from.display());
    }
    let file = File::open(from).with_context(reading)?;
    let size = metadata.len();
    head(name, size, Kind::File).write(to)?;
    if io::copy(&mut file.take(size), to)? < size {
        bail!("{} shrank while it was read", from.display());
    }
    Ok(pad(to, size)?)
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o777
}
