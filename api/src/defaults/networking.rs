//! The defaults of `networking.k8s.io`.

use k8s_openapi::api::networking::v1::{IngressClass, NetworkPolicy, NetworkPolicySpec};

use super::{Defaults, set};

/// The parameters of a class are the cluster's.
impl Defaults for IngressClass {
    fn set_defaults(&mut self) {
        if let Some(parameters) = self.spec.as_mut().and_then(|s| s.parameters.as_mut()) {
            set(&mut parameters.scope, "Cluster".to_owned());
        }
    }
}

/// Ports are TCP; a policy is about what comes in, and about what goes out when it says something of that.
impl Defaults for NetworkPolicy {
    fn set_defaults(&mut self) {
        let NetworkPolicySpec { ingress, egress, policy_types, .. } = self.spec.get_or_insert_default();
        if policy_types.as_ref().is_none_or(Vec::is_empty) {
            let goes_out = egress.as_ref().is_some_and(|rules| !rules.is_empty()).then_some("Egress");
            *policy_types = Some(["Ingress"].into_iter().chain(goes_out).map(str::to_owned).collect());
        }
        let ports_in = ingress.iter_mut().flatten().filter_map(|rule| rule.ports.as_mut());
        let ports_out = egress.iter_mut().flatten().filter_map(|rule| rule.ports.as_mut());
        for port in ports_in.chain(ports_out).flatten() {
            set(&mut port.protocol, "TCP".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::tests::completed;

    #[test]
    fn policies_and_classes() {
        for (spec, expected) in [
            ("{}", r#""spec":{"podSelector":{},"policyTypes":["Ingress"]}"#),
            (
                r#"{"podSelector":{},"egress":[{"ports":[{"port":1}]}]}"#,
                r#""spec":{"egress":[{"ports":[{"port":1,"protocol":"TCP"}]}],"podSelector":{},"policyTypes":["Ingress","Egress"]}"#,
            ),
        ] {
            assert!(completed::<NetworkPolicy>(&format!(r#"{{"spec":{spec}}}"#)).contains(expected), "{spec}");
        }
        let class = completed::<IngressClass>(r#"{"spec":{"controller":"a/b","parameters":{"kind":"K","name":"n"}}}"#);
        assert!(class.contains(r#""scope":"Cluster""#), "{class}");
    }
}
