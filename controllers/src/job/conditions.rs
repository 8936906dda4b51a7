//! The conditions of a job. Pure.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The condition of type `kind`.
pub fn find<'a>(conditions: &'a [JobCondition], kind: &str) -> Option<&'a JobCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// A condition that begins `now`.
pub fn new(kind: &str, is_true: bool, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    JobCondition {
        type_: kind.to_owned(),
        status: if is_true { "True" } else { "False" }.to_owned(),
        reason: text(reason),
        message: text(message),
        last_probe_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    }
}

/// As the API tells time: in whole seconds.
pub fn time(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Sets a condition, and says whether that changed anything. One that was never there need not be said to be false.
///
/// Source: `ensureJobConditionStatus`.
pub fn set(conditions: &mut Vec<JobCondition>, new: JobCondition) -> bool {
    match conditions.iter_mut().find(|known| known.type_ == new.type_) {
        Some(known) if same(known, &new) => false,
        Some(known) => {
            *known = new;
            true
        }
        None if new.status == "False" => false,
        None => {
            conditions.push(new);
            true
        }
    }
}

fn same(a: &JobCondition, b: &JobCondition) -> bool {
    (&a.status, &a.reason, &a.message) == (&b.status, &b.reason, &b.message)
}
