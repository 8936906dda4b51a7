//! How much of the disk a folder takes. Source: kubelet, `fs.DiskUsage`.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of the blocks below `folder`, a file with several names once; stops counting beyond `bytes_max`. Links are not
/// followed. Blocks.
pub fn bytes(folder: &Path, bytes_max: u64) -> u64 {
    let mut seen = HashSet::new();
    let mut open = vec![folder.to_owned()];
    let mut total = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() > 1 && !meta.is_dir() && !seen.insert((meta.dev(), meta.ino())) {
                continue;
            }
            total += meta.blocks() * 512;
            if total > bytes_max {
                return total;
            }
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_counts_once_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("v");
        fs::create_dir_all(root.join("deep")).unwrap();
        let empty = bytes(&root, u64::MAX);
        fs::write(root.join("deep/file"), vec![1; 1 << 20]).unwrap();
        let one = bytes(&root, u64::MAX);
        assert!(one >= empty + (1 << 20), "{one}");
        fs::hard_link(root.join("deep/file"), root.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", root.join("out")).unwrap();
        assert!(bytes(&root, u64::MAX) - one < 1 << 20);
        fs::write(root.join("more"), vec![1; 1 << 20]).unwrap();
        assert!(bytes(&root, 1 << 20) > 1 << 20);
    }
}
