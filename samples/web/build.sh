#!/bin/sh
# Builds web.wasm, a wasi:http component: a core module in C, its world embedded, made into a component.
# Needs `pip install ziglang` and, for the last two steps, `npm install @bytecodealliance/jco` (found through NODE_PATH).
set -eu
cd "$(dirname "$0")"
core=$(mktemp)
trap 'rm -f "$core"' EXIT
python3 -m ziglang cc --target=wasm32-freestanding -Oz -s -nostdlib -Wl,--no-entry -Wl,-z,stack-size=16384 -o "$core" web.c
node componentize.cjs "$core" web.wit web.wasm
