//! The pods of a job, as they are to be made. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};

use super::account::{Account, TRACKING, has_finalizer};
use super::replacement::{self, FAILURES, IGNORED_FAILURES};
use super::target::{COMPLETION_INDEX, Target};
use crate::ownership::controller_reference;
use crate::pod_control::pod_from_template;

/// The variable by which a container learns its completion index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The longest name that a random suffix is put after. Source: `MaxGeneratedNameLength`.
const GENERATED_NAME_MAX: usize = 63 - 5;

/// The pods for these completion indexes (`None`: for any).
pub fn drafts(target: &Target<'_>, account: &Account, indexes: &[Option<usize>]) -> Vec<Arc<Pod>> {
    let template = target.job.spec.as_ref().map(|spec| &spec.template);
    let mut any = pod_from_template(target.meta(), template, controller_reference(target.job));
    if !has_finalizer(&any) {
        any.metadata.finalizers.get_or_insert_default().push(TRACKING.to_owned());
    }
    if target.indexes.is_none() {
        let any = Arc::new(any);
        return vec![any; indexes.len()];
    }
    let spec = any.spec.get_or_insert_default();
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).for_each(tell_index);
    indexes.iter().flatten().map(|index| Arc::new(indexed(any.clone(), target, account, *index))).collect()
}

/// By a label, which the node reads where the pod says so; a variable of the template's is left.
fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector {
        field_path: format!("metadata.labels['{COMPLETION_INDEX}']"),
        ..ObjectFieldSelector::default()
    };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    variables.push(EnvVar { name: INDEX_VARIABLE.to_owned(), value_from: Some(source), ..EnvVar::default() });
}

fn indexed(mut pod: Pod, target: &Target<'_>, account: &Account, index: usize) -> Pod {
    let name = target.meta().name.as_deref().unwrap_or_default();
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(COMPLETION_INDEX.to_owned(), index.to_string());
    if target.index_limits.is_some() {
        let replaced = account.replaced.get(&index).map(|pod| &**pod);
        let (failures, ignored) = replacement::failures_with(target.failure_policy, replaced);
        annotations.insert(FAILURES.to_owned(), failures.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED_FAILURES.to_owned(), ignored.to_string());
        }
    }
    pod.metadata.labels.get_or_insert_default().insert(COMPLETION_INDEX.to_owned(), index.to_string());
    pod.metadata.generate_name = Some(generate_name(name, index));
    pod.spec.get_or_insert_default().hostname = Some(format!("{name}-{index}"));
    pod
}

/// The job's name and the index; a long name gives way to the index.
fn generate_name(name: &str, index: usize) -> String {
    let suffix = format!("-{index}-");
    // Names are ASCII.
    let kept = name.len().min(GENERATED_NAME_MAX - suffix.len());
    format!("{}{suffix}", name.get(..kept).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::Object;
    use jiff::Timestamp;
    use k8s_openapi::api::batch::v1::Job;

    use crate::job::account::{Observed, account};
    use crate::job::backoff::Backoff;

    fn drafted(spec: &str, indexes: &[Option<usize>]) -> Vec<Arc<Pod>> {
        let json = format!(
            r#"{{"metadata":{{"name":"j","namespace":"n","uid":"u"}},"spec":{{{spec},"template":{{
                "metadata":{{"labels":{{"a":"b"}}}},
                "spec":{{"containers":[{{"name":"main"}},{{"name":"knows","env":[{{"name":"JOB_COMPLETION_INDEX"}}]}}]}}
            }}}}}}"#
        );
        let job = Job::decode(json.as_bytes()).expect("a job");
        let observed = Observed {
            target: Target::of(&job).expect("a target"),
            pods: Vec::new(),
            is_settled: true,
            untracked: Default::default(),
            backoff: Backoff::default(),
            now: Timestamp::UNIX_EPOCH,
        };
        drafts(&observed.target, &account(&observed), indexes)
    }

    #[test]
    fn a_pod_is_its_jobs_and_tracked() {
        let pods = drafted(r#""completions":2"#, &[None, None]);
        assert_eq!(pods.len(), 2);
        let meta = &pods[0].metadata;
        assert_eq!(meta.generate_name.as_deref(), Some("j-"));
        assert_eq!(meta.finalizers.as_deref(), Some(&[TRACKING.to_owned()][..]));
        let owner = &meta.owner_references.as_ref().expect("an owner")[0];
        assert_eq!((owner.kind.as_str(), owner.api_version.as_str(), owner.uid.as_str()), ("Job", "batch/v1", "u"));
        let spec = pods[0].spec.as_ref().expect("a spec");
        assert_eq!((spec.hostname.as_deref(), spec.containers[0].env.as_ref()), (None, None));
    }

    #[test]
    fn a_pod_with_an_index_says_and_knows_it() {
        let pods =
            drafted(r#""completions":9,"completionMode":"Indexed","backoffLimitPerIndex":1"#, &[Some(0), Some(7)]);
        let pod = &pods[1];
        let value = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
            map.as_ref().and_then(|map| map.get(key).cloned())
        };
        assert_eq!(value(&pod.metadata.annotations, COMPLETION_INDEX).as_deref(), Some("7"));
        assert_eq!(value(&pod.metadata.annotations, FAILURES).as_deref(), Some("0"));
        assert_eq!(value(&pod.metadata.labels, COMPLETION_INDEX).as_deref(), Some("7"));
        assert_eq!(value(&pod.metadata.labels, "a").as_deref(), Some("b"));
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("j-7-"));
        let spec = pod.spec.as_ref().expect("a spec");
        assert_eq!(spec.hostname.as_deref(), Some("j-7"));
        let variable = |at: usize| &spec.containers[at].env.as_ref().expect("variables")[0];
        let path = variable(0).value_from.as_ref().and_then(|source| source.field_ref.as_ref());
        let path = path.map(|field| field.field_path.as_str());
        assert_eq!(path, Some("metadata.labels['batch.kubernetes.io/job-completion-index']"));
        assert_eq!(variable(1).value_from, None, "the template's own stays");
    }

    #[test]
    fn long_names_give_way_to_the_index() {
        assert_eq!(generate_name("j", 3), "j-3-");
        let long = generate_name(&"n".repeat(63), 12345);
        assert_eq!((long.len(), long.ends_with("n-12345-")), (58, true));
    }
}
