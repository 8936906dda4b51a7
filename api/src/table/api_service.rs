//! The rows of API services.

use jiff::Timestamp;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for APIService {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let service = self.spec.as_ref().and_then(|s| s.service.as_ref());
        let service = service
            .map(|s| format!("{}/{}", cells::text(s.namespace.as_ref()), cells::text(s.name.as_ref())))
            .unwrap_or_else(|| "Local".to_owned());
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            service.into(),
            available(self).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

/// `True`, or `False (ServiceNotFound)`
fn available(service: &APIService) -> String {
    let mut conditions = service.status.iter().flat_map(|s| s.conditions.iter().flatten());
    match conditions.find(|c| c.type_ == "Available") {
        Some(condition) if condition.status == "True" => "True".to_owned(),
        Some(condition) => match cells::text(condition.reason.as_ref()) {
            "" => condition.status.clone(),
            reason => format!("{} ({reason})", condition.status),
        },
        None => "Unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::line;

    #[test]
    fn services_are_here_or_elsewhere() {
        let of = |rest: &str| line::<APIService>(&format!(r#"{{"metadata":{{"name":"v1."}}{rest}}}"#));
        let available = r#","status":{"conditions":[{"type":"Available","status":"True","reason":"Local"}]}"#;
        assert_eq!(of(available), "v1. | Local | True | <unknown>");
        let missing = r#","spec":{"service":{"namespace":"n","name":"s"},"groupPriorityMinimum":1,"versionPriority":1},"status":{"conditions":[{"type":"Available","status":"False","reason":"ServiceNotFound"}]}"#;
        assert_eq!(of(missing), "v1. | n/s | False (ServiceNotFound) | <unknown>");
        let unsaid = r#","status":{"conditions":[{"type":"Available","status":"False"}]}"#;
        assert_eq!(of(unsaid), "v1. | Local | False | <unknown>");
        assert_eq!(of(""), "v1. | Local | Unknown | <unknown>");
    }
}
