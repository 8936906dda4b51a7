//! Any bytes as an object of any kind in protobuf, in an envelope that says so.
#![no_main]

use coracle_api::kind::{Kind, Verb};
use coracle_api::kinds;
use coracle_fuzz::ask;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let kinds: Vec<&'static Kind> = kinds::all().iter().filter(|kind| kind.verbs.contains(Verb::Create)).collect();
    let Some(([high, low], raw)) = data.split_first_chunk() else { return };
    let kind = kinds[usize::from(u16::from_be_bytes([*high, *low])) % kinds.len()];
    let version = kind.api_version();
    let type_ = [field(1, version.as_bytes()), field(2, kind.kind.as_bytes())].concat();
    let body = [&b"k8s\0"[..], &field(1, &type_), &field(2, raw)].concat();
    let root = if kind.group.is_empty() { "api" } else { "apis" };
    let place = if kind.namespaced() { "/namespaces/default" } else { "" };
    let path = format!("/{root}/{version}{place}/{}?dryRun=All", kind.plural);
    ask("POST", &path, "application/vnd.kubernetes.protobuf", &body);
});

/// A field of bytes, as it stands on the wire.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend(bytes);
    field
}
