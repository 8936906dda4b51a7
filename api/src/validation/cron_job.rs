//! Cron jobs.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};

use super::rules::{not_negative, required_one_of, text};
use super::{Validate, job, meta, schedule};
use crate::field::{Errors, Path};

const SPEC: Path<'static> = Path::new("spec");
/// A job's name is that of its cron job and a time: eleven characters.
const NAME_BYTES_MAX: usize = 52;
const ZONE_PART_BYTES_MAX: usize = 14;

impl Validate for CronJob {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        check(self, None, errors);
        let name = text(self.metadata.name.as_ref());
        if name.len() > NAME_BYTES_MAX {
            let metadata = Path::new("metadata");
            errors.invalid(&metadata.child("name"), name, "must be no more than 52 characters");
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        check(self, Some(&old.spec), errors);
    }
}

fn check(cron_job: &CronJob, old: Option<&CronJobSpec>, errors: &mut Errors) {
    let spec = &cron_job.spec;
    let path = SPEC.child("schedule");
    if spec.schedule.is_empty() {
        errors.required(&path, "");
    } else {
        times(spec, old.is_some_and(|old| old.schedule.contains("TZ")), &path, errors);
    }
    not_negative(spec.starting_deadline_seconds, &SPEC.child("startingDeadlineSeconds"), errors);
    if let Some(zone) = spec.time_zone.as_ref().filter(|_| old.is_none_or(|old| old.time_zone != spec.time_zone)) {
        time_zone(zone, &SPEC.child("timeZone"), errors);
    }
    let policies = ["Allow", "Forbid", "Replace"];
    required_one_of(text(spec.concurrency_policy.as_ref()), &policies, &SPEC.child("concurrencyPolicy"), errors);
    job::template(&spec.job_template, &SPEC.child("jobTemplate"), errors);
    not_negative(spec.successful_jobs_history_limit, &SPEC.child("successfulJobsHistoryLimit"), errors);
    not_negative(spec.failed_jobs_history_limit, &SPEC.child("failedJobsHistoryLimit"), errors);
}

/// The time zone has a field of its own; a schedule that says it from before may keep it.
fn times(spec: &CronJobSpec, zone_allowed: bool, path: &Path<'_>, errors: &mut Errors) {
    let times = &spec.schedule;
    if let Err(why) = schedule::check(times) {
        errors.invalid(path, times, &why);
    }
    match times.contains("TZ") {
        true if !zone_allowed => {
            errors.invalid(path, times, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        }
        true if spec.time_zone.is_some() => {
            errors.invalid(path, times, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
        }
        _ => {}
    }
}

/// The name of a zone in the IANA database. Source: <https://data.iana.org/time-zones/theory.html#naming>.
fn time_zone(zone: &str, path: &Path<'_>, errors: &mut Errors) {
    if zone.is_empty() {
        return errors.invalid(path, zone, "timeZone must be nil or non-empty string");
    }
    let wrong = |part: &str| {
        matches!(part, "" | "." | "..")
            || part.starts_with('-')
            || part.len() > ZONE_PART_BYTES_MAX
            || !part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b))
    };
    if zone.split('/').any(wrong) {
        return errors.invalid(path, zone, &format!("unknown time zone {zone}"));
    }
    if zone.eq_ignore_ascii_case("Local") {
        let rule = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(path, zone, rule);
    }
    if !schedule::is_zone(zone) {
        errors.invalid(path, zone, &format!("unknown time zone {zone}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    fn cron_job(name: &str, fields: &str) -> String {
        let schedule = if fields.contains("\"schedule\"") { "" } else { r#""schedule":"@daily","# };
        let job = if fields.contains("\"jobTemplate\"") {
            ""
        } else {
            r#","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}"#
        };
        format!(r#"{{"metadata":{{"name":"{name}","namespace":"n"}},"spec":{{{schedule}{fields}{job}}}}}"#)
    }

    #[test]
    fn cron_jobs_are_held_to_their_rules() {
        for (fields, expected) in [
            (r#""suspend":true"#, &[][..]),
            (r#""timeZone":"Europe/Berlin""#, &[]),
            (r#""timeZone":"Mars/Olympus""#, &["spec.timeZone Invalid"]),
            (r#""timeZone":"europe/berlin""#, &["spec.timeZone Invalid"]),
            (r#""timeZone":"""#, &["spec.timeZone Invalid"]),
            (r#""timeZone":"local""#, &["spec.timeZone Invalid", "spec.timeZone Invalid"]),
            (r#""schedule":"""#, &["spec.schedule Required"]),
            (r#""schedule":"every day""#, &["spec.schedule Invalid"]),
            (r#""schedule":"TZ=UTC 0 0 * * *""#, &["spec.schedule Invalid"]),
            (r#""concurrencyPolicy":"X""#, &["spec.concurrencyPolicy NotSupported"]),
            (
                r#""startingDeadlineSeconds":-1,"failedJobsHistoryLimit":-1"#,
                &["spec.startingDeadlineSeconds Invalid", "spec.failedJobsHistoryLimit Invalid"],
            ),
            (
                r#""jobTemplate":{"spec":{"manualSelector":true,"selector":{},"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
                &[
                    "spec.jobTemplate.spec.template.spec.restartPolicy Required",
                    "spec.jobTemplate.spec.selector Invalid",
                    "spec.jobTemplate.spec.manualSelector NotSupported",
                ],
            ),
        ] {
            assert_eq!(refused::<CronJob>(&cron_job("c", fields)), expected, "{fields}");
        }
        let long = cron_job(&"x".repeat(53), r#""suspend":true"#);
        assert_eq!(refused::<CronJob>(&long), ["metadata.name Invalid"]);
        assert_eq!(refused_update::<CronJob>(&long, &long), [""; 0]);
    }

    #[test]
    fn a_schedule_may_keep_its_zone() {
        let old = cron_job("c", r#""schedule":"TZ=UTC 0 0 * * *""#);
        let new = cron_job("c", r#""schedule":"TZ=UTC 0 1 * * *""#);
        assert_eq!(refused_update::<CronJob>(&old, &new), [""; 0]);
        let both = cron_job("c", r#""schedule":"TZ=UTC 0 1 * * *","timeZone":"UTC""#);
        assert_eq!(refused_update::<CronJob>(&old, &both), ["spec.schedule Invalid"]);
    }
}
