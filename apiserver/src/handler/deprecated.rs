//! Kinds that are on their way out: whoever asks for them is told so.
//!
//! Source: `APILifecycleDeprecated` of the types of `k8s.io/api`, and `deprecation.WarningMessage`.

use coracle_api::kind::Kind;

/// What is told with every answer about objects of a kind.
pub(super) fn warning(kind: &Kind) -> Option<String> {
    let told = match (&*kind.group, &*kind.version, &*kind.plural) {
        ("", "v1", "componentstatuses") => "v1 ComponentStatus is deprecated in v1.19+",
        ("", "v1", "endpoints") => "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        _ => return None,
    };
    Some(told.to_owned())
}
