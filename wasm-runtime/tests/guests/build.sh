#!/bin/sh
# Builds the guests that lie here: probe-p1.wasm, probe-p2.wasm, command-p3.wasm and service-p3.wasm.
# Needs `rustup target add wasm32-wasip1 wasm32-wasip2`.
set -eu
cd "$(dirname "$0")"
for preview in p1 p2; do
  rustc --edition 2024 --target "wasm32-wasi$preview" -C opt-level=z -C lto -C panic=abort -C strip=symbols \
    -C codegen-units=1 --remap-path-prefix "$PWD=." -o "probe-$preview.wasm" probe.rs
done
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
for world in command service; do
  cargo build --quiet --manifest-path async/Cargo.toml --release --target wasm32-wasip2 --features "$world" --target-dir "$target"
  cp "$target/wasm32-wasip2/release/async.wasm" "$world-p3.wasm"
done
