//! Any configurations, applied to one object one after the other by several managers, with other writes in between. To
//! apply the last one again changes nothing.
#![no_main]

use coracle_fuzz::{ask, choose};
use libfuzzer_sys::fuzz_target;

const OBJECTS: [&str; 4] = [
    "/apis/apps/v1/namespaces/default/deployments/x",
    "/api/v1/namespaces/default/configmaps/x",
    "/api/v1/namespaces/default/services/x",
    "/apis/fuzz.test/v1/namespaces/default/fuzzes/x",
];
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
/// How, and what more is asked for.
const WRITES: [(&str, &str); 8] = [
    (APPLY, "fieldManager=a"),
    (APPLY, "fieldManager=b"),
    (APPLY, "fieldManager=a&force=true"),
    (APPLY, "fieldManager=b&force=true"),
    (APPLY, "fieldManager=kubectl"),
    (MERGE, "fieldManager=a"),
    (MERGE, "fieldManager=c"),
    ("application/json-patch+json", "fieldManager=c"),
];
const WRITES_MAX: usize = 8;

fuzz_target!(|data: &[u8]| {
    let Some((object, rest)) = choose(data, &OBJECTS) else { return };
    for line in rest.split(|byte| *byte == b'\n').take(WRITES_MAX) {
        let Some(((media_type, query), body)) = choose(line, &WRITES) else { continue };
        let write = || ask("PATCH", &format!("{object}?{query}"), media_type, body).expect("a request");
        let first = write();
        if media_type == APPLY && matches!(first.code, 200 | 201) {
            let again = write();
            assert_eq!(again.code, 200, "{}", String::from_utf8_lossy(&again.body));
            assert_eq!(again.version(), first.version(), "{}", String::from_utf8_lossy(&again.body));
        }
    }
    // The next input begins with nothing.
    ask("PATCH", object, MERGE, br#"{"metadata":{"finalizers":null}}"#);
    ask("DELETE", &format!("{object}?gracePeriodSeconds=0&propagationPolicy=Background"), "application/json", b"");
    assert_eq!(ask("GET", object, "application/json", b"").map(|answer| answer.code), Some(404), "it is gone");
});
