//! What a budget's status should say, of the pods that it guards. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::pod;

/// How long after its eviction a pod is believed to go.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_secs(2 * 60);

const ALLOWED: &str = "DisruptionAllowed";

/// What a plan is made of.
#[derive(Debug)]
pub struct Observed<'a> {
    pub budget: &'a PodDisruptionBudget,
    /// Those that its selector selects.
    pub pods: &'a [Arc<Pod>],
    /// How many there should be, as their controllers say; not asked where [`needs_scale`] does not.
    pub scale: i32,
    pub now: Timestamp,
}

/// What to do about a budget.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// None when it says so already.
    pub status: Option<PodDisruptionBudgetStatus>,
    /// When a pod that was evicted is to be believed to stay.
    pub look_again: Option<Duration>,
    /// Pods that were evicted and did not go.
    pub not_deleted: Vec<Arc<Pod>>,
}

/// Whether what the budget says is in proportion to what controllers want.
pub fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

/// Decides on the status.
///
/// # Errors
/// When the budget's share is no percentage.
pub fn plan(observed: &Observed<'_>) -> Result<Plan, String> {
    let Observed { budget, pods, now, .. } = *observed;
    let (expected, desired) = expected(budget.spec.as_ref(), pods.len(), observed.scale)?;
    let status = budget.status.clone().unwrap_or_default();
    let disrupted = Disrupted::of(&status, pods, now);
    let healthy = pods.iter().filter(|pod| counts(pod, &disrupted.waiting, now)).count();
    let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
    let allowed = if expected > 0 { healthy.saturating_sub(desired).max(0) } else { 0 };
    let generation = budget.metadata.generation.unwrap_or(0);
    let fresh = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.waiting.is_empty()).then_some(disrupted.waiting),
        observed_generation: Some(generation),
        conditions: Some(conditions(&status, &verdict(allowed, generation), now)),
    };
    Ok(Plan {
        status: (fresh != exact(status)).then_some(fresh),
        look_again: disrupted.until.map(|until| until.duration_since(now).try_into().unwrap_or_default()),
        not_deleted: disrupted.overdue,
    })
}

/// The status of a budget that could not be worked out: nothing is allowed. None when it says so already.
pub fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> Option<PodDisruptionBudgetStatus> {
    let status = budget.status.clone().unwrap_or_default();
    let generation = status.observed_generation.unwrap_or(0);
    let mut fresh = status.clone();
    fresh.disruptions_allowed = Some(0);
    let verdict = condition("False", "SyncFailed", why, generation);
    fresh.conditions = Some(conditions(&status, &verdict, now));
    (fresh != status).then_some(fresh)
}

/// How many pods there should be, and how many of them healthy.
fn expected(spec: Option<&PodDisruptionBudgetSpec>, pods: usize, scale: i32) -> Result<(i32, i32), String> {
    let Some(spec) = spec else { return Ok((0, 0)) };
    Ok(match (&spec.max_unavailable, &spec.min_available) {
        (Some(unavailable), _) => (scale, scale.saturating_sub(share(unavailable, scale)?).max(0)),
        (None, Some(IntOrString::Int(number))) => (i32::try_from(pods).unwrap_or(i32::MAX), *number),
        (None, Some(percent)) => (scale, share(percent, scale)?),
        (None, None) => (0, 0),
    })
}

/// A number, or a percentage of `total`, rounded up.
fn share(value: &IntOrString, total: i32) -> Result<i32, String> {
    match value {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(text) => {
            let percent: Option<i64> = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
            let percent =
                percent.ok_or_else(|| format!("invalid value for IntOrString: {text:?} is not a percentage"))?;
            let hundredths = percent.saturating_mul(i64::from(total));
            let rounded_up = hundredths.div_euclid(100) + i64::from(hundredths.rem_euclid(100) > 0);
            Ok(i32::try_from(rounded_up).unwrap_or(i32::MAX))
        }
    }
}

/// The evicted pods that are still there.
#[derive(Debug, Default)]
struct Disrupted {
    waiting: BTreeMap<String, Time>,
    /// When the first of them is overdue.
    until: Option<Timestamp>,
    overdue: Vec<Arc<Pod>>,
}

impl Disrupted {
    fn of(status: &PodDisruptionBudgetStatus, pods: &[Arc<Pod>], now: Timestamp) -> Self {
        let mut this = Self::default();
        for pod in pods.iter().filter(|pod| !pod::is_deleting(pod)) {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let Some(since) = status.disrupted_pods.as_ref().and_then(|all| all.get(name)) else { continue };
            let until = gone_by(since);
            if until < now {
                this.overdue.push(pod.clone());
                continue;
            }
            this.until = Some(this.until.map_or(until, |first| first.min(until)));
            this.waiting.insert(name.to_owned(), since.clone());
        }
        this
    }
}

