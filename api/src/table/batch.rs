//! The rows of jobs, cron jobs and disruption budgets.

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1 as batch, policy::v1 as policy};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{Cells, age, cells, human_duration, since};
use crate::selector;

impl Cells for batch::Job {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let (no_spec, no_status) = (batch::JobSpec::default(), batch::JobStatus::default());
        let spec = self.spec.as_ref().unwrap_or(&no_spec);
        let status = self.status.as_ref().unwrap_or(&no_status);
        let (names, images) = cells::containers(spec.template.spec.as_ref());
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            state(self, status).into(),
            completions(spec, status).into(),
            duration(status, now).into(),
            age(&self.metadata, now).into(),
            names.into(),
            images.into(),
            selector::format_labels(spec.selector.as_ref()).into(),
        ]
    }
}

fn state(job: &batch::Job, status: &batch::JobStatus) -> &'static str {
    let holds = |type_: &str| status.conditions.iter().flatten().any(|c| c.type_ == type_ && c.status == "True");
    if holds("Complete") {
        return "Complete";
    }
    if holds("Failed") {
        return "Failed";
    }
    if job.metadata.deletion_timestamp.is_some() {
        return "Terminating";
    }
    ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|type_| holds(type_)).unwrap_or("Running")
}

fn completions(spec: &batch::JobSpec, status: &batch::JobStatus) -> String {
    let succeeded = status.succeeded.unwrap_or(0);
    match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(status: &batch::JobStatus, now: Timestamp) -> String {
    let Some(start) = &status.start_time else { return String::new() };
    let end = status.completion_time.as_ref().map_or(now, |time| time.0);
    human_duration(end.duration_since(start.0))
}

impl Cells for batch::CronJob {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = &self.spec;
        let job = spec.job_template.spec.as_ref();
        let (names, images) = cells::containers(job.and_then(|job| job.template.spec.as_ref()));
        let status = self.status.as_ref();
        let last = status.and_then(|status| status.last_schedule_time.as_ref());
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            spec.schedule.clone().into(),
            spec.time_zone.as_deref().unwrap_or(cells::NONE).into(),
            match spec.suspend {
                Some(true) => "True",
                Some(false) => "False",
                None => cells::UNSET,
            }
            .into(),
            status.and_then(|status| status.active.as_ref()).map_or(0, Vec::len).into(),
            last.map_or_else(|| cells::NONE.to_owned(), |time| since(Some(time.0), now)).into(),
            age(&self.metadata, now).into(),
            names.into(),
            images.into(),
            selector::format_labels(job.and_then(|job| job.selector.as_ref())).into(),
        ]
    }
}

impl Cells for policy::PodDisruptionBudget {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.as_ref();
        let bound = |value: Option<&IntOrString>| match value {
            None => "N/A".to_owned(),
            Some(IntOrString::Int(number)) => number.to_string(),
            Some(IntOrString::String(text)) => text.clone(),
        };
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            bound(spec.and_then(|spec| spec.min_available.as_ref())).into(),
            bound(spec.and_then(|spec| spec.max_unavailable.as_ref())).into(),
            self.status.as_ref().map_or(0, |status| status.disruptions_allowed.unwrap_or(0)).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{batch::v1 as batch, policy::v1 as policy};

    use crate::table::tests::line;

    #[test]
    fn jobs_say_how_far_they_are() {
        let pod = r#""template":{"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
        let complete = r#""conditions":[{"type":"Complete","status":"True"}]"#;
        for (spec, status, expected) in [
            (
                r#""completions":3"#,
                r#""succeeded":1,"startTime":"2026-01-01T00:55:00Z""#.to_owned(),
                "Running | 1/3 | 5m",
            ),
            (r#""parallelism":2"#, String::new(), "Running | 0/1 of 2 | "),
            (
                r#""completions":1"#,
                format!(
                    r#""succeeded":1,"startTime":"2026-01-01T00:00:00Z","completionTime":"2026-01-01T00:01:00Z",{complete}"#
                ),
                "Complete | 1/1 | 60s",
            ),
            (
                r#""parallelism":1"#,
                r#""conditions":[{"type":"Suspended","status":"True"}]"#.to_owned(),
                "Suspended | 0/1 | ",
            ),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"j"}},"spec":{{{spec},{pod}}},"status":{{{status}}}}}"#);
            assert_eq!(line::<batch::Job>(&json), format!("j | {expected} | <unknown> | c | i | <none>"));
        }
    }

    #[test]
    fn cron_jobs_and_budgets() {
        let job = r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#;
        assert_eq!(
            line::<batch::CronJob>(&format!(
                r#"{{"metadata":{{"name":"j"}},"spec":{{"schedule":"@daily","suspend":false,"jobTemplate":{job}}},"status":{{"active":[{{}}],"lastScheduleTime":"2026-01-01T00:57:00Z"}}}}"#
            )),
            "j | @daily | <none> | False | 1 | 3m | <unknown> | c | i | <none>"
        );
        let status = r#"{"disruptionsAllowed":2,"currentHealthy":0,"desiredHealthy":0,"expectedPods":0}"#;
        assert_eq!(
            line::<policy::PodDisruptionBudget>(&format!(
                r#"{{"metadata":{{"name":"b"}},"spec":{{"minAvailable":"50%"}},"status":{status}}}"#
            )),
            "b | 50% | N/A | 2 | <unknown>"
        );
    }
}
