//! What the machine has, and how much of it is left.

use std::fs;
use std::path::Path;

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

/// What does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Free {
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

impl Machine {
    /// Looks at this machine; `dir` is on the disk that pods use. What cannot be seen is zero or empty.
    pub fn look(dir: &Path) -> Self {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cpu_millis: cpus as u64 * 1000,
            memory_bytes: total_memory(),
            disk_bytes: disk(dir).0,
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

impl Free {
    /// Looks at what is left.
    pub fn look(dir: &Path) -> Self {
        Self { memory_bytes: available_memory(), disk_bytes: disk(dir).1 }
    }
}

/// The machine's memory, or what the control group of this process may have if that is less.
fn total_memory() -> u64 {
    let machine = meminfo("MemTotal").unwrap_or(0);
    cgroup("memory.max").map_or(machine, |limit| limit.min(machine))
}

fn available_memory() -> u64 {
    let machine = meminfo("MemAvailable").unwrap_or(u64::MAX);
    let in_group = cgroup("memory.max").zip(cgroup("memory.current")).map(|(max, current)| max.saturating_sub(current));
    in_group.map_or(machine, |left| left.min(machine))
}

fn meminfo(field: &str) -> Option<u64> {
    parse_meminfo(&fs::read_to_string("/proc/meminfo").ok()?, field)
}

fn parse_meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A number of this process's own control group (version 2).
fn cgroup(file: &str) -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    fs::read_to_string(Path::new("/sys/fs/cgroup").join(path).join(file)).ok()?.trim().parse().ok()
}

/// Bytes of the disk that `dir` is on: all, and free for us.
fn disk(dir: &Path) -> (u64, u64) {
    let stat = rustix::fs::statvfs(dir);
    stat.map_or((0, 0), |stat| (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
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
    fn the_distribution_names_itself() {
        assert_eq!(os_image("ID=x\nPRETTY_NAME=\"Debian 13\"\n"), "Debian 13");
        assert_eq!(os_image(""), "Linux");
    }
}
