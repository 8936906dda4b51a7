//! What the machine has, and how much of it is left.

use std::fs;
use std::path::{Path, PathBuf};

use super::eviction::{Level, Observations, Observe};

/// What does not change while the kubelet runs.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub machine_id: String,
    pub boot_id: String,
    pub kernel: String,
    pub os_image: String,
    /// As Go names it: `amd64`, `arm64`.
    pub architecture: &'static str,
}

/// Looks at what does.
#[derive(Clone, Debug)]
pub struct MachineObserver {
    /// A folder on the disk that pods use.
    pub dir: PathBuf,
}

impl Machine {
    /// Looks at this machine; `dir` is on the disk that pods use. What cannot be seen is zero or empty.
    pub fn look(dir: &Path) -> Self {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cpu_millis: cpus as u64 * 1000,
            memory_bytes: total_memory(),
            disk_bytes: disk(dir).0.capacity,
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: os_image(&line("/etc/os-release")),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
        }
    }
}

impl Observe for MachineObserver {
    fn observe(&self) -> Observations {
        let (disk, inodes) = disk(&self.dir);
        Observations { memory: memory(), disk, inodes }
    }
}

/// The machine's memory, or what the control groups of this process may have if that is less.
fn total_memory() -> u64 {
    let machine = meminfo("MemTotal").unwrap_or(0);
    groups().iter().map(|group| group.capacity).fold(machine, u64::min)
}

/// The machine's memory, or that of the control group of which the least is left.
fn memory() -> Level {
    let machine = meminfo("MemTotal").zip(meminfo("MemAvailable"));
    let machine = machine.map(|(capacity, available)| Level { available, capacity });
    machine.into_iter().chain(groups()).min_by_key(|level| level.available).unwrap_or_default()
}

fn meminfo(field: &str) -> Option<u64> {
    parse_meminfo(&fs::read_to_string("/proc/meminfo").ok()?, field)
}

fn parse_meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The memory of the control groups (version 2) that this process is in, from its own one upwards, as far as they bound it.
fn groups() -> Vec<Level> {
    const ROOT: &str = "/sys/fs/cgroup";
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    let own = Path::new(ROOT).join(path);
    own.ancestors().take_while(|group| group.starts_with(ROOT)).filter_map(group).collect()
}

fn group(dir: &Path) -> Option<Level> {
    let number = |file: &str| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok();
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    Some(group_level(number("memory.max")?, number("memory.current")?, &stat))
}

/// What the kernel can take back from files counts as available. Source: cadvisor's working set.
fn group_level(max: u64, current: u64, stat: &str) -> Level {
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok()).unwrap_or(0);
    Level { available: max.saturating_sub(current.saturating_sub(cached)), capacity: max }
}

/// The disk that `dir` is on: its bytes and its inodes, those that are available to us.
fn disk(dir: &Path) -> (Level, Level) {
    let Ok(stat) = rustix::fs::statvfs(dir) else { return (Level::default(), Level::default()) };
    (
        Level { available: stat.f_bavail * stat.f_frsize, capacity: stat.f_blocks * stat.f_frsize },
        Level { available: stat.f_favail, capacity: stat.f_files },
    )
}

fn os_image(release: &str) -> String {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_by_field() {
        let text = "MemTotal:       24683032 kB\nMemFree:          100 kB\nMemAvailable:   42 kB\n";
        assert_eq!(parse_meminfo(text, "MemTotal"), Some(24_683_032 * 1024));
        assert_eq!(parse_meminfo(text, "MemAvailable"), Some(42 * 1024));
        assert_eq!(parse_meminfo(text, "Mem"), None);
    }

    #[test]
    fn what_a_control_group_keeps_of_files_is_available() {
        let of = |max, current, stat| group_level(max, current, stat).available;
        assert_eq!(of(1000, 900, "anon 100\ninactive_file 700\nactive_file 50\n"), 800);
        assert_eq!(of(1000, 900, ""), 100);
        assert_eq!(of(1000, 1100, "inactive_file x\n"), 0);
    }

    #[test]
    fn this_machine_has_memory_and_a_disk() {
        let seen = MachineObserver { dir: std::env::temp_dir() }.observe();
        for level in [seen.memory, seen.disk] {
            assert!(level.available > 0 && level.available <= level.capacity, "{seen:?}");
        }
    }

    #[test]
    fn the_distribution_names_itself() {
        assert_eq!(os_image("ID=x\nPRETTY_NAME=\"Debian 13\"\n"), "Debian 13");
        assert_eq!(os_image(""), "Linux");
    }
}
