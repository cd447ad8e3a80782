#!/usr/bin/env bash
# Builds `wrr` for other platforms:  scripts/portable.sh [--check-macos] PLATFORM…
# The platforms are i686, aarch64, s390x, riscv64 (Linux) and windows; each `wrr` is TARGET/TRIPLE/release/wrr[.exe]. For
# x86_64 there is nothing to do: that is the machine that this runs on.
# --check-macos compiles for macOS on arm64 as far as that goes without Apple's linker.
# Needs the C cross compilers and `rustup`; installs targets of Rust that are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

# triple PLATFORM
triple() {
    case $1 in
        i686 | aarch64 | s390x) echo "$1-unknown-linux-gnu" ;;
        riscv64) echo riscv64gc-unknown-linux-gnu ;;
        windows) echo x86_64-pc-windows-gnu ;;
        macos) echo aarch64-apple-darwin ;;
        *) echo "scripts/portable.sh: there is no platform '$1'" >&2 && exit 2 ;;
    esac
}

for platform in "$@"; do
    command=(build) check=
    case $platform in
        x86_64) continue ;;
        --check-macos) platform=macos check=1 command=(check) ;;
    esac
    triple=$(triple "$platform")
    rustup target add --toolchain "$(rustc --version --verbose | sed -n 's/^release: //p')" "$triple" 2> /dev/null || rustup target add "$triple"
    upper=${triple^^} upper=${upper//-/_}
    case $platform in
        i686 | aarch64 | s390x | riscv64)
            # The names of Debian's cross compilers.
            gnu=${platform}-linux-gnu
            export "CARGO_TARGET_${upper}_LINKER=$gnu-gcc" "CC_${triple//-/_}=$gnu-gcc" "AR_${triple//-/_}=$gnu-ar" ;;
    esac
    if [ -n "$check" ]; then
        # Only what is Rust is checked: the C code of dependencies would need Apple's headers.
        export "CC_${triple//-/_}=true" "AR_${triple//-/_}=true"
    fi
    printf '%s: %s\n' "$platform" "$triple"
    cargo --config scripts/quick.toml "${command[@]}" --quiet --locked --release --target "$triple"
done
