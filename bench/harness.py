"""What all benchmarks share: where things are, how commands are measured, how tables are printed."""

import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
from functools import partial

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A copy, if the folder is being built into.
WRR = pathlib.Path(os.environ.get("WRR_BENCH_BINARY", ROOT / "target/release/wrr"))
PLAIN = ROOT / "target/bench/release/wrr-bench-plain"
GUESTS = ROOT / "target/bench-guests/wasm32-wasip1/release"
RIPGREP = ROOT / "real/rg/bin/rg.wasm"
BOOLECTOR = ROOT / "real/boolector/boolector.wasm"
PYTHON = ROOT / "real/python/python.wasm"
# How CPython gets at bench/python. A fixed seed for hash(): with another one each time, the work itself differs by
# several percent.
SCRIPTS = ["--dir", f"{ROOT}/bench/python::/bench", "--env", "PYTHONHASHSEED=0"]
CHUNK_HEADER_BYTES = 40


def build():
    for folder, target, extra in [
        ("bench/plain", "target/bench", []),
        ("bench/guests", "target/bench-guests", ["--target", "wasm32-wasip1"]),
    ]:
        command = ["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", f"{folder}/Cargo.toml"]
        subprocess.run([*command, "--target-dir", target, *extra], cwd=ROOT, check=True)


class Bench:
    """How often and where measurements are made; `seconds` and `seeks` say how much of it for `seek`."""

    def __init__(self, scratch, turns, seconds, seeks):
        self.scratch = scratch
        self.turns, self.seconds, self.seeks = turns, seconds, seeks
        os.environ["WRR_CACHE"] = str(scratch / "cache")

    def plain(self, module, *args, options=()):
        """The command that runs a module under the plain engine, from a precompiled file."""
        compiled = self.scratch / (pathlib.Path(module).name + ".plain")
        return [PLAIN, "--cwasm", compiled, *options, module, *args]

    def once(self, command):
        """Seconds and peak memory (MiB) of one run; standard output goes nowhere."""
        start = time.perf_counter()
        child = subprocess.Popen(strings(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"exit code {child.returncode}: {' '.join(strings(command))}")
        return seconds, usage.ru_maxrss / 1024

    def told(self, command, env=()):
        """What one run prints: standard output, standard error."""
        child = subprocess.run(strings(command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               env={**os.environ, **dict(env)})
        if child.returncode != 0:
            sys.exit(f"exit code {child.returncode}: {' '.join(strings(command))}\n{child.stderr}")
        return child.stdout, child.stderr

    def take_turns(self, measurements):
        """The results of functions that take turns, after one turn that does not count."""
        results = {name: [] for name in measurements}
        for turn in range(self.turns + 1):
            for name, measure in measurements.items():
                result = measure()
                if turn > 0:
                    results[name].append(result)
        return results

    def compare(self, commands):
        """Median seconds and largest memory of each command; they take turns, after one turn that does not count."""
        results = self.take_turns({name: partial(self.once, command) for name, command in commands.items()})
        return {
            name: (statistics.median(s for s, _ in runs), max(m for _, m in runs)) for name, runs in results.items()
        }


def strings(command):
    return [str(part) for part in command]


def title(text, *columns):
    print(f"\n### {text}\n")
    row(*columns)
    row(*["---"] * len(columns))


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def info(trace):
    """What `wrr info --json` tells about a trace."""
    told = subprocess.run([WRR, "info", "--json", trace], check=True, capture_output=True)
    return json.loads(told.stdout)


def chunk_bytes(told, *kinds):
    """Bytes that chunks of these kinds take in the file, with their headers."""
    chunks = [c for c in told["chunks"] if c["kind"] in kinds]
    return sum(c["stored_bytes"] + CHUNK_HEADER_BYTES * c["count"] for c in chunks)


def events_bytes(trace):
    """Bytes of the event chunks with their headers, and how many events they hold."""
    told = info(trace)
    return chunk_bytes(told, "EVNT"), told["events"]


def log_lines(length):
    """Text as servers write it: the same words, other numbers."""
    lines, size = [], 0
    while size < length:
        line = (f"2026-01-{random.randrange(1, 29):02} {random.randrange(24):02}:{random.randrange(60):02}:"
                f"{random.randrange(60):02}.{random.randrange(1000):03} INFO request id={random.getrandbits(64):016x} "
                f"path=/api/v1/items/{random.randrange(100000)} status={random.choice([200, 200, 200, 304, 404, 500])} "
                f"bytes={random.randrange(100000)}\n")
        lines.append(line)
        size += len(line)
    return "".join(lines).encode()[:length]
