//! Any body, in any form that is taken, as an object of any kind.
#![no_main]

use coracle_api::kind::{Kind, Verb};
use coracle_api::kinds;
use coracle_fuzz::{ask, choose};
use libfuzzer_sys::fuzz_target;

const FORMS: [&str; 4] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json"];
const VALIDATIONS: [&str; 3] = ["Strict", "Warn", "Ignore"];

fuzz_target!(|data: &[u8]| {
    let kinds: Vec<&'static Kind> = kinds::all().iter().collect();
    let Some((kind, rest)) = choose(data, &kinds) else { return };
    let Some((form, rest)) = choose(rest, &FORMS) else { return };
    let Some((validation, body)) = choose(rest, &VALIDATIONS) else { return };
    // Half of the time the kind is the one that the body says it is.
    let kind = if data[0] % 2 == 0 { named(body).unwrap_or(kind) } else { kind };
    if !kind.verbs.contains(Verb::Create) {
        return;
    }
    let version = kind.api_version();
    let root = if kind.group.is_empty() { "api" } else { "apis" };
    let place = if kind.namespaced() { "/namespaces/default" } else { "" };
    let query = format!("dryRun=All&fieldValidation={validation}");
    ask("POST", &format!("/{root}/{version}{place}/{}?{query}", kind.plural), form, body);
});

fn named(body: &[u8]) -> Option<&'static Kind> {
    let body = std::str::from_utf8(body).ok()?;
    let (_, rest) = body.split_once("\"kind\":\"")?;
    let (name, _) = rest.split_once('"')?;
    kinds::all().iter().find(|kind| kind.kind == name)
}