fn gone_by(since: &Time) -> Timestamp {
    since.0.checked_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX)
}

/// Whether a pod is one of the healthy: it is ready, and nobody has asked it to go.
fn counts(pod: &Pod, disrupted: &BTreeMap<String, Time>, now: Timestamp) -> bool {
    let since = pod.metadata.name.as_ref().and_then(|name| disrupted.get(name));
    !pod::is_deleting(pod) && since.is_none_or(|since| gone_by(since) <= now) && pod::is_ready(pod)
}

fn verdict(allowed: i32, generation: i64) -> Condition {
    match allowed {
        0 => condition("False", "InsufficientPods", "", generation),
        _ => condition("True", "SufficientPods", "", generation),
    }
}

fn condition(status: &str, reason: &str, message: &str, generation: i64) -> Condition {
    Condition {
        type_: ALLOWED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: (generation != 0).then_some(generation),
    }
}

/// The conditions with this one among them; it keeps the time of its last transition while its status is the same.
fn conditions(status: &PodDisruptionBudgetStatus, own: &Condition, now: Timestamp) -> Vec<Condition> {
    let mut all = status.conditions.clone().unwrap_or_default();
    match all.iter_mut().find(|one| one.type_ == own.type_) {
        Some(was) => {
            let same = was.status == own.status;
            let since = if same { was.last_transition_time.clone() } else { Time(now) };
            *was = Condition { last_transition_time: since, ..own.clone() };
        }
        None => all.push(Condition { last_transition_time: Time(now), ..own.clone() }),
    }
    all
}

