//! Tells the linker to keep one of several functions that came out the same, which makes the program a tenth smaller.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Only where Rust links with its own lld, which knows the option.
    let target = std::env::var("TARGET").unwrap_or_default();
    let is_debug = std::env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    if target == "x86_64-unknown-linux-gnu" && !is_debug {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=safe");
    }
}
