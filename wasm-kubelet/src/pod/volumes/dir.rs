//! Where a pod's volumes lie on this host.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use k8s_openapi::api::core::v1 as core;
use sha2::{Digest as _, Sha256};

/// Where Linux has a file system in memory that every user may use.
const MEMORY: &str = "/dev/shm";

/// The folders of all pods of a node.
#[derive(Clone, Debug)]
pub struct PodDirs {
    disk: PathBuf,
    memory: PathBuf,
}

/// The folders of one pod; made by whoever needs them.
#[derive(Clone, Debug)]
pub struct PodDir {
    disk: PathBuf,
    memory: PathBuf,
}

impl PodDirs {
    /// Those of the kubelet whose folder is `root`, which is there.
    pub fn new(root: &Path) -> Self {
        Self { disk: root.join("pods"), memory: memory_root(root) }
    }

    /// The folders of the pod with this uid.
    pub fn of(&self, uid: &str) -> PodDir {
        let uid = uid.replace(['/', '.'], "_");
        PodDir { memory: self.memory.join(&uid), disk: self.disk.join(uid) }
    }

    /// Removes the folders of pods that are not known. Blocks.
    pub fn sweep(&self, is_known: impl Fn(&str) -> bool) {
        for parent in [&self.disk, &self.memory] {
            for dir in fs::read_dir(parent).into_iter().flatten().flatten() {
                if let Some(uid) = dir.file_name().to_str().filter(|uid| !is_known(uid)) {
                    self.of(uid).remove();
                }
            }
        }
    }
}

impl PodDir {
    /// The folder of one of its volumes.
    pub fn volume(&self, volume: &core::Volume) -> PathBuf {
        let name = volume.name.replace(['/', '.'], "_");
        if is_in_memory(volume) && has_memory() { self.memory.join(name) } else { self.disk.join("volumes").join(name) }
    }

    /// What one instance of a container has for itself.
    pub fn instance(&self, container: &str, instance: u32) -> PathBuf {
        self.container(container).join(instance.to_string())
    }

    /// What a container has for itself.
    pub fn container(&self, container: &str) -> PathBuf {
        self.containers().join(container.replace(['/', '.'], "_"))
    }

    /// What all containers have for themselves.
    pub fn containers(&self) -> PathBuf {
        self.disk.join("containers")
    }

    /// All that the pod has on the disk, but for its logs.
    pub fn on_disk(&self) -> &Path {
        &self.disk
    }

    /// All that it has in memory.
    pub fn in_memory(&self) -> &Path {
        &self.memory
    }

    /// Removes all of it. Blocks.
    pub fn remove(&self) {
        for dir in [&self.disk, &self.memory] {
            if let Err(error) = fs::remove_dir_all(dir)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(dir = %dir.display(), %error, "cannot remove a pod's volumes");
            }
        }
    }

    /// Whether there is any of it.
    pub fn exists(&self) -> bool {
        self.disk.exists() || self.memory.exists()
    }
}

/// Whether a volume is an `emptyDir` of medium `Memory`.
pub fn is_in_memory(volume: &core::Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|dir| dir.medium.as_deref() == Some("Memory"))
}

/// Whether there is memory to put volumes in; without, they are on the disk like the others.
fn has_memory() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        /// `TMPFS_MAGIC` of Linux.
        const TMPFS: u64 = 0x0102_1994;
        let is_tmpfs =
            rustix::fs::statfs(MEMORY).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|f| f == TMPFS));
        is_tmpfs && rustix::fs::access(MEMORY, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

/// The memory of the kubelet whose folder is `root`: two on one machine do not meet.
fn memory_root(root: &Path) -> PathBuf {
    let whole = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let digest = Sha256::digest(whole.as_os_str().as_encoded_bytes());
    let name = digest.iter().take(8).fold("coracle-".to_owned(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    });
    Path::new(MEMORY).join(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pod::volumes::atomic::make_dir;

    fn volume(name: &str, medium: &str) -> core::Volume {
        let source = core::EmptyDirVolumeSource { medium: Some(medium.into()), ..Default::default() };
        core::Volume { name: name.into(), empty_dir: Some(source), ..core::Volume::default() }
    }

    #[test]
    fn the_folders_of_unknown_pods_go_and_no_name_leads_out() {
        let root = tempfile::tempdir().unwrap();
        let dirs = PodDirs::new(root.path());
        let pods = ["known", "gone"].map(|uid| dirs.of(uid));
        for pod in &pods {
            make_dir(&pod.volume(&volume("disk", ""))).unwrap();
            make_dir(&pod.volume(&volume("memory", "Memory"))).unwrap();
            make_dir(&pod.instance("main", 0)).unwrap();
        }
        dirs.sweep(|uid| uid == "known");
        assert!(pods[0].exists() && !pods[1].exists());
        if has_memory() {
            assert!(pods[0].volume(&volume("memory", "Memory")).starts_with(MEMORY));
        }
        for hostile in ["../../x", "/etc", ".."] {
            let pod = dirs.of(hostile);
            let path = pod.volume(&volume(hostile, ""));
            assert!(path.starts_with(root.path().join("pods")) && !path.iter().any(|part| part == ".."), "{path:?}");
            let path = pod.instance(hostile, 1);
            assert!(path.starts_with(root.path().join("pods")) && !path.iter().any(|part| part == ".."), "{path:?}");
        }
        pods[0].remove();
        assert!(!pods[0].exists());
        let _ = fs::remove_dir(dirs.memory);
    }
}
