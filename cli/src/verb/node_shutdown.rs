//! How long pods have when their node shuts down: options that `coracle up` and `coracle kubelet` share.

use std::time::Duration;

use coracle_kubelet::NodeShutdown;

use crate::failure::{Failure, Hint, Result};
use crate::verb::run::time;

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Shutdown")]
pub struct Shutdown {
    /// A signal shuts the node down: its pods end within this time, and have failed [default: they stay, and go on at the
    /// next start]
    #[arg(long = "shutdown-grace-period", value_name = "TIME", value_parser = time)]
    grace: Option<Duration>,

    /// How much of it is left to critical pods, which end after all others [default: nothing]
    #[arg(
        long = "shutdown-grace-period-critical-pods",
        value_name = "TIME",
        value_parser = time,
        requires = "grace"
    )]
    critical_pods: Option<Duration>,
}

impl Shutdown {
    /// What a node is to do.
    ///
    /// # Errors
    /// When critical pods are left more than there is.
    pub fn periods(&self) -> Result<NodeShutdown> {
        let grace = self.grace.unwrap_or_default();
        let critical_pods = self.critical_pods.unwrap_or_default();
        if critical_pods > grace {
            let failed: Result<_> =
                Err(Failure::new("--shutdown-grace-period-critical-pods is more than --shutdown-grace-period"));
            return failed.hint("the time for critical pods is a part of the time for all");
        }
        Ok(NodeShutdown { grace, critical_pods })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        shutdown: Shutdown,
    }

    #[test]
    fn critical_pods_have_a_part_of_the_time() {
        let periods = |flags: &[&str]| {
            let line = Line::try_parse_from(["kubelet"].iter().chain(flags)).ok()?;
            line.shutdown.periods().ok().map(|it| (it.grace.as_secs(), it.critical_pods.as_secs()))
        };
        let (all, critical) = ("--shutdown-grace-period", "--shutdown-grace-period-critical-pods");
        assert_eq!(periods(&[]), Some((0, 0)));
        assert_eq!(periods(&[all, "1m"]), Some((60, 0)));
        assert_eq!(periods(&[all, "30s", critical, "10s"]), Some((30, 10)));
        assert_eq!(periods(&[all, "10s", critical, "30s"]), None);
        assert_eq!(periods(&[critical, "10s"]), None);
    }
}
