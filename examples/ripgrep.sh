#!/usr/bin/env bash
# Recording and replaying a real program: ripgrep, unmodified from crates.io, compiled to WebAssembly, searches a
# folder under `wrr record`; then the recording is replayed in an empty directory, without that folder.
set -euo pipefail
cd "$(dirname "$0")/.."
wrr=${WRR:-$PWD/target/release/wrr}
rg=$PWD/real/rg/bin/rg.wasm

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

[ -x "$wrr" ] || cargo build --release --locked
if [ ! -f "$rg" ]; then
    echo "building ripgrep for wasm32-wasip1 (once)"
    cargo install --quiet --locked ripgrep --version 15.2.0 --target wasm32-wasip1 --root real/rg 2>&1 |
        grep -v 'be sure to add' || true
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/project" "$scratch/empty"
cp -r host docs "$scratch/project"

cd "$scratch/project"
say "wrr record --dir . rg.wasm --sort path -n 'pub struct' host"
"$wrr" record -o "$scratch/search.wrr" --dir . "$rg" --sort path -n 'pub struct' host > "$scratch/recorded"
code=$?
tail -n 5 "$scratch/recorded"
echo "($(wc -l < "$scratch/recorded") lines, exit code $code)"

cd "$scratch/empty"
rm -rf "$scratch/project"
say "wrr replay search.wrr        # in an empty directory; the project is gone"
"$wrr" replay "$scratch/search.wrr" > "$scratch/replayed"
code=$?
tail -n 5 "$scratch/replayed"
echo "($(wc -l < "$scratch/replayed") lines, exit code $code)"

say "wrr events search.wrr --from 60 --to 64"
"$wrr" events "$scratch/search.wrr" --from 60 --to 64
say "wrr verify search.wrr"
(cd "$scratch" && "$wrr" verify search.wrr)

cmp "$scratch/recorded" "$scratch/replayed"
printf '\nThe replayed output equals the recorded output, byte for byte.\n'
