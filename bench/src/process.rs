//! Memory and CPU time of other processes, from `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

/// Ticks of `/proc/PID/stat` a second: `USER_HZ`, which Linux fixes at 100 for every architecture that runs this.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processes under measurement; may be none.
#[derive(Debug)]
pub struct Processes(Vec<u32>);

/// Sums over the processes.
#[derive(Debug, Default, Serialize)]
pub struct Memory {
    pub rss_bytes: u64,
    /// Shared pages counted by their share.
    pub pss_bytes: u64,
}

/// CPU time from [`Processes::begin`] on.
pub struct Span<'a> {
    processes: &'a Processes,
    cpu: Option<Duration>,
    began: Instant,
}

impl Processes {
    pub fn new(pids: Vec<u32>) -> Self {
        Self(pids)
    }

    /// What they hold now; nothing when there is none to ask.
    ///
    /// # Errors
    /// When one of them is gone, or not ours to read.
    pub fn memory(&self) -> anyhow::Result<Option<Memory>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut sum = Memory::default();
        for pid in &self.0 {
            let rollup = read(*pid, "smaps_rollup")?;
            sum.rss_bytes += field_kib(&rollup, "Rss:") * 1024;
            sum.pss_bytes += field_kib(&rollup, "Pss:") * 1024;
        }
        Ok(Some(sum))
    }

    /// Starts to count CPU time.
    ///
    /// # Errors
    /// As [`Processes::memory`].
    pub fn begin(&self) -> anyhow::Result<Span<'_>> {
        Ok(Span { processes: self, cpu: self.cpu()?, began: Instant::now() })
    }

    fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut ticks = 0;
        for pid in &self.0 {
            ticks += ticks_of(&read(*pid, "stat")?);
        }
        Ok(Some(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND)))
    }
}

impl Span<'_> {
    /// CPU seconds spent, and the share of one core in percent.
    ///
    /// # Errors
    /// As [`Processes::memory`].
    pub fn end(self) -> anyhow::Result<Option<(f64, f64)>> {
        let elapsed = self.began.elapsed().as_secs_f64();
        let (Some(before), Some(after)) = (self.cpu, self.processes.cpu()?) else { return Ok(None) };
        let spent = after.saturating_sub(before).as_secs_f64();
        Ok(Some((spent, (spent / elapsed * 1e4).round() / 1e2)))
    }
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// `Name:   123 kB` of smaps.
fn field_kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// utime + stime. The command's name, in parentheses, may hold spaces and parentheses itself.
fn ticks_of(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_it_is_written() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(ticks_of(stat), 300);
        assert_eq!(field_kib("Rss:   12 kB\nPss:    7 kB\n", "Pss:"), 7);
    }
}
