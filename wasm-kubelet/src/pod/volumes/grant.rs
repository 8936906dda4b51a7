//! What a container sees of its pod's volumes: folders, since WASI grants nothing else.
//!
//! A mount that is a single file (`subPath: nginx.conf`, a `hostPath` of type `File`) is granted as a private folder at its
//! parent's path, with all files that are mounted there: hard links to what the container may write, copies of the rest.
//! Private folders are of one instance of a container and go with it:
//!
//! ```text
//! PODS/<uid>/containers/<name>/<instance>/files-0/…   what is mounted as files below one path
//!                                        /copy-0/…    a subPath folder of a volume that is written anew as a whole
//!                                        /work        a workingDir that no volume holds
//! ```
//!
//! Source: kubelet, `makeMounts`, with its messages.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1 as core;

use super::PodDir;
use super::atomic::make_dir;
use super::beneath::Held;
use super::claim::Claim;
use super::host_path::{self, Refusal};
use super::source::is_from_api;
use crate::limits::VOLUME_BYTES_MAX;
use crate::pod::env::expand_all;
use crate::runtime::Mount;

/// Everything that a container's mounts depend on.
pub struct Grantor<'a> {
    pub dir: &'a PodDir,
    pub pod: &'a core::Pod,
    /// Where the pod's claims lie, by volume.
    pub claims: &'a BTreeMap<String, Claim>,
    /// The folders of the host that the node grants.
    pub granted: &'a [PathBuf],
    pub container: &'a core::Container,
    pub instance: u32,
    pub env: &'a [(String, String)],
}

/// What one `volumeMounts` entry stands for.
struct Thing {
    held: Held,
    /// Its path, where no pod can make that another thing.
    path: Option<PathBuf>,
    /// Whether its volume is written by pods at all.
    is_writable: bool,
    /// Whether the kubelet replaces it as a whole, so that what is held of it would be gone.
    is_replaced: bool,
}

/// A file that is mounted under a path of its own.
struct Single {
    name: PathBuf,
    thing: Thing,
    read_only: bool,
}

