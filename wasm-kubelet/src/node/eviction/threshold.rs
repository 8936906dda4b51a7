//! From how little on a resource is short, and what the node then may do: the settings, and how they are written.
//! Source: kubelet, `ParseThresholdConfig`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use coracle_api::quantity::Quantity;

use super::signal::{Level, Resource, Signal, UnknownSignal};
use crate::limits::{
    DISK_AVAILABLE_MIN_PERCENT, DISK_AVAILABLE_PLENTY, INODES_FREE_MIN_PERCENT, INODES_FREE_PLENTY,
    MEMORY_AVAILABLE_MIN, PRESSURE_TRANSITION,
};

/// How a node keeps itself from running short.
#[derive(Clone, Debug, PartialEq)]
pub struct Eviction {
    /// Hard ones before soft ones.
    pub thresholds: Vec<Threshold>,
    /// Most time that the containers of a pod have which goes for a soft threshold.
    pub pod_grace_max: Duration,
    /// A condition that was observed once holds at least so long.
    pub pressure_transition: Duration,
}

/// A signal below an amount.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub signal: Signal,
    pub value: Value,
    /// How long it has to be met before anything is done; `None`: it is a hard one, and pods go at once. A soft one that
    /// has to be met for no time is a hard one.
    pub grace: Option<Duration>,
    /// How much more than the value has to be there before it counts as met no more.
    pub reclaim_min: Option<Value>,
}

/// An amount of what a signal counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Quantity(Quantity),
    /// A share of what there is, in hundredths.
    Percent(f64),
    /// The same, and no more than this.
    PercentUpTo(f64, u64),
}

/// What a flag says of one signal: `memory.available<100Mi`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub signal: Signal,
    pub value: Value,
}

