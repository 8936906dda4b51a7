//! What a write cannot change, whatever it says: such fields get no owner by it.
//!
//! Source: the `GetResetFields` of upstream's strategies.

use coracle_api::kind::Kind;
use coracle_api::ownership::Reset;

use super::Part;

const STATUS: Reset = Reset::Except(&[&["status"]]);
const SPEC: Reset = Reset::Except(&[&["spec"]]);
const SPEC_AND_STATUS: Reset = Reset::Except(&[&["spec"], &["status"]]);
const SPEC_AND_METADATA: Reset = Reset::Except(&[&["metadata"], &["spec"]]);

/// The fields of a kind that a write of this part cannot change.
pub(crate) fn of(kind: &Kind, part: Part) -> Reset {
    if kind.model.custom().is_some() {
        return match part {
            Part::Status => SPEC_AND_METADATA,
            _ if kind.subresource("status").is_some() => STATUS,
            _ => Reset::NOTHING,
        };
    }
    match part {
        Part::Main | Part::Finalize => match (&*kind.group, &*kind.plural) {
            ("certificates.k8s.io", "certificatesigningrequests") => SPEC_AND_STATUS,
            // Its status can be written with it.
            ("networking.k8s.io", "servicecidrs") => Reset::NOTHING,
            _ => STATUS,
        },
        Part::Status => match (&*kind.group, &*kind.plural) {
            ("apps", "deployments") => Reset::Except(&[&["spec"], &["metadata", "labels"]]),
            ("", "pods") => {
                Reset::Except(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
            }
            ("certificates.k8s.io", "certificatesigningrequests") => {
                Reset::Except(&[&["spec"], &["status", "conditions"]])
            }
            ("admissionregistration.k8s.io", "validatingadmissionpolicies")
            | ("apiregistration.k8s.io", "apiservices")
            | ("flowcontrol.apiserver.k8s.io", "flowschemas" | "prioritylevelconfigurations")
            | ("networking.k8s.io", "servicecidrs")
            | ("resource.k8s.io", "resourceclaims")
            | ("storage.k8s.io", "volumeattachments") => SPEC_AND_METADATA,
            _ => SPEC,
        },
        Part::Approval => Reset::Except(&[&["spec"], &["status", "certificate"]]),
        Part::EphemeralContainers => Reset::AllBut(&[&["spec", "ephemeralContainers"]]),
        Part::Resize => Reset::AllBut(&[
            &["spec", "containers", "*", "resources"],
            &["spec", "containers", "*", "resizePolicy"],
            &["spec", "initContainers", "*", "resources"],
            &["spec", "initContainers", "*", "resizePolicy"],
        ]),
    }
}