impl Grantor<'_> {
    /// What the guest is granted.
    ///
    /// # Errors
    /// As `CreateContainerConfigError` shows it.
    pub fn grants(&self) -> Result<Vec<Mount>, String> {
        let mut folders: Vec<Mount> = Vec::new();
        let mut singles: BTreeMap<PathBuf, Vec<Single>> = BTreeMap::new();
        for mount in self.container.volume_mounts.iter().flatten() {
            let guest = cleaned(&mount.mount_path);
            let sub = self.sub_path(mount)?;
            let thing = self.thing(mount, &sub)?;
            let read_only = mount.read_only == Some(true) || !thing.is_writable;
            if thing.held.is_folder() {
                folders.push(self.folder(guest, thing, &sub, read_only, folders.len())?);
                continue;
            }
            let (Some(parent), Some(name)) = (guest.parent(), guest.file_name()) else {
                return Err(format!("volumeMounts[{}]: a file cannot be mounted there", mount.mount_path));
            };
            let single = Single { name: name.into(), thing, read_only };
            singles.entry(parent.to_owned()).or_default().push(single);
        }
        for (at, (parent, files)) in singles.into_iter().enumerate() {
            self.grant_files(&parent, &files, &mut folders, at)?;
        }
        self.grant_working_dir(&mut folders)?;
        Ok(folders)
    }

    fn volume(&self, mount: &core::VolumeMount) -> Result<&core::Volume, String> {
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        volumes.into_iter().find(|volume| volume.name == mount.name).ok_or_else(|| {
            format!("cannot find volume {:?} to mount into container {:?}", mount.name, self.container.name)
        })
    }

    fn sub_path(&self, mount: &core::VolumeMount) -> Result<PathBuf, String> {
        let written = mount.sub_path.as_deref().unwrap_or_default();
        let path = match mount.sub_path_expr.as_deref().filter(|expr| !expr.is_empty()) {
            Some(expr) => expand_all(expr, self.env)?,
            None => written.to_owned(),
        };
        if path.starts_with('/') {
            return Err(format!("error SubPath `{path}` must not be an absolute path"));
        }
        if Path::new(&path).components().any(|part| part == Component::ParentDir) {
            return Err(format!("unable to provision SubPath `{path}`: must not contain '..'"));
        }
        Ok(path.into())
    }

    fn thing(&self, mount: &core::VolumeMount, sub: &Path) -> Result<Thing, String> {
        let volume = self.volume(mount)?;
        let (base, is_writable) = self.base(volume)?;
        let is_replaced = is_from_api(volume) && !sub.as_os_str().is_empty();
        let held = if sub.as_os_str().is_empty() {
            base
        } else {
            match base.find(sub) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => base
                    .make(sub, 0o755)
                    .map_err(|error| self.sub_path_failure("create subPath directory", mount, &error))?,
                found => found.map_err(|error| self.sub_path_failure("prepare subPath", mount, &error))?,
            }
        };
        if !held.is_folder() && !held.kind().is_ok_and(rustix::fs::FileType::is_file) {
            return Err(format!("volumeMounts[{}]: neither a folder nor a file", mount.mount_path));
        }
        let is_own = volume.host_path.is_none() && !self.claims.contains_key(&volume.name);
        let path = (is_own && sub.as_os_str().is_empty()).then(|| self.dir.volume(volume));
        Ok(Thing { held, path, is_writable, is_replaced })
    }

    /// The folder (or, of a `hostPath`, the file) that a volume is.
    fn base(&self, volume: &core::Volume) -> Result<(Held, bool), String> {
        let said = |refusal| match refusal {
            Refusal::Now(why) | Refusal::Ever(why) => why,
        };
        if let Some(host) = &volume.host_path {
            let type_ = host.type_.as_deref().unwrap_or_default();
            return Ok((host_path::open(Path::new(&host.path), type_, self.granted).map_err(said)?, true));
        }
        if let Some(claim) = self.claims.get(&volume.name) {
            return Ok((host_path::open(&claim.path, &claim.type_, self.granted).map_err(said)?, !claim.read_only));
        }
        let path = self.dir.volume(volume);
        let held = Held::folder(&path);
        let held = held.map_err(|error| format!("volume {:?} is not there: {error}", volume.name))?;
        Ok((held, volume.empty_dir.is_some()))
    }

    /// Says no more than this: what the host looks like is not the pod's to know.
    fn sub_path_failure(&self, what: &str, mount: &core::VolumeMount, error: &io::Error) -> String {
        tracing::warn!(volume = mount.name, container = self.container.name, %error, "cannot {what}");
        format!("failed to {what} for volumeMount {:?} of container {:?}", mount.name, self.container.name)
    }

    fn folder(&self, guest: PathBuf, thing: Thing, sub: &Path, read_only: bool, at: usize) -> Result<Mount, String> {
        if thing.is_replaced {
            let copy = self.private(&format!("copy-{at}"), |copy| {
                let mut left = VOLUME_BYTES_MAX as u64;
                copy_tree(&thing.held.path(), &copy.path(), &mut left)
            });
            let copy = copy.map_err(|error| format!("cannot copy {} of its volume: {error}", sub.display()))?;
            return Ok(granted(&guest, copy, read_only));
        }
        let mount = granted(&guest, thing.held, read_only);
        Ok(match thing.path {
            Some(host) => Mount { host, hold: None, ..mount },
            None => mount,
        })
    }

    fn grant_files(&self, parent: &Path, files: &[Single], folders: &mut Vec<Mount>, at: usize) -> Result<(), String> {
        let shown =
            || files.iter().map(|file| parent.join(&file.name).display().to_string()).collect::<Vec<_>>().join(", ");
        let outer = folders.iter().position(|folder| Path::new(&folder.guest) == parent);
        if outer.is_some_and(|at| !folders[at].read_only) {
            return Err(format!(
                "cannot mount {}: WASI grants whole folders, and {} is the folder of a volume that can be written",
                shown(),
                parent.display()
            ));
        }
        let below = outer.map(|at| folders[at].host.clone());
        let made = self.private(&format!("files-{at}"), |folder| {
            if let Some(below) = &below {
                let mut left = VOLUME_BYTES_MAX as u64;
                copy_tree(below, &folder.path(), &mut left)?;
            }
            files.iter().try_for_each(|file| place(file, folder))
        });
        let made = made.map_err(|error| format!("cannot mount {}: {error}", shown()))?;
        let grant = granted(parent, made, files.iter().all(|file| file.read_only));
        match outer {
            Some(at) => folders[at] = grant,
            None => folders.push(grant),
        }
        Ok(())
    }

    /// Sees to it that the folder which relative paths start from is there: in its volume, or as one of the instance's own.
    fn grant_working_dir(&self, folders: &mut Vec<Mount>) -> Result<(), String> {
        let written = self.container.working_dir.as_deref().unwrap_or_default();
        let path = cleaned(written);
        if written.is_empty() || path == Path::new("/") {
            return Ok(());
        }
        let holds = |folder: &&Mount| path.starts_with(&folder.guest);
        let holder = folders.iter().filter(holds).max_by_key(|folder| Path::new(&folder.guest).components().count());
        let failed = |error: io::Error| format!("cannot use workingDir {written}: {error}");
        let Some(holder) = holder else {
            let context = self.container.security_context.as_ref();
            let read_only = context.and_then(|context| context.read_only_root_filesystem) == Some(true);
            let own = self.private("work", |_| Ok(())).map_err(failed)?;
            folders.push(granted(&path, own, read_only));
            return Ok(());
        };
        let below = path.strip_prefix(&holder.guest).unwrap_or(Path::new(""));
        let base = Held::folder(&holder.host).map_err(failed)?;
        let found = if holder.read_only { base.find(below) } else { base.make(below, 0o755) };
        found.map(drop).map_err(failed)
    }

    /// A folder of this instance's own, filled when it is first asked for.
    fn private(&self, name: &str, fill: impl Fn(&Held) -> io::Result<()>) -> io::Result<Held> {
        let own = self.dir.instance(&self.container.name, self.instance);
        let (path, half) = (own.join(name), own.join(format!("{name}.half")));
        if !path.exists() {
            remove_former(&own);
            let _ = fs::remove_dir_all(&half);
            make_dir(&half)?;
            fill(&Held::folder(&half)?)?;
            fs::rename(&half, &path)?;
        }
        Held::folder(&path)
    }
}

