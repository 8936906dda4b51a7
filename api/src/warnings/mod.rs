//! What is allowed and probably not meant: told in `Warning` headers with the answer to a write that succeeds.
//!
//! Source: `WarningsOnCreate` and `WarningsOnUpdate` of each strategy.

mod config;
mod custom;
mod pod;
mod service;
mod settings;
mod storage;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::any::AnyObject;
use crate::field::Path;
use crate::names;

const SPEC: Path<'static> = Path::new("spec");
const IN_NAMES: &str = "this is used in Pod names and hostnames, which can result in surprising behavior";
const MANY_COMPLETIONS: i32 = 100_000;
const MUCH_PARALLELISM: i32 = 10_000;

/// What is to be said about an object that is created.
#[must_use]
pub fn on_create(object: &AnyObject) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(pod) = object.downcast_ref::<core::Pod>() {
        let rule = "this is used in the Pod's hostname, which can result in surprising behavior";
        name(&pod.metadata, rule, &mut warnings);
        pod::pod(pod, &mut warnings);
        return warnings;
    }
    let named = object.is::<apps::Deployment>()
        || object.is::<apps::ReplicaSet>()
        || object.is::<core::ReplicationController>()
        || object.is::<batch::Job>()
        || object.is::<batch::CronJob>();
    if named {
        name(object.meta(), IN_NAMES, &mut warnings);
    }
    of_extension(object, None, &mut warnings);
    always(object, &mut warnings);
    of_spec(object, &mut warnings);
    settings::on_create(object, &mut warnings);
    settings::on_write(object, &mut warnings);
    warnings
}

fn of_extension(object: &AnyObject, old: Option<&AnyObject>, warnings: &mut Vec<String>) {
    if object.custom().is_some() {
        custom::finalizers(object.meta(), old.map(AnyObject::meta), warnings);
    } else if let Some(definition) = object.downcast_ref::<CustomResourceDefinition>() {
        custom::formats(definition, old.and_then(|old| old.downcast_ref()), warnings);
    }
}

/// What is to be said about an object that replaces `old`; of what makes pods nothing, unless what is wanted has changed.
#[must_use]
pub fn on_update(object: &AnyObject, old: &AnyObject) -> Vec<String> {
    let mut warnings = Vec::new();
    of_extension(object, Some(old), &mut warnings);
    always(object, &mut warnings);
    if object.meta().generation != old.meta().generation && !object.is::<core::Pod>() {
        of_spec(object, &mut warnings);
    }
    settings::on_write(object, &mut warnings);
    warnings
}

/// What is to be said about the deletion of an object by somebody who does not say what becomes of its dependents.
#[must_use]
pub fn on_delete_without_policy(group: &str, kind: &str) -> Option<&'static str> {
    ((group, kind) == ("batch", "Job")).then_some(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
    )
}

fn name(meta: &ObjectMeta, rule: &str, warnings: &mut Vec<String>) {
    let wrong = names::dns_label(meta.name.as_deref().unwrap_or_default());
    if !wrong.is_empty() {
        warnings.push(format!("metadata.name: {rule}; a DNS label is recommended: [{}]", wrong.join(" ")));
    }
}

/// What is said whenever the object is written.
fn always(object: &AnyObject, warnings: &mut Vec<String>) {
    if let Some(service) = object.downcast_ref::<core::Service>() {
        service::service(service, warnings);
    } else if let Some(volume) = object.downcast_ref::<core::PersistentVolume>() {
        storage::volume(volume, warnings);
    } else if let Some(claim) = object.downcast_ref::<core::PersistentVolumeClaim>() {
        storage::claim(claim, warnings);
    } else if let Some(node) = object.downcast_ref::<core::Node>() {
        config::node(node, warnings);
    } else if let Some(secret) = object.downcast_ref::<core::Secret>() {
        config::secret(secret, warnings);
    } else if let Some(account) = object.downcast_ref::<core::ServiceAccount>() {
        config::service_account(account, warnings);
    }
}

fn of_spec(object: &AnyObject, warnings: &mut Vec<String>) {
    let in_spec = |template: Option<&PodTemplateSpec>, warnings: &mut Vec<String>| {
        if let Some(template) = template {
            pod::template(template, &SPEC.child("template"), warnings);
        }
    };
    if let Some(set) = object.downcast_ref::<apps::StatefulSet>() {
        let spec = set.spec.as_ref();
        in_spec(spec.map(|spec| &spec.template), warnings);
        let list = SPEC.child("volumeClaimTemplates");
        for (i, claim) in spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten()).enumerate() {
            if let Some(spec) = &claim.spec {
                settings::claim(spec, &list.index(i), warnings);
            }
        }
        if spec.and_then(|spec| spec.revision_history_limit).is_some_and(|limit| limit < 0) {
            let rule = "a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(format!("spec.revisionHistoryLimit: {rule}"));
        }
    } else if let Some(job) = object.downcast_ref::<batch::Job>() {
        if let Some(spec) = &job.spec {
            of_job(spec, &SPEC, warnings);
        }
    } else if let Some(cron_job) = object.downcast_ref::<batch::CronJob>() {
        if cron_job.spec.schedule.contains("TZ") {
            let more = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/";
            let rule = "CRON_TZ or TZ used in spec.schedule is not officially supported";
            warnings.push(format!("{rule}, see {more} for more details"));
        }
        if let Some(spec) = &cron_job.spec.job_template.spec {
            let template = SPEC.child("jobTemplate");
            of_job(spec, &template.child("spec"), warnings);
        }
    } else if let Some(template) = object.downcast_ref::<core::PodTemplate>() {
        if let Some(template) = &template.template {
            pod::template(template, &Path::new("template"), warnings);
        }
    } else if let Some(set) = object.downcast_ref::<apps::DaemonSet>() {
        in_spec(set.spec.as_ref().map(|spec| &spec.template), warnings);
    } else if let Some(deployment) = object.downcast_ref::<apps::Deployment>() {
        in_spec(deployment.spec.as_ref().map(|spec| &spec.template), warnings);
    } else if let Some(set) = object.downcast_ref::<apps::ReplicaSet>() {
        in_spec(set.spec.as_ref().and_then(|spec| spec.template.as_ref()), warnings);
    } else if let Some(controller) = object.downcast_ref::<core::ReplicationController>() {
        in_spec(controller.spec.as_ref().and_then(|spec| spec.template.as_ref()), warnings);
    }
}

