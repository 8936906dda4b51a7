//! What guests may be made of here: which parts of WASI are offered, and which proposals of WebAssembly the engine takes.
//! Nothing of it is written down twice: the tables of imports and the engine itself are asked.

use wasmtime::Module;

use crate::engine::{Allocation, MemoryInit, new};
use crate::offer::{offers_function, offers_interface};

/// Interfaces that stand for a part of WASI; one of them is enough.
const INTERFACES: [(&str, &[&str]); 6] = [
    ("wasi-p2", &["wasi:cli/environment@0.2.0"]),
    ("wasi-p3", &["wasi:cli/environment@0.3.0"]),
    ("wasi-http", &["wasi:http/types@0.2.0", "wasi:http/types@0.3.0"]),
    ("wasi-sockets", &["wasi:sockets/tcp@0.2.0", "wasi:sockets/types@0.3.0"]),
    ("wasi-config", &["wasi:config/store@0.2.0"]),
    ("wasi-keyvalue", &["wasi:keyvalue/store@0.2.0"]),
];

/// Functions of modules that do.
const FUNCTIONS: [(&str, &str, &str); 2] =
    [("wasi-p1", "wasi_snapshot_preview1", "fd_write"), ("wasi-threads", "wasi", "thread-spawn")];

/// The beginning of every module.
const HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// Proposals, and the rest of the smallest module that needs one.
const PROPOSALS: [(&str, &[u8]); 6] = [
    ("wasm-exceptions", b"\x01\x04\x01\x60\0\0\x0d\x03\x01\0\0"),
    ("wasm-gc", b"\x01\x03\x01\x5f\0"),
    ("wasm-memory64", b"\x05\x03\x01\x04\0"),
    ("wasm-multi-memory", b"\x05\x05\x02\0\0\0\0"),
    ("wasm-simd", b"\x01\x05\x01\x60\0\x01\x7b\x03\x02\x01\0\x0a\x05\x01\x03\0\0\x0b"),
    ("wasm-tail-call", b"\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x06\x01\x04\0\x12\0\x0b"),
];

/// Each feature by its name, and whether it is there.
pub fn features() -> Vec<(&'static str, bool)> {
    let offered = |names: &[&str]| names.iter().any(|name| offers_interface(name));
    let interfaces = INTERFACES.into_iter().map(|(feature, names)| (feature, offered(names)));
    let functions = FUNCTIONS.into_iter().map(|(feature, module, name)| (feature, offers_function(module, name)));
    let engine = new(MemoryInit::Copied, Allocation::OnDemand).ok();
    let takes =
        |rest: &[u8]| engine.as_ref().is_some_and(|engine| Module::validate(engine, &[HEADER, rest].concat()).is_ok());
    let proposals = PROPOSALS.into_iter().map(|(feature, rest)| (feature, takes(rest)));
    functions.chain(interfaces).chain(proposals).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_offered_is_named_and_what_is_not_is_denied() {
        let features = features();
        let of = |name: &str| features.iter().find(|(feature, _)| *feature == name).unwrap().1;
        for there in ["wasi-p1", "wasi-p2", "wasi-p3", "wasi-http", "wasi-sockets", "wasi-config", "wasm-simd"] {
            assert!(of(there), "{there}");
        }
        for missing in ["wasi-threads", "wasi-keyvalue"] {
            assert!(!of(missing), "{missing}");
        }
    }

    #[test]
    fn the_smallest_modules_are_what_they_stand_for() {
        let table = [
            ("wasm-exceptions", "(module (type (func)) (tag (type 0)))"),
            ("wasm-gc", "(module (type (struct)))"),
            ("wasm-memory64", "(module (memory i64 0))"),
            ("wasm-multi-memory", "(module (memory 0) (memory 0))"),
            ("wasm-simd", "(module (func (result v128) unreachable))"),
            ("wasm-tail-call", "(module (func return_call 0))"),
        ];
        assert_eq!(table.map(|(name, _)| name), PROPOSALS.map(|(name, _)| name));
        for ((name, text), (_, rest)) in table.into_iter().zip(PROPOSALS) {
            assert_eq!(wat::parse_str(text).unwrap(), [HEADER, rest].concat(), "{name}");
        }
    }
}
