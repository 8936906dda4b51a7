//! What is watched for shortage: the signals, what each is about, and what was observed of them.

use std::fmt;
use std::str::FromStr;

/// What may run short. Images, volumes and logs lie on one disk, so the three disks of upstream are one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    MemoryAvailable,
    NodeFsAvailable,
    NodeFsInodesFree,
    ImageFsAvailable,
    ImageFsInodesFree,
    ContainerFsAvailable,
    ContainerFsInodesFree,
    /// Taken, and never met: a guest has no processes.
    PidAvailable,
}

/// What pods are asked to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Memory,
    Storage,
    Inodes,
    Pids,
}

/// How much there is of something, and how much of that is left. Bytes, or inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    pub available: u64,
    /// 0 for what cannot be seen.
    pub capacity: u64,
}

/// One look at the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// Of the machine, or of the control groups that this process is in, if less is left there.
    pub memory: Level,
    /// Of the disk that holds the node's folder.
    pub disk: Level,
    pub inodes: Level,
}

/// Looks at the machine.
pub trait Observe: Send + Sync + 'static {
    /// What is left now. May block.
    fn observe(&self) -> Observations;
}

impl<F: Fn() -> Observations + Send + Sync + 'static> Observe for F {
    fn observe(&self) -> Observations {
        self()
    }
}

/// The conditions that keep pods away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures {
    pub memory: bool,
    pub disk: bool,
    pub pid: bool,
}

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no eviction signal; there are memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, \
         imagefs.inodesFree, containerfs.available, containerfs.inodesFree and pid.available"
)]
pub struct UnknownSignal(String);

impl Signal {
    const ALL: [Self; 8] = [
        Self::MemoryAvailable,
        Self::NodeFsAvailable,
        Self::NodeFsInodesFree,
        Self::ImageFsAvailable,
        Self::ImageFsInodesFree,
        Self::ContainerFsAvailable,
        Self::ContainerFsInodesFree,
        Self::PidAvailable,
    ];

    /// As flags name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory.available",
            Self::NodeFsAvailable => "nodefs.available",
            Self::NodeFsInodesFree => "nodefs.inodesFree",
            Self::ImageFsAvailable => "imagefs.available",
            Self::ImageFsInodesFree => "imagefs.inodesFree",
            Self::ContainerFsAvailable => "containerfs.available",
            Self::ContainerFsInodesFree => "containerfs.inodesFree",
            Self::PidAvailable => "pid.available",
        }
    }

    /// What there is too little of where it is met.
    pub fn resource(self) -> Resource {
        match self {
            Self::MemoryAvailable => Resource::Memory,
            Self::NodeFsAvailable | Self::ImageFsAvailable | Self::ContainerFsAvailable => Resource::Storage,
            Self::NodeFsInodesFree | Self::ImageFsInodesFree | Self::ContainerFsInodesFree => Resource::Inodes,
            Self::PidAvailable => Resource::Pids,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == text).ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

impl Resource {
    /// As messages and requests name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }
}

impl Observations {
    /// What was observed of a signal; `None` for what cannot be seen.
    pub fn of(&self, signal: Signal) -> Option<Level> {
        let level = match signal.resource() {
            Resource::Memory => self.memory,
            Resource::Storage => self.disk,
            Resource::Inodes => self.inodes,
            Resource::Pids => return None,
        };
        Some(level).filter(|level| level.capacity > 0)
    }
}

impl Pressures {
    /// Whether there is any.
    pub fn is_any(self) -> bool {
        self != Self::default()
    }

    /// The types of the conditions that hold.
    pub fn kinds(self) -> impl Iterator<Item = &'static str> {
        let all = [("MemoryPressure", self.memory), ("DiskPressure", self.disk), ("PIDPressure", self.pid)];
        all.into_iter().filter(|(_, holds)| *holds).map(|(kind, _)| kind)
    }

    /// Has the condition of what there is too little of hold as well.
    pub(super) fn add(&mut self, resource: Resource) {
        match resource {
            Resource::Memory => self.memory = true,
            Resource::Storage | Resource::Inodes => self.disk = true,
            Resource::Pids => self.pid = true,
        }
    }
}
