#!/usr/bin/env bash
# Fuzzes the trace reader for the given number of seconds a target, seeded from real traces.
# cargo-fuzz needs unstable compiler flags; they are enabled for the one toolchain that the project uses, and
# only for the fuzz targets (for the others it would mean to build everything anew).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}

command -v cargo-fuzz > /dev/null || cargo install --quiet --locked cargo-fuzz

cargo build --release --locked
cargo build --quiet --locked --release --target wasm32-wasip1 --manifest-path tests/programs/Cargo.toml --target-dir target/guests
for target in trace batch; do mkdir -p "fuzz/corpus/$target"; done
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
cp -r tests/programs/fixture "$seeds/work"
for program in tests/programs/wat/*.wat; do
    name=$(basename "$program" .wat)
    target/release/wrr record -o "fuzz/corpus/trace/$name.wrr" --dir "$seeds/work::/work" "$program" > /dev/null 2>&1 < /dev/null || true
done
# Batches of bigger programs, without the modules around them.
for name in files dirs links poll clocks args_env times; do
    target/release/wrr record -o "$seeds/t.wrr" --dir "$seeds/work::/work" "target/guests/wasm32-wasip1/release/$name.wasm" > /dev/null 2>&1 < /dev/null || true
    cargo run --quiet --release --locked -p wrr-trace --example batches -- "$seeds/t.wrr" "fuzz/corpus/batch/$name" || true
done

for target in trace batch; do
    RUSTC_BOOTSTRAP=1 cargo fuzz run "$target" -- -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=4096 -print_final_stats=1
done
