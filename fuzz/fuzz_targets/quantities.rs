//! Any quantity: what is read is written so that it is read as the same.
#![no_main]

use coracle_api::quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(read) = quantity::parse(&Text(text.to_owned())) else { return };
    // Not the same text: 62.5Ki is written as 64000, which is read as decimal and then written as 64k, as upstream does.
    let written = read.to_text();
    let again = quantity::parse(&written).expect("what is written can be read");
    assert_eq!(again, read, "{text} as {}", written.0);
    let _ = (read.units(), read.milli(), read.bytes(), read.to_f64(), quantity::canonical(text).len());
});
