//! Pod templates: when two are the same, and the short name of one.

use bytes::Bytes;
use coracle_api::Object;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The label that tells the pods of one template from those of another.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Whether two templates make the same pods, the hash label apart.
pub fn same(one: &PodTemplateSpec, other: &PodTemplateSpec) -> bool {
    one.spec == other.spec && unlabelled(one) == unlabelled(other)
}

fn unlabelled(template: &PodTemplateSpec) -> ObjectMeta {
    let mut meta = template.metadata.clone().unwrap_or_default();
    let labels = meta.labels.take().unwrap_or_default();
    meta.labels = Some(labels.into_iter().filter(|(key, _)| key != HASH_LABEL).collect());
    meta.annotations.get_or_insert_default();
    meta
}

/// A name for `template` of a few safe characters; `collisions` is how often an earlier one was taken.
///
/// Stable over restarts and versions: it hashes the template's encoding. Not upstream's number, which hashes Go's
/// memory; nothing depends on which number it is.
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut hash = Fnv::new();
    hash.write(&encode(template));
    if let Some(collisions) = collisions {
        hash.write(&collisions.to_le_bytes());
    }
    hash.0.to_string().bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
}

/// No vowels and nothing that looks like one, so that no name is a word.
///
/// Source: `SafeEncodeString`.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The template as bytes: it has no encoding of its own, so it travels in an otherwise empty replica set.
fn encode(template: &PodTemplateSpec) -> Bytes {
    let spec = ReplicaSetSpec { template: Some(template.clone()), ..ReplicaSetSpec::default() };
    ReplicaSet { spec: Some(spec), ..ReplicaSet::default() }.encode()
}

/// FNV-1a, 32 bits.
struct Fnv(u32);

impl Fnv {
    fn new() -> Self {
        Self(0x811c_9dc5)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(labels: &[(&str, &str)]) -> PodTemplateSpec {
        let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let meta = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
        PodTemplateSpec { metadata: Some(meta), spec: None }
    }

    #[test]
    fn the_hash_label_does_not_make_a_difference() {
        assert!(same(&template(&[("app", "web")]), &template(&[("app", "web"), (HASH_LABEL, "x")])));
        assert!(!same(&template(&[("app", "web")]), &template(&[("app", "api")])));
    }

    #[test]
    fn hashes_are_stable_and_told_apart_by_collisions() {
        let web = template(&[("app", "web")]);
        assert_eq!(hash(&web, None), hash(&web, None));
        assert_ne!(hash(&web, None), hash(&web, Some(1)));
        assert_ne!(hash(&web, Some(1)), hash(&web, Some(2)));
        assert!(hash(&web, None).len() <= 10);
    }
}
