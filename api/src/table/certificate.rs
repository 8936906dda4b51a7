//! The rows of certificate requests.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::Value;

use super::{Cells, age, cells, human_duration};

impl Cells for CertificateSigningRequest {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let wanted =
            self.spec.expiration_seconds.map(|seconds| human_duration(SignedDuration::from_secs(seconds.into())));
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            age(&self.metadata, now).into(),
            cells::text_or(Some(&self.spec.signer_name), cells::NONE).into(),
            cells::text(self.spec.username.as_ref()).into(),
            wanted.unwrap_or_else(|| cells::NONE.to_owned()).into(),
            condition(self).into(),
        ]
    }
}

/// `Approved,Issued`
fn condition(request: &CertificateSigningRequest) -> String {
    let conditions = request.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let has = |type_: &str| conditions.iter().any(|c| c.type_ == type_);
    let decision = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    };
    let issued = request.status.as_ref().and_then(|s| s.certificate.as_ref()).is_some_and(|c| !c.0.is_empty());
    let further = [has("Failed").then_some("Failed"), issued.then_some("Issued")];
    [Some(decision)].into_iter().chain(further).flatten().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::line;

    #[test]
    fn requests_show_their_way() {
        let of = |status: &str| {
            line::<CertificateSigningRequest>(&format!(
                r#"{{"metadata":{{"name":"c"}},"spec":{{"request":"","signerName":"a.b/c","username":"u","expirationSeconds":3600}},"status":{status}}}"#
            ))
        };
        assert_eq!(of("{}"), "c | <unknown> | a.b/c | u | 60m | Pending");
        let issued = r#"{"conditions":[{"type":"Approved","status":"True"}],"certificate":"YQ=="}"#;
        assert_eq!(of(issued), "c | <unknown> | a.b/c | u | 60m | Approved,Issued");
    }
}
