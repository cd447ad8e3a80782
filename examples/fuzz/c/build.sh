#!/bin/sh
# Builds the target in C as a WASI reactor.
#
#   examples/fuzz/c/build.sh OUT.wasm
#
# Needs clang with wasm-ld and a libc for WASI. On Debian:
#   apt-get install clang lld wasi-libc libclang-rt-dev-wasm32
# CC names another clang, such as the one of wasi-sdk.
set -eu

out=${1:?usage: build.sh OUT.wasm}
here=$(dirname "$0")

exec "${CC:-clang}" --target=wasm32-wasi -mexec-model=reactor -std=c99 -Wall -Wextra -O2 \
    -Wl,--export=LLVMFuzzerTestOneInput -Wl,--export=LLVMFuzzerInitialize \
    -o "$out" "$here/expression.c"