/// Settings that mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    #[error("{0:?} is not SIGNAL<AMOUNT, such as memory.available<100Mi or nodefs.available<10%")]
    NoLimit(String),
    #[error("{0:?} is not SIGNAL=AMOUNT, such as nodefs.available=500Mi or nodefs.available=2%")]
    NoReclaim(String),
    #[error(transparent)]
    Signal(#[from] UnknownSignal),
    #[error("{signal}: {text:?} is neither a quantity, such as 100Mi, nor a percentage, such as 10%")]
    NoAmount { signal: Signal, text: String },
    #[error("{signal}: {text:?} must be positive")]
    NotPositive { signal: Signal, text: String },
    #[error("{signal}: {text:?} is more than there is")]
    MoreThanAll { signal: Signal, text: String },
    #[error("{signal} comes twice among {what}")]
    Twice { what: &'static str, signal: Signal },
    #[error("the soft threshold of {0} has no grace period")]
    NoGrace(Signal),
}

impl Default for Eviction {
    /// Upstream's, but that a small share of a large disk is still plenty.
    fn default() -> Self {
        let hard = |signal, value| Threshold { signal, value, grace: None, reclaim_min: None };
        Self {
            thresholds: vec![
                hard(Signal::MemoryAvailable, Value::Quantity(Quantity::from_bytes(MEMORY_AVAILABLE_MIN))),
                hard(Signal::NodeFsAvailable, Value::PercentUpTo(DISK_AVAILABLE_MIN_PERCENT, DISK_AVAILABLE_PLENTY)),
                hard(Signal::NodeFsInodesFree, Value::PercentUpTo(INODES_FREE_MIN_PERCENT, INODES_FREE_PLENTY)),
            ],
            pod_grace_max: Duration::ZERO,
            pressure_transition: PRESSURE_TRANSITION,
        }
    }
}

impl Threshold {
    /// The same, with what is to be won besides where that says something of its signal.
    #[must_use]
    pub fn with_reclaims(self, reclaims: &[Limit]) -> Self {
        let reclaim_min = reclaims.iter().find(|it| it.signal == self.signal).map(|it| it.value);
        Self { reclaim_min: reclaim_min.or(self.reclaim_min), ..self }
    }

    /// Whether there is less than that.
    pub fn is_met(&self, level: Level) -> bool {
        self.value.of(level) > level.amount(self.signal)
    }

    /// Whether there is less than that and what is to be won besides.
    pub fn is_unresolved(&self, level: Level) -> bool {
        let besides = self.reclaim_min.map_or(Quantity::ZERO, |besides| besides.of(level));
        self.value.of(level) + besides > level.amount(self.signal)
    }
}

impl Level {
    /// What is left, as it is printed of a signal.
    pub(super) fn amount(self, signal: Signal) -> Quantity {
        match signal.resource() {
            Resource::Memory | Resource::Storage => Quantity::from_bytes(self.available),
            Resource::Inodes | Resource::Pids => {
                Quantity::from_units(i64::try_from(self.available).unwrap_or(i64::MAX))
            }
        }
    }
}

impl Value {
    /// The amount that it is of what there is.
    pub fn of(self, level: Level) -> Quantity {
        match self {
            Self::Quantity(quantity) => quantity,
            Self::Percent(percent) => Quantity::from_bytes(share(percent, level.capacity)),
            Self::PercentUpTo(percent, most) => Quantity::from_bytes(share(percent, level.capacity).min(most)),
        }
    }

    fn parse(signal: Signal, text: &str) -> Result<Self, ThresholdError> {
        let no_amount = || ThresholdError::NoAmount { signal, text: text.to_owned() };
        let value = match text.strip_suffix('%') {
            Some(percent) => Self::Percent(percent.parse().ok().filter(|p: &f64| p.is_finite()).ok_or_else(no_amount)?),
            None => Self::Quantity(text.parse().map_err(|_| no_amount())?),
        };
        match value {
            Self::Percent(percent) if percent > 100.0 => {
                Err(ThresholdError::MoreThanAll { signal, text: text.to_owned() })
            }
            Self::Percent(percent) if percent < 0.0 => {
                Err(ThresholdError::NotPositive { signal, text: text.to_owned() })
            }
            Self::Quantity(quantity) if quantity.is_negative() => {
                Err(ThresholdError::NotPositive { signal, text: text.to_owned() })
            }
            value => Ok(value),
        }
    }

    fn is_zero(self) -> bool {
        match self {
            Self::Quantity(quantity) => quantity.is_zero(),
            Self::Percent(percent) | Self::PercentUpTo(percent, _) => percent <= 0.0,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "as upstream reckons it: a share is not exact"
)]
fn share(percent: f64, capacity: u64) -> u64 {
    (capacity as f64 * percent / 100.0) as u64
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantity(quantity) => quantity.fmt(f),
            Self::Percent(percent) | Self::PercentUpTo(percent, _) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Limit {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let (signal, amount) = text.split_once('<').ok_or_else(|| ThresholdError::NoLimit(text.to_owned()))?;
        let signal: Signal = signal.trim().parse()?;
        let value = Value::parse(signal, amount.trim())?;
        match value {
            Value::Quantity(quantity) if quantity.is_zero() => {
                Err(ThresholdError::NotPositive { signal, text: amount.trim().to_owned() })
            }
            value => Ok(Self { signal, value }),
        }
    }
}

impl Limit {
    /// What is to be won besides: `nodefs.available=500Mi`.
    ///
    /// # Errors
    /// When the text says no such thing.
    pub fn reclaim(text: &str) -> Result<Self, ThresholdError> {
        let (signal, amount) = text.split_once('=').ok_or_else(|| ThresholdError::NoReclaim(text.to_owned()))?;
        let signal: Signal = signal.trim().parse()?;
        let value = Value::parse(signal, amount.trim())?;
        match value {
            Value::Percent(_) if value.is_zero() => {
                Err(ThresholdError::NotPositive { signal, text: amount.trim().to_owned() })
            }
            value => Ok(Self { signal, value }),
        }
    }

    /// A share of nothing or of all is what turns a threshold off. Source: `parseThresholdStatement`.
    fn is_off(&self) -> bool {
        matches!(self.value, Value::Percent(percent) if percent <= 0.0 || percent >= 100.0)
    }
}

/// The thresholds of four flags: hard ones, soft ones, how long each of these has to be met, and what is to be won besides.
///
/// # Errors
/// When a signal comes twice, or a soft threshold has no grace period.
pub fn thresholds(
    hard: &[Limit],
    soft: &[Limit],
    graces: &[(Signal, Duration)],
    reclaims: &[Limit],
) -> Result<Vec<Threshold>, ThresholdError> {
    let signals = |limits: &[Limit]| limits.iter().map(|limit| limit.signal).collect::<Vec<_>>();
    once("the hard thresholds", &signals(hard))?;
    once("the soft thresholds", &signals(soft))?;
    once("the grace periods", &graces.iter().map(|(signal, _)| *signal).collect::<Vec<_>>())?;
    once("the minimum reclaims", &signals(reclaims))?;
    let threshold = |limit: &Limit, grace| {
        Threshold { signal: limit.signal, value: limit.value, grace, reclaim_min: None }.with_reclaims(reclaims)
    };
    let mut all: Vec<Threshold> = hard.iter().filter(|it| !it.is_off()).map(|limit| threshold(limit, None)).collect();
    for limit in soft.iter().filter(|it| !it.is_off()) {
        let grace = graces.iter().find(|(signal, _)| *signal == limit.signal).map(|(_, grace)| *grace);
        let grace = grace.ok_or(ThresholdError::NoGrace(limit.signal))?;
        all.push(threshold(limit, Some(grace).filter(|grace| !grace.is_zero())));
    }
    all.sort_by_key(|threshold| threshold.grace.is_some());
    Ok(all)
}

fn once(what: &'static str, signals: &[Signal]) -> Result<(), ThresholdError> {
    let twice = signals.iter().enumerate().find(|(at, signal)| signals[..*at].contains(signal));
    twice.map_or(Ok(()), |(_, signal)| Err(ThresholdError::Twice { what, signal: *signal }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits(text: &str) -> Vec<Limit> {
        text.split(',').filter(|it| !it.is_empty()).map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn a_threshold_is_a_quantity_or_a_share() {
        let level = |available, capacity| Level { available, capacity };
        let of = |text: &str| thresholds(&limits(text), &[], &[], &[]).unwrap()[0];
        let memory = of("memory.available<100Mi");
        assert!(memory.is_met(level((100 << 20) - 1, 1 << 30)) && !memory.is_met(level(100 << 20, 1 << 30)));
        let disk = of("nodefs.available<12.5%");
        assert!(disk.is_met(level(124, 1000)) && !disk.is_met(level(125, 1000)));
        assert_eq!(disk.value.to_string(), "12.5%");
        assert!(thresholds(&limits("nodefs.available<0%,imagefs.available<100%"), &[], &[], &[]).unwrap().is_empty());
    }

    #[test]
    fn what_means_nothing_is_refused_with_where_and_what() {
        let refused = |text: &str| text.parse::<Limit>().unwrap_err().to_string();
        let table = [
            (
                "memory.available",
                r#""memory.available" is not SIGNAL<AMOUNT, such as memory.available<100Mi or nodefs.available<10%"#,
            ),
            (
                "memory.available<much",
                r#"memory.available: "much" is neither a quantity, such as 100Mi, nor a percentage, such as 10%"#,
            ),
            (
                "memory.available<NaN%",
                r#"memory.available: "NaN%" is neither a quantity, such as 100Mi, nor a percentage, such as 10%"#,
            ),
            ("memory.available<0", r#"memory.available: "0" must be positive"#),
            ("memory.available<-1Mi", r#"memory.available: "-1Mi" must be positive"#),
            ("nodefs.available<-1%", r#"nodefs.available: "-1%" must be positive"#),
            ("nodefs.available<101%", r#"nodefs.available: "101%" is more than there is"#),
        ];
        for (text, want) in table {
            assert_eq!(refused(text), want);
        }
        assert!(
            refused("cpu.available<1")
                .starts_with(r#""cpu.available" is no eviction signal; there are memory.available, "#)
        );
        assert!(Limit::reclaim("nodefs.available<1Gi").unwrap_err().to_string().contains("is not SIGNAL=AMOUNT"));
        assert_eq!(
            Limit::reclaim("nodefs.available=0%").unwrap_err().to_string(),
            r#"nodefs.available: "0%" must be positive"#
        );
    }

    #[test]
    fn flags_make_thresholds_hard_ones_first() {
        let minute = Duration::from_secs(60);
        let hard = limits("memory.available<100Mi,nodefs.available<10%");
        let soft = limits("memory.available<1Gi");
        let reclaims = [Limit::reclaim("memory.available=50Mi").unwrap()];
        let all = thresholds(&hard, &soft, &[(Signal::MemoryAvailable, minute)], &reclaims).unwrap();
        let seen: Vec<_> = all.iter().map(|it| (it.signal, it.grace, it.reclaim_min.is_some())).collect();
        assert_eq!(
            seen,
            [
                (Signal::MemoryAvailable, None, true),
                (Signal::NodeFsAvailable, None, false),
                (Signal::MemoryAvailable, Some(minute), true)
            ]
        );
        let level = |available| Level { available, capacity: 1 << 40 };
        assert!(!all[0].is_met(level(120 << 20)) && all[0].is_unresolved(level(120 << 20)));
        assert!(!all[0].is_unresolved(level(150 << 20)));

        let refused = |hard: &[Limit], soft: &[Limit]| thresholds(hard, soft, &[], &[]).unwrap_err().to_string();
        assert_eq!(refused(&[], &soft), "the soft threshold of memory.available has no grace period");
        assert_eq!(refused(&[hard[0], soft[0]], &[]), "memory.available comes twice among the hard thresholds");
    }

    #[test]
    fn by_default_a_small_share_of_a_huge_disk_is_still_plenty() {
        let disk = Eviction::default().thresholds[1];
        let level = |available: u64, capacity: u64| Level { available, capacity };
        assert!(disk.is_met(level(3 << 30, 100 << 30)) && !disk.is_met(level(50 << 30, 100 << 30)));
        assert!(!disk.is_met(level(100 << 30, 10 << 40)));
    }
}