/// A status as it was stored, with what is left out when it is nothing.
fn exact(status: PodDisruptionBudgetStatus) -> PodDisruptionBudgetStatus {
    PodDisruptionBudgetStatus {
        disrupted_pods: status.disrupted_pods.filter(|pods| !pods.is_empty()),
        current_healthy: Some(status.current_healthy.unwrap_or(0)),
        desired_healthy: Some(status.desired_healthy.unwrap_or(0)),
        expected_pods: Some(status.expected_pods.unwrap_or(0)),
        disruptions_allowed: Some(status.disruptions_allowed.unwrap_or(0)),
        observed_generation: Some(status.observed_generation.unwrap_or(0)),
        conditions: status.conditions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::{at, deleting, pod, ready};
    use coracle_api::Object;

    fn budget(spec: &str, status: &str) -> PodDisruptionBudget {
        let json = format!(r#"{{"metadata":{{"name":"b","generation":3}},"spec":{{{spec}}},"status":{{{status}}}}}"#);
        PodDisruptionBudget::decode(json.as_bytes()).expect("a budget")
    }

    /// `healthy/desired of expected: allowed reason`, for four pods, of which `ready` are ready.
    fn told(spec: &str, ready_pods: usize, pods: usize, scale: i32) -> String {
        let name = |n: usize| format!("p{n}");
        let one = |n: usize| if n < ready_pods { ready(pod(&name(n)), 0) } else { pod(&name(n)) };
        let pods: Vec<_> = (0..pods).map(|n| Arc::new(one(n))).collect();
        let budget = budget(spec, "");
        let planned = match plan(&Observed { budget: &budget, pods: &pods, scale, now: at(100) }) {
            Ok(planned) => planned,
            Err(why) => return why,
        };
        let status = planned.status.expect("a new budget has no status");
        assert_eq!(status.observed_generation, Some(3));
        let reason = &status.conditions.as_ref().expect("a verdict")[0].reason;
        let number = Option::unwrap_or_default;
        format!(
            "{}/{} of {}: {} {reason}",
            number(status.current_healthy),
            number(status.desired_healthy),
            number(status.expected_pods),
            number(status.disruptions_allowed)
        )
    }

    #[test]
    fn what_is_allowed_is_what_is_healthy_beyond_what_is_wanted() {
        for (spec, ready, pods, scale, expected) in [
            (r#""minAvailable":2"#, 4, 4, 9, "4/2 of 4: 2 SufficientPods"),
            (r#""minAvailable":4"#, 4, 4, 9, "4/4 of 4: 0 InsufficientPods"),
            (r#""minAvailable":2"#, 1, 4, 9, "1/2 of 4: 0 InsufficientPods"),
            (r#""minAvailable":0"#, 0, 0, 0, "0/0 of 0: 0 InsufficientPods"),
            (r#""minAvailable":"50%""#, 4, 4, 7, "4/4 of 7: 0 InsufficientPods"),
            (r#""minAvailable":"34%""#, 4, 4, 5, "4/2 of 5: 2 SufficientPods"),
            (r#""minAvailable":"0%""#, 4, 4, 4, "4/0 of 4: 4 SufficientPods"),
            (r#""maxUnavailable":1"#, 4, 4, 4, "4/3 of 4: 1 SufficientPods"),
            (r#""maxUnavailable":1"#, 3, 3, 4, "3/3 of 4: 0 InsufficientPods"),
            (r#""maxUnavailable":9"#, 2, 4, 4, "2/0 of 4: 2 SufficientPods"),
            (r#""maxUnavailable":"30%""#, 4, 4, 4, "4/2 of 4: 2 SufficientPods"),
            (r#""maxUnavailable":"100%""#, 4, 4, 0, "4/0 of 0: 0 InsufficientPods"),
            ("", 4, 4, 4, "4/0 of 0: 0 InsufficientPods"),
            (r#""maxUnavailable":"few""#, 4, 4, 4, r#"invalid value for IntOrString: "few" is not a percentage"#),
        ] {
            assert_eq!(told(spec, ready, pods, scale), expected, "{spec} {ready} {scale}");
        }
    }

    #[test]
    fn only_shares_of_what_controllers_want_need_their_scale() {
        for (spec, expected) in [
            (r#""minAvailable":2"#, false),
            (r#""minAvailable":"2%""#, true),
            (r#""maxUnavailable":2"#, true),
            ("", false),
        ] {
            assert_eq!(needs_scale(&budget(spec, "")), expected, "{spec}");
        }
    }

    /// Evicted at second 0: lost at once, and believed to stay from second 120 on.
    #[test]
    fn evicted_pods_are_lost_for_two_minutes() {
        let disrupted = r#""disruptedPods":{"p":"2023-11-14T22:13:20Z","gone":"2023-11-14T22:13:20Z"}"#;
        let budget = budget(r#""minAvailable":0"#, disrupted);
        let (stays, goes) = (ready(pod("p"), 0), deleting(ready(pod("p"), 0)));
        for (pod, now, healthy, waiting, look_again, overdue) in [
            (&stays, 10, 0, 1, Some(110), 0),
            (&stays, 120, 1, 1, Some(0), 0),
            (&stays, 121, 1, 0, None, 1),
            (&goes, 10, 0, 0, None, 0),
        ] {
            let pods = [Arc::new(pod.clone())];
            let planned = plan(&Observed { budget: &budget, pods: &pods, scale: 0, now: at(now) }).expect("a plan");
            let status = planned.status.expect("a status");
            let still = status.disrupted_pods.map_or(0, |pods| pods.len());
            let told = (status.current_healthy, still, planned.look_again, planned.not_deleted.len());
            assert_eq!(told, (Some(healthy), waiting, look_again.map(Duration::from_secs), overdue), "at {now}");
        }
    }

    #[test]
    fn a_status_is_written_once_and_keeps_its_transition() {
        let mut budget = budget(r#""minAvailable":0"#, "");
        let pods = [Arc::new(ready(pod("p"), 0))];
        let planned = |budget: &PodDisruptionBudget, pods: &[Arc<Pod>], now: i64| {
            plan(&Observed { budget, pods, scale: 0, now: at(now) }).expect("a plan").status
        };
        let since = |status: &Option<PodDisruptionBudgetStatus>| {
            let conditions = status.as_ref().and_then(|status| status.conditions.clone());
            conditions.map(|all| (all[0].reason.clone(), all[0].last_transition_time.0))
        };
        budget.status = planned(&budget, &pods, 1);
        assert_eq!(since(&budget.status), Some(("SufficientPods".to_owned(), at(1))));
        assert_eq!(planned(&budget, &pods, 2), None);
        let failure = failed(&budget, "no controllers", at(3));
        assert_eq!(since(&failure), Some(("SyncFailed".to_owned(), at(3))));
        assert_eq!(failure.as_ref().and_then(|status| status.disruptions_allowed), Some(0));
        budget.status = failure;
        assert_eq!(failed(&budget, "no controllers", at(4)), None);
        assert_eq!(since(&planned(&budget, &[], 5)), Some(("InsufficientPods".to_owned(), at(3))));
    }
}
