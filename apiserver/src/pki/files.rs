//! Files of secrets: mode 0600 from their first byte, and written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::PkiError;

/// Makes `dir` for its owner alone, with its parents.
pub(super) fn create_private_dir(dir: &Path) -> Result<(), PkiError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| failed(dir, source))
}

/// The content of `path`, which is first made from `content` when it is not there.
pub(super) fn read_or_create(
    path: &Path,
    content: impl FnOnce() -> Result<String, PkiError>,
) -> Result<String, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = content()?;
            replace(path, &text)?;
            Ok(text)
        }
        Err(source) => Err(failed(path, source)),
    }
}

/// Puts `content` in place of `path`: into a neighbour first, which then takes its name.
pub(super) fn replace(path: &Path, content: &str) -> Result<(), PkiError> {
    let neighbour = path.with_extension(format!("{}.new", std::process::id()));
    write_synced(&neighbour, content)
        .and_then(|()| fs::rename(&neighbour, path))
        .and_then(|()| sync_dir_of(path))
        .map_err(|source| {
            let _ = fs::remove_file(&neighbour);
            failed(path, source)
        })
}

fn write_synced(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn sync_dir_of(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn failed(path: &Path, source: std::io::Error) -> PkiError {
    PkiError::File { path: path.display().to_string(), source }
}
