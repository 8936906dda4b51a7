//! The Pod Security Standards: which of them a namespace's labels ask for, and how a pod falls short of one.
//!
//! Pure: the API server's plugin says what a pod that falls short is refused or warned with. A check is a row of
//! [`checks::ALL`], and stands since a version of the standards, so that a namespace may keep to an older one.
//!
//! Source: `k8s.io/pod-security-admission`.

mod checks;

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::field::{Errors, Path};

/// With what every label that chooses a standard begins.
pub const LABEL_PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a standard asks for, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// The minor version of Kubernetes with which a standard was as it is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

/// What pods are measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    pub level: Level,
    pub version: Version,
}

/// What a namespace asks for: pods that fall short of `enforce` are refused, and of `warn` are warned of. What falls short
/// of an audit's standard is for an audit log, which this server does not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub enforce: Standard,
    pub warn: Standard,
}

/// How a pod falls short of a standard: in a word, and in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub reason: &'static str,
    pub detail: String,
}

impl Version {
    pub const LATEST: Version = Version(u32::MAX);

    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::LATEST);
        }
        let minor = text.strip_prefix("v1.")?;
        let is_number = minor == "0" || (!minor.starts_with('0') && minor.bytes().all(|byte| byte.is_ascii_digit()));
        minor.parse().ok().filter(|_| is_number).map(Version)
    }
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })?;
        match self.version {
            Version::LATEST => f.write_str(":latest"),
            Version(minor) => write!(f, ":v1.{minor}"),
        }
    }
}

impl Standard {
    /// How a pod falls short.
    #[must_use]
    pub fn violations(&self, meta: &ObjectMeta, spec: &PodSpec) -> Vec<Violation> {
        checks::of(*self, meta, spec)
    }
}

impl Policy {
    /// What the labels of a namespace ask for, and what is wrong with them. What cannot be read is taken as the strictest
    /// that could be meant where pods would be refused, and as nothing where they would be warned of.
    #[must_use]
    pub fn of(labels: Option<&BTreeMap<String, String>>) -> (Self, Errors) {
        let mut labels = Labels { labels, errors: Errors::new() };
        let (enforce, enforce_version) = (labels.level("enforce"), labels.version("enforce-version"));
        labels.level("audit");
        labels.version("audit-version");
        let (warn, warn_version) = (labels.level("warn"), labels.version("warn-version"));
        let latest = |version: Option<Version>| version.unwrap_or(Version::LATEST);
        let none = (Level::Privileged, latest(warn_version));
        let (warn_level, warn_version) = match (warn, enforce) {
            (Some(Ok(level)), _) => (level, none.1),
            // Whoever will be refused a pod is warned of what would make one.
            (None, Some(Ok(level))) if level > Level::Privileged => (level, latest(warn_version.or(enforce_version))),
            _ => none,
        };
        let enforce_level = match enforce {
            None => Level::Privileged,
            Some(read) => read.unwrap_or(Level::Restricted),
        };
        let enforce = Standard { level: enforce_level, version: latest(enforce_version) };
        (Self { enforce, warn: Standard { level: warn_level, version: warn_version } }, labels.errors)
    }
}

/// A label that says nothing.
#[derive(Clone, Copy)]
struct Unread;

/// Labels that are read, and what is wrong with those that were.
struct Labels<'l> {
    labels: Option<&'l BTreeMap<String, String>>,
    errors: Errors,
}

impl Labels<'_> {
    fn level(&mut self, name: &str) -> Option<Result<Level, Unread>> {
        self.read(name, Level::parse, "must be one of privileged, baseline, restricted")
    }

    /// The version: the latest where it cannot be read.
    fn version(&mut self, name: &str) -> Option<Version> {
        self.read(name, Version::parse, "must be \"latest\" or \"v1.x\"").map(|read| read.unwrap_or(Version::LATEST))
    }

    fn read<T>(&mut self, name: &str, parse: fn(&str) -> Option<T>, detail: &str) -> Option<Result<T, Unread>> {
        let label = format!("{LABEL_PREFIX}{name}");
        let text = self.labels?.get(&label)?;
        Some(parse(text).ok_or_else(|| {
            let metadata = Path::new("metadata");
            self.errors.invalid(&metadata.child("labels").key(&label), text, detail);
            Unread
        }))
    }
}

/// Everything by which a pod falls short, in full: `host namespaces (hostPID=true), hostPort (…)`.
#[must_use]
pub fn details(violations: &[Violation]) -> String {
    let told = |one: &Violation| match one.detail.as_str() {
        "" => one.reason.to_owned(),
        detail => format!("{} ({detail})", one.reason),
    };
    violations.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// Everything by which a pod falls short, in few words.
#[must_use]
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|one| one.reason).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy of labels given as `name=value` apart by blanks, as `enforce warn`, and what is wrong with them.
    fn policy(labels: &str) -> (String, Vec<String>) {
        let labels = labels.split_whitespace().filter_map(|label| label.split_once('='));
        let labels: BTreeMap<String, String> =
            labels.map(|(name, value)| (format!("{LABEL_PREFIX}{name}"), value.to_owned())).collect();
        let (policy, errors) = Policy::of(Some(&labels));
        (format!("{} {}", policy.enforce, policy.warn), errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn labels_choose_the_standards() {
        for (labels, expected) in [
            ("", "privileged:latest privileged:latest"),
            ("enforce=baseline", "baseline:latest baseline:latest"),
            ("warn=restricted", "privileged:latest restricted:latest"),
            ("audit=baseline", "privileged:latest privileged:latest"),
            ("enforce=baseline warn=restricted", "baseline:latest restricted:latest"),
            ("enforce=baseline enforce-version=v1.22", "baseline:v1.22 baseline:v1.22"),
            ("enforce=baseline enforce-version=v1.22 warn-version=latest", "baseline:v1.22 baseline:latest"),
            ("enforce=baseline warn-version=v1.0", "baseline:latest baseline:v1.0"),
            ("enforce=baseline warn=privileged", "baseline:latest privileged:latest"),
            ("enforce-version=v1.20", "privileged:v1.20 privileged:latest"),
        ] {
            assert_eq!(policy(labels), (expected.to_owned(), Vec::new()), "{labels}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_and_taken_with_care() {
        for (labels, expected) in [
            ("enforce=foo", "restricted:latest privileged:latest"),
            ("enforce=baseline warn=foo", "baseline:latest privileged:latest"),
        ] {
            let (policy, errors) = policy(labels);
            assert_eq!((policy.as_str(), errors.len()), (expected, 1), "{labels}");
        }
        for version in ["foo", "", "v2.0", "v1", "1.1", "v1.01", "v1.", "v1.-1", "v1.+1"] {
            let (policy, errors) = policy(&format!("enforce=baseline enforce-version={version}"));
            assert_eq!((policy.as_str(), errors.len()), ("baseline:latest baseline:latest", 1), "{version}");
        }
        assert_eq!(
            policy("warn=a enforce-version=b enforce=c").1,
            [
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"c\": must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"b\": must be \"latest\" or \"v1.x\"",
                "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"a\": must be one of privileged, baseline, restricted",
            ]
        );
    }
}
