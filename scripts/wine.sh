#!/usr/bin/env bash
# Runs a program for Windows under Wine:  scripts/wine.sh PROGRAM.exe [ARGS…]
# Also a runner for cargo: CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=scripts/wine.sh cargo test --target x86_64-pc-windows-gnu
# Bytes of the standard streams and the exit code pass unchanged. Needs wine and x86_64-w64-mingw32-gcc.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
portable=${CARGO_TARGET_DIR:-$root/target}/portable-wine
export WINEPREFIX=${WRR_WINEPREFIX:-$portable/prefix} WINEDEBUG=${WINEDEBUG:--all} WINEARCH=win64
# No menus, no desktop files, and nobody is asked to download anything.
export WINEDLLOVERRIDES="winemenubuilder.exe,mscoree,mshtml="
unset DISPLAY

shim=$portable/bin/bcryptprimitives.dll
if [ ! -f "$shim" ] || [ "$root/tests/portable/bcryptprimitives.c" -nt "$shim" ]; then
    mkdir -p "$portable/bin"
    # Made aside and renamed: several tests may come here at once.
    x86_64-w64-mingw32-gcc -O2 -shared -o "$shim.$$" "$root/tests/portable/bcryptprimitives.c" -ladvapi32
    mv -f "$shim.$$" "$shim"
fi
export WINEPATH="Z:${portable//\//\\}\\bin"

# Debian's wrapper ends the server with the last program, and a program that starts just then fails. Starting the services
# of Windows anew takes a second each time, and they would keep the streams of the program that started them. So an idle
# program, which has no streams, keeps all that for some minutes; everybody waits until it is there.
[ -x /usr/lib/wine/wineserver64 ] && export WINESERVER=/usr/lib/wine/wineserver64
mkdir -p "$WINEPREFIX"
(
    flock 9
    if [ ! -f "$WINEPREFIX/made" ]; then
        wineboot --init 9>&-
        touch "$WINEPREFIX/made"
    fi
    if flock --nonblock "$portable/awake" true; then
        setsid flock --nonblock "$portable/awake" --command "sleep 600 | wine cmd /c more" 9>&- &
        wine cmd /c exit 9>&-
    fi
) 9> "$portable/lock" > /dev/null 2>&1 < /dev/null
exec wine "$@"
