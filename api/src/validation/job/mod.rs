//! Jobs: as many pods as must succeed, at most so many at once.

mod indexes;
mod policy;
mod status;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobTemplateSpec};
use k8s_openapi::api::core::v1::{Affinity, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::rules::{immutable, not_negative, text};
use super::{Validate, labels, meta, pod, workload};
use crate::field::{Errors, Path};
use crate::names;
use crate::selector::LabelSelector;

const SPEC: Path<'static> = Path::new("spec");
const INDEXED: &str = "Indexed";
const PARALLELISM_MAX: i32 = 100_000;
const FAILED_INDEXES_MAX: i32 = 100_000;
/// Jobs with more completions than this must bound what they keep about each.
const MANY_COMPLETIONS: i32 = 100_000;
const PARALLELISM_OF_MANY_MAX: i32 = 10_000;
const FAILED_INDEXES_OF_MANY_MAX: i32 = 10_000;

/// The labels that tell a job's pods, by the identity that they give.
pub const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
/// The same, by the name that they give.
pub const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];

impl Validate for Job {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&judged(self), meta::IN_NAMESPACE, errors);
        generated(self, errors);
        let default = JobSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&default);
        check(spec, errors);
        if text(spec.completion_mode.as_ref()) == INDEXED
            && let Some(completions) = spec.completions.filter(|count| *count > 0)
        {
            let name = text(self.metadata.name.as_ref());
            let longest = format!("{name}-{}", completions - 1);
            if !names::dns_label(&longest).is_empty() {
                let metadata = Path::new("metadata");
                let rule = format!("will not able to create pod with invalid DNS label: {longest}");
                errors.invalid(&metadata.child("name"), name, &rule);
            }
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let default = JobSpec::default();
        let (new, before) = (self.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
        check(new, errors);
        completions(new, before, errors);
        immutable(&new.selector, &before.selector, &SPEC.child("selector"), errors);
        immutable(&new.template, &may_change(&new.template, old), &SPEC.child("template"), errors);
        immutable(&new.completion_mode, &before.completion_mode, &SPEC.child("completionMode"), errors);
        immutable(&new.pod_failure_policy, &before.pod_failure_policy, &SPEC.child("podFailurePolicy"), errors);
        let limit = SPEC.child("backoffLimitPerIndex");
        immutable(&new.backoff_limit_per_index, &before.backoff_limit_per_index, &limit, errors);
        immutable(&new.managed_by, &before.managed_by, &SPEC.child("managedBy"), errors);
        immutable(&new.success_policy, &before.success_policy, &SPEC.child("successPolicy"), errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        status::check(self, old, errors);
    }
}

/// The metadata that is judged: labels that are all made for the job are told of where they come from, the template.
fn judged(job: &Job) -> ObjectMeta {
    let mut meta = job.metadata.clone();
    let made = |key: &String| UID_LABELS.contains(&key.as_str()) || NAME_LABELS.contains(&key.as_str());
    meta.labels = meta.labels.filter(|labels| !labels.keys().all(made));
    meta
}

/// A job whose selector is made for it selects its own pods, and they say whose they are.
fn generated(job: &Job, errors: &mut Errors) {
    let Some(spec) = &job.spec else { return };
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.manual_selector != Some(true)) else { return };
    let (uid, name) = (text(job.metadata.uid.as_ref()), text(job.metadata.name.as_ref()));
    let template = SPEC.child("template");
    let metadata = template.child("metadata");
    let path = metadata.child("labels");
    let own = workload::labels_of(&spec.template);
    let mut expected = BTreeMap::new();
    for (key, value) in UID_LABELS.iter().map(|key| (key, uid)).chain(NAME_LABELS.iter().map(|key| (key, name))) {
        let rule = format!("must be '{value}'");
        match own.and_then(|labels| labels.get(*key)) {
            None => errors.required(&path.key(key), &rule),
            Some(is) if is != value => errors.invalid(&path.key(key), &own, &rule),
            Some(_) => {}
        }
        expected.insert((*key).to_owned(), value.to_owned());
    }
    if LabelSelector::of_typed(Some(selector)).is_ok_and(|parsed| !parsed.matches(Some(&expected))) {
        errors.invalid(&SPEC.child("selector"), selector, "`selector` not auto-generated");
    }
}

fn check(spec: &JobSpec, errors: &mut Errors) {
    common(spec, &SPEC, errors);
    let path = SPEC.child("selector");
    labels::selector(spec.selector.as_ref(), &path, errors);
    if spec.selector.is_none() {
        errors.required(&path, "");
    }
    if let Ok(parsed) = LabelSelector::of_typed(spec.selector.as_ref()) {
        let matches = spec.selector.is_some() && parsed.matches(workload::labels_of(&spec.template));
        workload::matched(&spec.template, matches, &SPEC.child("template"), errors);
    }
}

