//! From how little on a node evicts pods: options that `coracle up` and `coracle kubelet` share.

use std::time::Duration;

use coracle_kubelet::eviction::{Eviction, Limit, Signal, thresholds};

use crate::failure::{Failure, Result};
use crate::verb::run::time;

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Eviction")]
pub struct Pressure {
    /// Pods are evicted at once where less is left; given at all, it stands for all defaults, and "" for none of them
    /// [default: memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%, with no more than 4Gi and 100k]
    #[arg(long = "eviction-hard", value_name = "SIGNAL<AMOUNT,…", value_delimiter = ',', value_parser = limit)]
    hard: Option<Vec<Option<Limit>>>,

    /// Pods are evicted where less is left for as long as --eviction-soft-grace-period says
    #[arg(long = "eviction-soft", value_name = "SIGNAL<AMOUNT,…", value_delimiter = ',', value_parser = limit)]
    soft: Vec<Option<Limit>>,

    /// For how long, for each signal of --eviction-soft
    #[arg(long = "eviction-soft-grace-period", value_name = "SIGNAL=TIME,…", value_delimiter = ',', value_parser = grace)]
    graces: Vec<(Signal, Duration)>,

    /// The most time that a pod has to end which goes for a soft threshold
    #[arg(long = "eviction-max-pod-grace-period", value_name = "TIME", default_value = "0", value_parser = time)]
    pod_grace_max: Duration,

    /// How much more than its threshold has to be left of a signal before pods are evicted no longer
    #[arg(
        long = "eviction-minimum-reclaim",
        value_name = "SIGNAL=AMOUNT,…",
        value_delimiter = ',',
        value_parser = Limit::reclaim
    )]
    reclaims: Vec<Limit>,

    /// How long the node says at least that it is short of something [default: 5m]
    #[arg(long = "eviction-pressure-transition-period", value_name = "TIME", value_parser = time)]
    transition: Option<Duration>,
}

impl Pressure {
    /// What a node is to do.
    ///
    /// # Errors
    /// When a signal comes twice, or a soft threshold has no grace period.
    pub fn eviction(&self) -> Result<Eviction> {
        let defaults = Eviction::default();
        let given = |limits: &[Option<Limit>]| limits.iter().flatten().copied().collect::<Vec<_>>();
        let hard = given(self.hard.as_deref().unwrap_or_default());
        let mut all = thresholds(&hard, &given(&self.soft), &self.graces, &self.reclaims)
            .map_err(|error| Failure::new(format!("the --eviction flags do not fit each other: {error}")))?;
        if self.hard.is_none() {
            let hard = defaults.thresholds.iter().map(|threshold| threshold.with_reclaims(&self.reclaims));
            all.splice(0..0, hard);
        }
        Ok(Eviction {
            thresholds: all,
            pod_grace_max: self.pod_grace_max,
            pressure_transition: self.transition.unwrap_or(defaults.pressure_transition),
        })
    }
}

/// Nothing, or a threshold.
fn limit(text: &str) -> std::result::Result<Option<Limit>, String> {
    let text = text.trim();
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(said) }
}

/// `memory.available=90s`
fn grace(text: &str) -> std::result::Result<(Signal, Duration), String> {
    let (signal, period) = text.split_once('=').ok_or("not SIGNAL=TIME, such as memory.available=90s")?;
    Ok((signal.trim().parse().map_err(said)?, time(period.trim())?))
}

fn said(error: impl std::error::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        pressure: Pressure,
    }

    fn parse(flags: &[&str]) -> std::result::Result<Eviction, String> {
        let line = Line::try_parse_from(["kubelet"].iter().chain(flags)).map_err(|error| error.to_string())?;
        line.pressure.eviction().map_err(|failure| failure.message())
    }

    #[test]
    fn flags_say_what_a_node_does() {
        assert_eq!(parse(&[]).unwrap(), Eviction::default());
        assert!(parse(&["--eviction-hard", ""]).unwrap().thresholds.is_empty());
        let eviction = parse(&[
            "--eviction-hard",
            "memory.available<200Mi,nodefs.available<5%",
            "--eviction-soft=memory.available<1Gi",
            "--eviction-soft-grace-period=memory.available=90s",
            "--eviction-max-pod-grace-period=30",
            "--eviction-minimum-reclaim=nodefs.available=1Gi",
            "--eviction-pressure-transition-period=1m",
        ])
        .unwrap();
        let seen: Vec<_> =
            eviction.thresholds.iter().map(|it| (it.signal.as_str(), it.value.to_string(), it.grace)).collect();
        let soft = Some(Duration::from_secs(90));
        assert_eq!(
            seen,
            [
                ("memory.available", "200Mi".to_owned(), None),
                ("nodefs.available", "5%".to_owned(), None),
                ("memory.available", "1Gi".to_owned(), soft)
            ]
        );
        assert!(eviction.thresholds[1].reclaim_min.is_some());
        assert_eq!((eviction.pod_grace_max.as_secs(), eviction.pressure_transition.as_secs()), (30, 60));
        let defaults = parse(&["--eviction-minimum-reclaim=memory.available=1Gi"]).unwrap().thresholds;
        assert!(defaults.len() == 3 && defaults[0].reclaim_min.is_some());
    }

    #[test]
    fn a_bad_threshold_is_refused_with_where_and_what() {
        let refused = |flags: &[&str]| parse(flags).unwrap_err();
        let hard = refused(&["--eviction-hard", "memory.available<much"]);
        assert!(hard.contains("'memory.available<much' for '--eviction-hard"), "{hard}");
        assert!(
            hard.contains(r#"memory.available: "much" is neither a quantity, such as 100Mi, nor a percentage"#),
            "{hard}"
        );
        let soft = refused(&["--eviction-soft", "cpu.available<10%"]);
        assert!(
            soft.contains("--eviction-soft") && soft.contains(r#""cpu.available" is no eviction signal"#),
            "{soft}"
        );
        let lone = refused(&["--eviction-soft", "memory.available<1Gi"]);
        assert!(lone.contains("the soft threshold of memory.available has no grace period"), "{lone}");
        let grace = refused(&["--eviction-soft-grace-period", "memory.available=soon"]);
        assert!(grace.contains("\"soon\" is not a time"), "{grace}");
    }
}
