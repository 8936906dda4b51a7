//! The defaults of `resource.k8s.io`: a request is for one device.

use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimSpec, ResourceClaimTemplate};

use super::{Defaults, set_text};

const EXACT_COUNT: &str = "ExactCount";

impl Defaults for ResourceClaim {
    fn set_defaults(&mut self) {
        claim(&mut self.spec);
    }
}

impl Defaults for ResourceClaimTemplate {
    fn set_defaults(&mut self) {
        claim(&mut self.spec.spec);
    }
}

fn claim(spec: &mut ResourceClaimSpec) {
    for request in spec.devices.iter_mut().flat_map(|d| d.requests.iter_mut().flatten()) {
        if let Some(exactly) = &mut request.exactly {
            one(&mut exactly.allocation_mode, &mut exactly.count);
        }
        for alternative in request.first_available.iter_mut().flatten() {
            one(&mut alternative.allocation_mode, &mut alternative.count);
        }
    }
}

fn one(mode: &mut Option<String>, count: &mut Option<i64>) {
    set_text(mode, EXACT_COUNT);
    if mode.as_deref() == Some(EXACT_COUNT) && count.unwrap_or(0) == 0 {
        *count = Some(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::tests::completed;

    #[test]
    fn a_request_is_for_one_device() {
        let claim = completed::<ResourceClaim>(
            r#"{"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"c"}},{"name":"b","firstAvailable":[{"name":"x","deviceClassName":"c","allocationMode":"All"}]}]}}}"#,
        );
        assert!(
            claim.contains(r#""exactly":{"allocationMode":"ExactCount","count":1,"deviceClassName":"c"}"#),
            "{claim}"
        );
        assert!(claim.contains(r#"[{"allocationMode":"All","deviceClassName":"c","name":"x"}]"#), "{claim}");
    }
}
