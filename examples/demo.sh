#!/usr/bin/env bash
# The main job: a Python script that fails is recorded; then, in another folder and without the script, its recording is walked
# backwards to the cause.
set -euo pipefail
cd "$(dirname "$0")/.."
wrr=${WRR:-$PWD/target/release/wrr}
example=$PWD/examples/debug/objects

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

[ -x "$wrr" ] || cargo build --release --locked
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/customer" "$scratch/home"

cd "$scratch/customer"
cp "$example.py" .
say "wrr py objects.py              # the first time the Python inside is compiled, which takes half a minute"
code=0
"$wrr" py objects.py || code=$?
echo "(exit code $code)"
[ "$code" = 1 ]

mv objects.wrr "$scratch/home"
rm objects.py
cd "$scratch/home"
say "wrr debug objects.wrr          # somewhere else; the script is gone"
"$wrr" debug objects.wrr -x "$example.dbg"