/// The template of jobs, whose selectors are made for each.
pub(super) fn template(template: &JobTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("spec");
    let default = JobSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&default);
    common(spec, &path, errors);
    if let Some(selector) = &spec.selector {
        errors.invalid(&path.child("selector"), selector, "`selector` will be auto-generated");
    }
    if spec.manual_selector == Some(true) {
        errors.not_supported(&path.child("manualSelector"), "true", &["nil", "false"]);
    }
}

fn common(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    for (field, count) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ] {
        not_negative(count, &path.child(field), errors);
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(name) = &spec.managed_by {
        policy::manager(name, &path.child("managedBy"), errors);
    }
    policy::mode(spec, &path.child("completionMode"), errors);
    match text(spec.completion_mode.as_ref()) {
        INDEXED => indexed(spec, path, errors),
        "" | "NonIndexed" => not_indexed(spec, path, errors),
        _ => {}
    }
    if let Some(failure) = &spec.pod_failure_policy {
        policy::failure(failure, spec, &path.child("podFailurePolicy"), errors);
    }
    if let Some(success) = &spec.success_policy {
        policy::success(success, spec, &path.child("successPolicy"), errors);
    }
    policy::replacement(spec, &path.child("podReplacementPolicy"), errors);
    pod::template(&spec.template, &path.child("template"), errors);
    restarts(spec, &path.child("template"), errors);
}

fn indexed(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let (parallelism, failed) = (path.child("parallelism"), path.child("maxFailedIndexes"));
    let at_most = |value: Option<i32>, max: i32, when: &str, path: &Path<'_>, errors: &mut Errors| {
        if let Some(value) = value.filter(|value| *value > max) {
            errors.invalid(path, &value, &format!("must be less than or equal to {max}{when}"));
        }
    };
    let mode = " when completion mode is Indexed";
    at_most(spec.parallelism, PARALLELISM_MAX, mode, &parallelism, errors);
    at_most(spec.max_failed_indexes, FAILED_INDEXES_MAX, "", &failed, errors);
    let Some(completions) = spec.completions else {
        return errors.required(&path.child("completions"), "when completion mode is Indexed");
    };
    if let Some(max) = spec.max_failed_indexes.filter(|max| *max > completions) {
        errors.invalid(&failed, &max, "must be less than or equal to completions");
    }
    if completions > MANY_COMPLETIONS && spec.backoff_limit_per_index.is_some() {
        if spec.max_failed_indexes.is_none() {
            errors.required(&failed, &format!("must be specified when completions is above {MANY_COMPLETIONS}"));
        }
        let when = format!(" when completions are above {MANY_COMPLETIONS} and used with backoff limit per index");
        at_most(spec.parallelism, PARALLELISM_OF_MANY_MAX, &when, &parallelism, errors);
        at_most(spec.max_failed_indexes, FAILED_INDEXES_OF_MANY_MAX, &when, &failed, errors);
    }
}

fn not_indexed(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    for (field, value) in
        [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)]
    {
        if let Some(value) = value {
            errors.invalid(&path.child(field), &value, "requires indexed completion mode");
        }
    }
}

