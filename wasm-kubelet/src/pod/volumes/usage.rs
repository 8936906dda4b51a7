//! How much of the disk a folder takes. Source: kubelet, `fs.DiskUsage`.

use std::collections::HashSet;
use std::fs;
use std::ops::Add;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What lies on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Of the blocks in use.
    pub bytes: u64,
    pub inodes: u64,
}

impl Add for Taken {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, inodes: self.inodes + other.inodes }
    }
}

/// What lies below `folder`, a file with several names once; stops counting beyond `bytes_max`. Links are not followed.
/// Blocks.
pub fn taken(folder: &Path, bytes_max: u64) -> Taken {
    let mut seen = HashSet::new();
    let mut open = vec![folder.to_owned()];
    let mut total = Taken::default();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() > 1 && !meta.is_dir() && !seen.insert((meta.dev(), meta.ino())) {
                continue;
            }
            total = total + Taken { bytes: meta.blocks() * 512, inodes: 1 };
            if total.bytes > bytes_max {
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
        let empty = taken(&root, u64::MAX);
        assert_eq!(empty.inodes, 1);
        fs::write(root.join("deep/file"), vec![1; 1 << 20]).unwrap();
        let one = taken(&root, u64::MAX);
        assert!(one.bytes >= empty.bytes + (1 << 20) && one.inodes == 2, "{one:?}");
        fs::hard_link(root.join("deep/file"), root.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", root.join("out")).unwrap();
        let linked = taken(&root, u64::MAX);
        assert!(linked.bytes - one.bytes < 1 << 20 && linked.inodes == 3, "{linked:?}");
        fs::write(root.join("more"), vec![1; 1 << 20]).unwrap();
        assert!(taken(&root, 1 << 20).bytes > 1 << 20);
    }
}
