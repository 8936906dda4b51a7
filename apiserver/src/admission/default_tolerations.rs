//! A pod leaves a node that is gone after a time, unless it says otherwise.
//!
//! Source: the admission plugin `DefaultTolerationSeconds`.

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::{Pod, Toleration};

use super::{Plugin, Review};

/// Seconds that a pod stays on a node that is gone.
const TOLERATION_SECONDS: i64 = 300;

pub(super) struct DefaultTolerations;

#[async_trait]
impl Plugin for DefaultTolerations {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.is_main::<Pod>()
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        let Some(spec) = &mut review.object_mut::<Pod>().spec else { return Ok(()) };
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            if !spec.tolerations.iter().flatten().any(|own| tolerates(own, key)) {
                spec.tolerations.get_or_insert_default().push(Toleration {
                    key: Some(key.to_owned()),
                    operator: Some("Exists".to_owned()),
                    effect: Some("NoExecute".to_owned()),
                    toleration_seconds: Some(TOLERATION_SECONDS),
                    ..Toleration::default()
                });
            }
        }
        Ok(())
    }
}

fn tolerates(own: &Toleration, key: &str) -> bool {
    own.key.as_deref().is_none_or(|own| own.is_empty() || own == key)
        && own.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == "NoExecute")
}
