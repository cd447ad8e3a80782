#!/usr/bin/env bash
# Set up once, test many: SymPy's own tests in CPython, each from the same state. Usage: examples/branch/run.sh [TESTS]
set -euo pipefail
cd "$(dirname "$0")/../.."
wrr=${WRR:-$PWD/target/release/wrr}
python=$PWD/real/python/python.wasm
tests=${1:-200}

[ -x "$wrr" ] || cargo build --release --locked
[ -f "$python" ] && [ -d real/sympy ] || scripts/fetch-real-programs.sh > /dev/null

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
world=(--dir real/sympy::/lib --dir examples/branch::/suite)

echo "listing $tests tests"
"$wrr" run "${world[@]}" --env PYTHONPATH=/lib "$python" /suite/suite.py list "$tests" > "$scratch/tests"

echo "recording CPython up to where it has imported SymPy and its tests, and asks for one"
echo | "$wrr" record -o "$scratch/suite.wrr" "${world[@]}" --env PYTHONPATH=/lib "$python" /suite/suite.py
moment=$("$wrr" events "$scratch/suite.wrr" | awk '/ fd_read fd=0 / { at = $1 } END { print at }')

echo "wrr branch suite.wrr --at '$moment' --each tests"
time "$wrr" branch "$scratch/suite.wrr" --at "$moment" --each "$scratch/tests" "${world[@]}"
