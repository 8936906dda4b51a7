#!/bin/sh
# Builds chatty.wasm, a WASI preview 1 command. Needs `pip install ziglang`.
set -eu
cd "$(dirname "$0")"
python3 -m ziglang cc --target=wasm32-wasi -Oz -s -Wl,-z,stack-size=65536 -o chatty.wasm chatty.c
