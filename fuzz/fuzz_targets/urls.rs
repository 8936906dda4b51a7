//! Any method on any URL, with a body or without.
#![no_main]

use coracle_fuzz::{ask, choose};
use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 8] = ["GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

fuzz_target!(|data: &[u8]| {
    let Some((method, rest)) = choose(data, &METHODS) else { return };
    let Ok(url) = std::str::from_utf8(rest) else { return };
    // What is deleted would be missing to the inputs that follow.
    let dry = if url.contains('?') { "&dryRun=All" } else { "?dryRun=All" };
    ask(method, &format!("/{url}{dry}"), "application/json", b"{}");
});
