#!/usr/bin/env python3
"""Measures wrr against the plain engine and prints the tables of BENCHMARKS.md.

Every row compares commands within this one run: they take turns, and the medians of all turns are compared. Usage:

    bench/run.py [--turns 7] [--only cpython,calls,...] [--seconds 60] [--seeks 200]

WRR_BENCH_BINARY names another wrr than target/release/wrr, for example one that nobody is building anew.
"""

import argparse
import pathlib
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True  # The folder of sources stays as it is.

import boundary
import branch
import checkpoints
import debugger
import files
import floats
import fuzz
import harness
import transform

SECTIONS = {
    "cpython": boundary.cpython,
    "calls": boundary.calls,
    "read": boundary.read,
    "start": boundary.start,
    "record": checkpoints.record,
    "pause": checkpoints.pause,
    "busy": checkpoints.busy,
    "seek": checkpoints.seek,
    "resume": checkpoints.resume,
    "transform": transform.transform,
    "floats": floats.floats,
    "stack": floats.stack,
    "rollback": branch.rollback,
    "branch": branch.branch,
    "files": files.files,
    "py": debugger.py,
    "debugger": debugger.debugger,
    "bank": debugger.bank,
    "fuzz": fuzz.fuzz,
    "bugs": fuzz.bugs,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--seconds", type=float, default=60, help="busy, seek, debugger, bank: how long their program computes")
    parser.add_argument("--seeks", type=int, default=200, help="busy, seek, debugger, bank: how many random moments")
    options = parser.parse_args()
    names = options.only.split(",")
    unknown = set(names) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    harness.build()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that the scratch folder is removed.
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="wrr-bench-"))
    try:
        bench = harness.Bench(scratch, options.turns, options.seconds, options.seeks)
        print(f"Medians of {options.turns} turns.")
        for name in names:
            SECTIONS[name](bench)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
