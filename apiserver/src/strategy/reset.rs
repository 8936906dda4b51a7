//! What a write cannot change, whatever it says: such fields get no owner by it.
//!
//! Source: the `GetResetFields` of upstream's strategies.

use coracle_api::kind::Kind;
use coracle_api::ownership::Reset;

use super::Part;

const STATUS: Reset = Reset::Except(&[&["status"]]);
const SPEC: Reset = Reset::Except(&[&["spec"]]);
const SPEC_AND_METADATA: Reset = Reset::Except(&[&["metadata"], &["spec"]]);

/// The fields of a kind that a write of this part cannot change.
pub(crate) fn of(kind: &Kind, part: Part) -> Reset {
    if kind.model.custom().is_some() {
        return match part {
            Part::Status => Reset::AllBut(&[&["status"]]),
            _ if kind.subresource("status").is_some() => STATUS,
            _ => Reset::NOTHING,
        };
    }
    match part {
        Part::Main | Part::Finalize => STATUS,
        Part::Status => match (&*kind.group, &*kind.plural) {
            ("apps", "deployments") => Reset::Except(&[&["spec"], &["metadata", "labels"]]),
            ("", "pods") => {
                Reset::Except(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
            }
            ("certificates.k8s.io", "certificatesigningrequests") => {
                Reset::Except(&[&["spec"], &["status", "conditions"]])
            }
            ("storage.k8s.io", "volumeattachments") | ("resource.k8s.io", "resourceclaims") => SPEC_AND_METADATA,
            _ => SPEC,
        },
        Part::Approval => Reset::AllBut(&[&["status", "conditions"]]),
        Part::EphemeralContainers => Reset::AllBut(&[&["spec", "ephemeralContainers"]]),
        Part::Resize => Reset::AllBut(&[
            &["spec", "containers", "*", "resources"],
            &["spec", "containers", "*", "resizePolicy"],
            &["spec", "initContainers", "*", "resources"],
            &["spec", "initContainers", "*", "resizePolicy"],
        ]),
    }
}