fn of_job(spec: &batch::JobSpec, path: &Path<'_>, warnings: &mut Vec<String>) {
    let many = spec.completions.unwrap_or(0) > MANY_COMPLETIONS && spec.parallelism.unwrap_or(0) > MUCH_PARALLELISM;
    if many && spec.completion_mode.as_deref() == Some("Indexed") {
        warnings.push("In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail".to_owned());
    }
    pod::template(&spec.template, &path.child("template"), warnings);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::object;

    #[test]
    fn pods_are_told_what_is_probably_not_meant() {
        for (fields, expected) in [
            (r#""priority":0"#, &[][..]),
            (
                r#""nodeSelector":{"beta.kubernetes.io/os":"linux"}"#,
                &[
                    r#"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead"#,
                ],
            ),
            (
                r#""imagePullSecrets":[{"name":"a"},{"name":"a"},{"name":""}]"#,
                &[
                    r#"spec.imagePullSecrets[1].name: duplicate name "a""#,
                    r#"spec.imagePullSecrets[2].name: invalid empty name """#,
                ],
            ),
            (
                r#""containers":[{"name":"c","image":"i","env":[{"name":"A","value":"1"},{"name":"A","value":"2"},{"name":"A","value":"$(A)3"}]}]"#,
                &[
                    r#"spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply"#,
                ],
            ),
            (
                r#""containers":[{"name":"c","image":"i","ports":[{"containerPort":80},{"containerPort":80}],"resources":{"requests":{"memory":"100m"}}}]"#,
                &[
                    r#"spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer"#,
                    "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                ],
            ),
            (
                r#""topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"k","whenUnsatisfiable":"DoNotSchedule"}]"#,
                &["spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"],
            ),
            (
                r#""volumes":[{"name":"v","gitRepo":{"repository":"r"}}]"#,
                &["spec.volumes[0].gitRepo: deprecated in v1.11"],
            ),
            (
                r#""volumes":[{"name":"v","configMap":{"name":"m","items":[{"key":"k","path":"a/b"},{"key":"l","path":"a"}]}}]"#,
                &[r#"volume "v" (ConfigMap "m"): overlapping paths: "a" with "a/b""#],
            ),
        ] {
            let containers =
                if fields.contains("\"containers\"") { "" } else { r#""containers":[{"name":"c","image":"i"}],"# };
            let json = format!(r#"{{"metadata":{{"name":"p"}},"spec":{{{containers}{fields}}}}}"#);
            assert_eq!(on_create(&object::<core::Pod>(&json)), expected, "{fields}");
        }
    }

    #[test]
    fn services_volumes_and_secrets_are_told_of_what_is_going() {
        let service = |spec: &str| object::<core::Service>(&format!(r#"{{"metadata":{{"name":"s"}},"spec":{spec}}}"#));
        let claim = r#"{"metadata":{"name":"c"},"spec":{"resources":{"requests":{"storage":"1500m"}}}}"#;
        let volume = r#"{"metadata":{"name":"v"},"spec":{"persistentVolumeReclaimPolicy":"Recycle","rbd":{"image":"i","monitors":[]}}}"#;
        let secret =
            r#"{"metadata":{"name":"s"},"type":"kubernetes.io/tls","stringData":{"tls.crt":"x","tls.key":"y"}}"#;
        for (given, count) in [
            (service(r#"{"ports":[{"port":80}]}"#), 0),
            (service(r#"{"externalIPs":["2001:DB8::1"]}"#), 2),
            (service(r#"{"type":"ExternalName","externalName":"a","externalIPs":["1.1.1.1"]}"#), 1),
            (service(r#"{"clusterIP":"None","sessionAffinity":"ClientIP","externalName":"a"}"#), 2),
            (service(r#"{"trafficDistribution":"PreferClose"}"#), 1),
            (object::<core::PersistentVolumeClaim>(claim), 1),
            (object::<core::PersistentVolume>(volume), 2),
            (object::<core::Secret>(secret), 1),
        ] {
            let told = on_create(&given);
            assert_eq!(told.len(), count, "{told:?}");
            assert_eq!(on_update(&given, &given), told);
        }
    }

    #[test]
    fn workloads_are_told_of_their_templates_when_these_change() {
        let deployment = |generation: i64| {
            let template = r#"{"spec":{"containers":[{"name":"c","image":"i"}],"terminationGracePeriodSeconds":-1}}"#;
            object::<apps::Deployment>(&format!(
                r#"{{"metadata":{{"name":"a.b","generation":{generation}}},"spec":{{"selector":{{}},"template":{template}}}}}"#
            ))
        };
        let told = on_create(&deployment(1));
        assert!(told[0].starts_with("metadata.name: this is used in Pod names"), "{told:?}");
        let grace = "spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1";
        assert_eq!(told[1..], [grace]);
        assert_eq!(on_update(&deployment(2), &deployment(1)), [grace]);
        assert_eq!(on_update(&deployment(1), &deployment(1)), [""; 0]);
    }
}
