//! AppArmor's profiles of before there were fields for them: what an annotation says of a container is written into its
//! field when the pod is made.
//!
//! Source: `applyAppArmorVersionSkew`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SecurityContext};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
const FILE_BYTES_MAX: usize = 4095;

pub(super) fn from_annotations(spec: &mut PodSpec, meta: &ObjectMeta) {
    let Some(annotations) = &meta.annotations else { return };
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return;
    }
    let of_pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.clone());
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        fill(&container.name, &mut container.security_context, annotations, of_pod.as_ref());
    }
    for guest in spec.ephemeral_containers.iter_mut().flatten() {
        fill(&guest.name, &mut guest.security_context, annotations, of_pod.as_ref());
    }
}

fn fill(
    name: &str,
    context: &mut Option<SecurityContext>,
    annotations: &BTreeMap<String, String>,
    of_pod: Option<&AppArmorProfile>,
) {
    let own = context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    let noted = annotations.get(&format!("{PREFIX}{name}")).filter(|_| own.is_none());
    if let Some(profile) = noted.and_then(|noted| profile(noted)).filter(|profile| Some(profile) != of_pod) {
        context.get_or_insert_default().app_armor_profile = Some(profile);
    }
}

fn profile(noted: &str) -> Option<AppArmorProfile> {
    let of = |type_: &str, file: Option<&str>| {
        Some(AppArmorProfile { type_: type_.to_owned(), localhost_profile: file.map(str::to_owned) })
    };
    match noted.strip_prefix("localhost/") {
        Some(file) if !file.is_empty() && file.trim() == file && file.len() <= FILE_BYTES_MAX => {
            of("Localhost", Some(file))
        }
        None if noted == "runtime/default" => of("RuntimeDefault", None),
        None if noted == "unconfined" => of("Unconfined", None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_become_fields() {
        for (noted, expected) in [
            ("runtime/default", Some(("RuntimeDefault", None))),
            ("localhost/a", Some(("Localhost", Some("a")))),
            ("localhost/", None),
            ("odd", None),
        ] {
            let json = r#"{"containers":[{"name":"c"}],"initContainers":[{"name":"i"}]}"#;
            let mut spec: PodSpec = serde_json::from_str(json).expect("a spec");
            let annotations = BTreeMap::from([(format!("{PREFIX}c"), noted.to_owned())]);
            from_annotations(&mut spec, &ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() });
            let own = spec.containers[0].security_context.as_ref().and_then(|own| own.app_armor_profile.as_ref());
            let own = own.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref()));
            assert_eq!(own, expected, "{noted}");
        }
    }
}