/// Pods that are to end are not always started again.
fn restarts(spec: &JobSpec, template: &Path<'_>, errors: &mut Errors) {
    let pod = template.child("spec");
    let path = pod.child("restartPolicy");
    match text(spec.template.spec.as_ref().and_then(|pod| pod.restart_policy.as_ref())) {
        "" | "Always" => errors.required(&path, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" if spec.pod_failure_policy.is_none() => {}
        "OnFailure" => {
            let rule = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(&path, "OnFailure", rule);
        }
        other => errors.not_supported(&path, other, &["OnFailure", "Never"]),
    }
}

/// An indexed job may have more or fewer indexes, if all run at once.
fn completions(new: &JobSpec, old: &JobSpec, errors: &mut Errors) {
    let path = SPEC.child("completions");
    if text(new.completion_mode.as_ref()) != INDEXED {
        return immutable(&new.completions, &old.completions, &path, errors);
    }
    if new.completions != old.completions && new.completions.is_some() && new.completions != new.parallelism {
        errors.invalid(&path, &new.completions, "can only be modified in tandem with spec.parallelism");
    }
}

/// The old template with what of the new one may differ: of a job that is suspended, where its pods may run and what
/// they ask for.
fn may_change(new: &PodTemplateSpec, old: &Job) -> PodTemplateSpec {
    let spec = old.spec.as_ref();
    let mut template = spec.map(|spec| spec.template.clone()).unwrap_or_default();
    let suspended = spec.and_then(|spec| spec.suspend) == Some(true);
    let never_started = old.status.as_ref().is_none_or(|status| status.start_time.is_none());
    if !suspended || !(never_started || status::is_true(old, "Suspended")) {
        return template;
    }
    let (Some(pod), Some(wanted)) = (&mut template.spec, &new.spec) else { return template };
    pod.affinity = match (&wanted.affinity, pod.affinity.take()) {
        (None, Some(affinity)) => {
            let rest = Affinity { node_affinity: None, ..affinity };
            (rest != Affinity::default()).then_some(rest)
        }
        (None, None) => None,
        (Some(wanted), was) => {
            Some(Affinity { node_affinity: wanted.node_affinity.clone(), ..was.unwrap_or_default() })
        }
    };
    pod.node_selector.clone_from(&wanted.node_selector);
    pod.tolerations.clone_from(&wanted.tolerations);
    pod.scheduling_gates.clone_from(&wanted.scheduling_gates);
    let containers = pod.containers.iter_mut().zip(&wanted.containers);
    let init = pod.init_containers.iter_mut().flatten().zip(wanted.init_containers.iter().flatten());
    containers.chain(init).for_each(|(was, wanted)| was.resources.clone_from(&wanted.resources));
    let asked = new.metadata.as_ref();
    if asked.is_some() || template.metadata.is_some() {
        let metadata = template.metadata.get_or_insert_default();
        metadata.annotations = asked.and_then(|meta| meta.annotations.clone());
        metadata.labels = asked.and_then(|meta| meta.labels.clone());
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{object, refused, refused_update};
    use crate::validation::update_status;

    const LABELS: &str = r#"{"controller-uid":"u","batch.kubernetes.io/controller-uid":"u","job-name":"j","batch.kubernetes.io/job-name":"j"}"#;

    fn job(fields: &str) -> String {
        with(fields, r#""restartPolicy":"Never""#, LABELS)
    }

    fn with(fields: &str, pod: &str, labels: &str) -> String {
        let pod = format!(r#"{{{pod},"containers":[{{"name":"c","image":"i"}}]}}"#);
        let selector = r#""selector":{"matchLabels":{"batch.kubernetes.io/controller-uid":"u"}}"#;
        format!(
            r#"{{"metadata":{{"name":"j","namespace":"n","uid":"u"}},"spec":{{{fields},{selector},"template":{{"metadata":{{"labels":{labels}}},"spec":{pod}}}}}}}"#
        )
    }

    #[test]
    fn jobs_are_held_to_their_rules() {
        for (fields, expected) in [
            (r#""completions":3"#, &[][..]),
            (r#""parallelism":-1,"backoffLimit":-1"#, &["spec.parallelism Invalid", "spec.backoffLimit Invalid"]),
            (r#""completionMode":"X""#, &["spec.completionMode NotSupported"]),
            (r#""completionMode":"Indexed","parallelism":1"#, &["spec.completions Required"]),
            (
                r#""completionMode":"Indexed","completions":3,"maxFailedIndexes":4"#,
                &["spec.backoffLimitPerIndex Required", "spec.maxFailedIndexes Invalid"],
            ),
            (r#""backoffLimitPerIndex":1"#, &["spec.backoffLimitPerIndex Invalid"]),
            (r#""managedBy":"x""#, &["spec.managedBy Invalid"]),
            (r#""podReplacementPolicy":"X""#, &["spec.podReplacementPolicy NotSupported"]),
            (
                r#""podReplacementPolicy":"TerminatingOrFailed","podFailurePolicy":{"rules":[]}"#,
                &["spec.podReplacementPolicy NotSupported"],
            ),
            (
                r#""podFailurePolicy":{"rules":[{"action":"FailIndex"},{"action":"X","onExitCodes":{"operator":"In","values":[2,0,0],"containerName":"d"}}]}"#,
                &[
                    "spec.podFailurePolicy.rules[0].action Invalid",
                    "spec.podFailurePolicy.rules[0] Invalid",
                    "spec.podFailurePolicy.rules[1].action NotSupported",
                    "spec.podFailurePolicy.rules[1].onExitCodes.containerName Invalid",
                    "spec.podFailurePolicy.rules[1].onExitCodes.values[1] Invalid",
                    "spec.podFailurePolicy.rules[1].onExitCodes.values[2] Invalid",
                    "spec.podFailurePolicy.rules[1].onExitCodes.values[2] Duplicate",
                    "spec.podFailurePolicy.rules[1].onExitCodes.values Invalid",
                ],
            ),
            (r#""successPolicy":{"rules":[]}"#, &["spec.successPolicy Invalid"]),
            (
                r#""completionMode":"Indexed","completions":3,"successPolicy":{"rules":[{},{"succeededIndexes":"1,5"},{"succeededIndexes":"0-1","succeededCount":3}]}"#,
                &[
                    "spec.successPolicy.rules[0] Required",
                    "spec.successPolicy.rules[1].succeededIndexes Invalid",
                    "spec.successPolicy.rules[2].succeededCount Invalid",
                ],
            ),
        ] {
            assert_eq!(refused::<Job>(&job(fields)), expected, "{fields}");
        }
    }

    #[test]
    fn pods_of_jobs_end_and_say_whose_they_are() {
        let path = "spec.template.spec.restartPolicy";
        for (policy, expected) in [("OnFailure", None), ("Always", Some("Required")), ("X", Some("NotSupported"))] {
            let refused =
                refused::<Job>(&with(r#""completions":1"#, &format!(r#""restartPolicy":"{policy}""#), LABELS));
            let last = expected.map(|reason| format!("{path} {reason}"));
            assert_eq!(refused.last(), last.as_ref(), "{policy}");
        }
        let stranger = with(r#""completions":1"#, r#""restartPolicy":"Never""#, r#"{"job-name":"k"}"#);
        let refused = refused::<Job>(&stranger);
        let at = |key: &str, reason: &str| format!("spec.template.metadata.labels[{key}] {reason}");
        assert!(refused.contains(&at("controller-uid", "Required")), "{refused:?}");
        assert!(refused.contains(&at("job-name", "Invalid")), "{refused:?}");
    }

    #[test]
    fn jobs_hardly_change() {
        for (old, new, expected) in [
            (r#""parallelism":1"#, r#""parallelism":2"#, &[][..]),
            (r#""completions":1"#, r#""completions":2"#, &["spec.completions Invalid"]),
            (
                r#""completionMode":"Indexed","completions":1"#,
                r#""completionMode":"Indexed","completions":2,"parallelism":2"#,
                &[],
            ),
            (r#""completions":1"#, r#""completions":1,"managedBy":"a.b/c""#, &["spec.managedBy Invalid"]),
        ] {
            assert_eq!(refused_update::<Job>(&job(old), &job(new)), expected, "{old} to {new}");
        }
        let moved = |suspend: bool| {
            let fields = format!(r#""suspend":{suspend},"completions":1"#);
            let pod = r#""restartPolicy":"Never","nodeSelector":{"a":"b"}"#;
            refused_update::<Job>(&job(&fields), &with(&fields, pod, LABELS))
        };
        assert_eq!(moved(true), [""; 0]);
        assert_eq!(moved(false), ["spec.template Invalid"]);
    }

    #[test]
    fn a_status_tells_a_story_that_can_be() {
        let job = |status: &str| {
            object::<Job>(&format!(r#"{{"metadata":{{"name":"j"}},"spec":{{"completions":3}},"status":{{{status}}}}}"#))
        };
        let condition = |type_: &str| format!(r#"{{"type":"{type_}","status":"True"}}"#);
        let complete = format!(r#""conditions":[{},{}]"#, condition("SuccessCriteriaMet"), condition("Complete"));
        let failed = format!(r#""conditions":[{},{}]"#, condition("FailureTarget"), condition("Failed"));
        let times = r#""startTime":"2026-01-01T00:00:00Z","completionTime":"2026-01-01T00:01:00Z""#;
        let started = r#""startTime":"2026-01-01T00:00:00Z""#;
        for (old, new, count) in [
            (String::new(), r#""active":1,"ready":1"#.to_owned(), 0),
            (String::new(), r#""active":1,"ready":2"#.to_owned(), 1),
            (String::new(), r#""active":-1,"failed":-1"#.to_owned(), 3),
            (String::new(), format!("{complete},{times}"), 0),
            (String::new(), complete.clone(), 2),
            (String::new(), format!("{complete},{times},\"active\":1"), 1),
            (String::new(), format!("{failed},{started}"), 0),
            (String::new(), times.to_owned(), 1),
            (String::new(), r#""completedIndexes":"1""#.to_owned(), 1),
            (r#""succeeded":2,"failed":1"#.to_owned(), r#""succeeded":1"#.to_owned(), 2),
            (format!("{failed},{started}"), started.to_owned(), 2),
            (String::new(), r#""uncountedTerminatedPods":{"succeeded":["a",""],"failed":["a"]}"#.to_owned(), 2),
        ] {
            let errors = update_status(&job(&new), &job(&old));
            assert_eq!(errors.len(), count, "{old} to {new}: {errors}");
        }
    }
}
