//! Jobs: each selects its pods by its own identity, unless its author selects them. Source: `pkg/registry/batch/job/strategy.go`.

use std::collections::BTreeMap;

use coracle_api::any::AnyObject;
use coracle_api::validation::{JOB_NAME_LABELS, JOB_UID_LABELS};
use k8s_openapi::api::batch::v1::{Job, JobStatus};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct JobStrategy;

impl Strategy for JobStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let job = typed_mut::<Job>(object);
        job.status = Some(JobStatus::default());
        first_generation(&mut job.metadata);
        // A job without labels has those of its pods, the generated ones among them.
        let unlabelled = is_empty(job.metadata.labels.as_ref());
        generate_selector(job);
        if unlabelled {
            job.metadata.labels = template_labels(job);
        }
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (job, old) = (typed_mut::<Job>(object), typed::<Job>(old));
        job.status.clone_from(&old.status);
        if is_empty(job.metadata.labels.as_ref()) {
            job.metadata.labels = template_labels(job);
        }
        next_generation(&mut job.metadata, job.spec != old.spec);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<Job>(object).spec.clone_from(&typed::<Job>(old).spec);
    }

    fn orphans_by_default(&self) -> bool {
        true
    }
}

fn is_empty(labels: Option<&BTreeMap<String, String>>) -> bool {
    labels.is_none_or(BTreeMap::is_empty)
}

fn template_labels(job: &Job) -> Option<BTreeMap<String, String>> {
    let template = job.spec.as_ref()?.template.metadata.as_ref()?;
    template.labels.clone().filter(|labels| !labels.is_empty())
}

/// Labels that contradict the generated ones are left, for validation to refuse.
fn generate_selector(job: &mut Job) {
    let Some(spec) = job.spec.as_mut().filter(|spec| spec.manual_selector != Some(true)) else { return };
    let name = job.metadata.name.clone().unwrap_or_default();
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (keys, value) in [(JOB_NAME_LABELS, &name), (JOB_UID_LABELS, &uid)] {
        for key in keys {
            labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
    let [_, key] = JOB_UID_LABELS;
    let selected = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    selected.entry(key.to_owned()).or_insert(uid);
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::object::Object;

    #[test]
    fn a_job_selects_its_own_pods() {
        let made = |spec: &str| {
            let json = format!(r#"{{"metadata":{{"name":"j","uid":"u"}},"spec":{{"template":{{}}{spec}}}}}"#);
            let mut object = AnyObject::new(Job::decode(json.as_bytes()).expect("a job"));
            JobStrategy.prepare_for_create(&mut object);
            let job = typed::<Job>(&object).clone();
            (job.metadata.labels, job.spec.and_then(|spec| spec.selector).and_then(|selector| selector.match_labels))
        };
        let (labels, selected) = made("");
        let labels = labels.expect("labels");
        assert_eq!((labels.len(), labels["job-name"].as_str(), labels["controller-uid"].as_str()), (4, "j", "u"));
        assert_eq!(selected.expect("a selector")["batch.kubernetes.io/controller-uid"], "u");
        assert_eq!(made(r#","manualSelector":true"#), (None, None));
    }
}
