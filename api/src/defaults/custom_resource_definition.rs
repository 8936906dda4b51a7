//! Definitions of custom resources.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition,
};

use super::{Defaults, set_number, set_text};

/// Names that follow from the kind, no conversion, and the first version that was stored.
impl Defaults for CustomResourceDefinition {
    fn set_defaults(&mut self) {
        let names = &mut self.spec.names;
        if !names.kind.is_empty() {
            set_text(&mut names.singular, &names.kind.to_lowercase());
            set_text(&mut names.list_kind, &format!("{}List", names.kind));
        }
        let none = || CustomResourceConversion { strategy: "None".to_owned(), webhook: None };
        let conversion = self.spec.conversion.get_or_insert_with(none);
        let config = conversion.webhook.as_mut().and_then(|w| w.client_config.as_mut());
        if let Some(service) = config.and_then(|c| c.service.as_mut()) {
            set_number(&mut service.port, 443);
        }
        let stored = self.status.get_or_insert_default().stored_versions.get_or_insert_default();
        if stored.is_empty() {
            stored.extend(self.spec.versions.iter().find(|v| v.storage).map(|v| v.name.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;

    #[test]
    fn names_follow_from_the_kind() {
        let text = r#"{"spec":{"group":"a.b","scope":"Cluster","names":{"plural":"as","kind":"Ab"},
            "versions":[{"name":"v1","served":true,"storage":false},{"name":"v2","served":true,"storage":true}]}}"#;
        let mut definition = CustomResourceDefinition::decode(text.as_bytes()).expect("a definition");
        definition.set_defaults();
        let names = &definition.spec.names;
        assert_eq!((names.singular.as_deref(), names.list_kind.as_deref()), (Some("ab"), Some("AbList")));
        assert_eq!(definition.spec.conversion.as_ref().map(|c| c.strategy.as_str()), Some("None"));
        let stored = definition.status.as_ref().and_then(|s| s.stored_versions.clone());
        assert_eq!(stored, Some(vec!["v2".to_owned()]));
        let once = definition.clone();
        definition.set_defaults();
        assert_eq!(definition, once);
    }
}
