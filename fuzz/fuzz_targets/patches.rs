//! Any patch, of each type, on an object that is there.
#![no_main]

use coracle_fuzz::{ask, choose};
use libfuzzer_sys::fuzz_target;

const OBJECTS: [&str; 7] = [
    "/apis/apps/v1/namespaces/default/deployments/d",
    "/apis/apps/v1/namespaces/default/deployments/d/scale",
    "/api/v1/namespaces/default/configmaps/c",
    "/api/v1/namespaces/default/services/s",
    "/apis/fuzz.test/v1/namespaces/default/fuzzes/f",
    "/apis/fuzz.test/v1/namespaces/default/fuzzes/f/scale",
    "/apis/fuzz.test/v1/namespaces/default/fuzzes/f/status",
];
const TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

fuzz_target!(|data: &[u8]| {
    let Some((object, rest)) = choose(data, &OBJECTS) else { return };
    let Some((media_type, patch)) = choose(rest, &TYPES) else { return };
    let force = if media_type.contains("apply") { "&force=true" } else { "" };
    ask("PATCH", &format!("{object}?dryRun=All&fieldManager=fuzz{force}"), media_type, patch);
});
