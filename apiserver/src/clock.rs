//! The time that is written into objects.

use k8s_openapi::jiff::Timestamp;

/// The present second, as objects hold it.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