/// Removes what former instances of a container had.
fn remove_former(own: &Path) {
    for other in own.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten() {
        if other.path() != own {
            let _ = fs::remove_dir_all(other.path());
        }
    }
}

fn granted(guest: &Path, held: Held, read_only: bool) -> Mount {
    Mount { host: held.path(), guest: guest.display().to_string(), read_only, hold: Some(held.into_fd()) }
}

/// Puts a file into a folder. What may be written must be the same file; the rest is safer as a copy, which is also what
/// upstream's bind mount amounts to: a later version of the volume has other files.
fn place(file: &Single, folder: &Held) -> io::Result<()> {
    let held = &file.thing.held;
    if file.read_only {
        return held.copy_into(folder, &file.name, 0o400);
    }
    held.link_into(folder, &file.name)
}

fn copy_tree(from: &Path, to: &Path, left: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("..")) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(name));
        // What the API's volumes hold are links to their own files.
        let meta = fs::metadata(&source)?;
        if meta.is_dir() {
            make_dir(&target)?;
            copy_tree(&source, &target, left)?;
            continue;
        }
        *left = left.checked_sub(meta.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        fs::copy(&source, &target)?;
    }
    Ok(())
}

/// A path of the guest, absolute and without `.`, `..` and empty parts.
fn cleaned(path: &str) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => cleaned.push(part),
            Component::ParentDir => drop(cleaned.pop()),
            _ => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests;
