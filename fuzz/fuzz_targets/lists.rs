//! Any value of each parameter of a list or a watch: selectors, continue tokens, versions.
#![no_main]

use coracle_fuzz::{ask, choose, escaped};
use libfuzzer_sys::fuzz_target;

const PARAMETERS: [&str; 8] = [
    "labelSelector",
    "fieldSelector",
    "limit=1&continue",
    "resourceVersion",
    "resourceVersionMatch=Exact&limit=1&resourceVersion",
    "watch=1&resourceVersion",
    "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&labelSelector",
    "timeoutSeconds",
];

fuzz_target!(|data: &[u8]| {
    let Some((parameter, value)) = choose(data, &PARAMETERS) else { return };
    ask("GET", &format!("/api/v1/services?{parameter}={}", escaped(value)), "application/json", b"");
});
