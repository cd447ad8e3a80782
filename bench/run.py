#!/usr/bin/env python3
"""Measures wrr against the plain engine and prints the tables of BENCHMARKS.md.

Every row compares commands within this one run: they take turns, and the medians of all turns are compared. Usage:

    bench/run.py [--turns 7] [--only cpython,calls,read,start]
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WRR = ROOT / "target/release/wrr"
PLAIN = ROOT / "target/bench/release/wrr-bench-plain"
GUESTS = ROOT / "target/bench-guests/wasm32-wasip1/release"
RIPGREP = ROOT / "real/rg/bin/rg.wasm"
PYTHON = ROOT / "real/python/python.wasm"
WORKLOADS = ["recurse", "dicts", "strings", "json_work", "re_work"]


def build():
    for folder, target, extra in [
        ("bench/plain", "target/bench", []),
        ("bench/guests", "target/bench-guests", ["--target", "wasm32-wasip1"]),
    ]:
        command = ["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", f"{folder}/Cargo.toml"]
        subprocess.run([*command, "--target-dir", target, *extra], cwd=ROOT, check=True)


class Bench:
    def __init__(self, turns, scratch):
        self.turns = turns
        self.scratch = scratch
        os.environ["WRR_CACHE"] = str(scratch / "cache")

    def plain(self, module, *args, options=()):
        """The command that runs a module under the plain engine, from a precompiled file."""
        compiled = self.scratch / (pathlib.Path(module).name + ".plain")
        return [PLAIN, "--cwasm", compiled, *options, module, *args]

    def once(self, command):
        """Seconds and peak memory (MiB) of one run; standard output goes nowhere."""
        start = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"exit code {child.returncode}: {' '.join(map(str, command))}")
        return seconds, usage.ru_maxrss / 1024

    def compare(self, commands):
        """Median seconds and largest memory of each command; they take turns, after one turn that does not count."""
        results = {name: [] for name in commands}
        for turn in range(self.turns + 1):
            for name, command in commands.items():
                result = self.once(command)
                if turn > 0:
                    results[name].append(result)
        return {
            name: (statistics.median(s for s, _ in runs), max(m for _, m in runs)) for name, runs in results.items()
        }


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def cpython(bench):
    print("\n### CPython 3.12 at work\n")
    row("workload", "plain", "record", "replay", "record / plain", "replay / record", "trace without module")
    row(*["---"] * 7)
    ratios, replays = [], []
    for name in WORKLOADS:
        # A fixed seed for hash(): with another one each time, the work itself differs by several percent.
        options = ["--dir", f"{ROOT}/bench/python::/bench", "--env", "PYTHONHASHSEED=0"]
        script = f"/bench/{name}.py"
        trace = bench.scratch / f"{name}.wrr"
        times = bench.compare({
            "plain": bench.plain(PYTHON, script, options=options),
            "record": [WRR, "record", "-o", trace, *options, PYTHON, script],
            "replay": [WRR, "replay", trace],
        })
        plain, record, replay = (times[mode][0] for mode in ["plain", "record", "replay"])
        ratios.append(record / plain)
        replays.append(replay / record)
        size = events_bytes(trace)
        row(name, f"{plain:.2f} s", f"{record:.2f} s", f"{replay:.2f} s", f"{ratios[-1]:.3f}", f"{replays[-1]:.3f}",
            f"{size[0]:,} bytes, {size[1]:,} events")
    row("geometric mean", "", "", "", f"{statistics.geometric_mean(ratios):.3f}",
        f"{statistics.geometric_mean(replays):.3f}", "")


def events_bytes(trace):
    """Bytes of the event chunks with their headers, and how many events they hold."""
    import json
    info = json.loads(subprocess.run([WRR, "info", "--json", trace], check=True, capture_output=True).stdout)
    chunks = [c for c in info["chunks"] if c["kind"] == "EVNT"]
    return sum(c["stored_bytes"] + 40 * c["count"] for c in chunks), info["events"]


def calls(bench):
    print("\n### A host call that only crosses the boundary\n")
    row("loop", "plain", "run", "record", "replay", "record above plain", "bytes an event")
    row(*["---"] * 7)
    for name, count in [("clock_loop", 10_000_000), ("write_loop", 10_000_000)]:
        module = GUESTS / f"{name}.wasm"
        trace = bench.scratch / f"{name}.wrr"
        times = bench.compare({
            "plain": bench.plain(module, count),
            "run": [WRR, "run", module, count],
            "record": [WRR, "record", "-o", trace, module, count],
            "replay": [WRR, "replay", trace],
        })
        ns = {mode: seconds * 1e9 / count for mode, (seconds, _) in times.items()}
        size, events = events_bytes(trace)
        row(f"{name}, {count:,}", *(f"{ns[mode]:.0f} ns" for mode in times), f"{ns['record'] - ns['plain']:.0f} ns",
            f"{size / events:.2f}")


def read(bench):
    print("\n### Reading 1 GB through fd_read in 64 KiB pieces\n")
    row("program and file", "plain", "run", "record", "replay", "record / plain", "peak memory of record", "trace")
    row(*["---"] * 8)
    module = GUESTS / "read_file.wasm"
    folder = bench.scratch / "data"
    folder.mkdir()
    for kind, make in [("a log", log_lines), ("random bytes", lambda n: os.urandom(n))]:
        path = folder / "file"
        with open(path, "wb") as file:
            for _ in range(1000):
                file.write(make(1_000_000))
        trace = bench.scratch / "read.wrr"
        options = ["--dir", f"{folder}::/data"]
        programs = [("nothing but reading", module, ["/data/file"])]
        if kind == "a log":
            programs.append(("ripgrep counting a pattern", RIPGREP, ["-c", "id=[0-9a-f]*f00d[0-9a-f]* ", "/data/file"]))
        for what, program, args in programs:
            times = bench.compare({
                "plain": bench.plain(program, *args, options=options),
                "run": [WRR, "run", *options, program, *args],
                "record": [WRR, "record", "-o", trace, *options, program, *args],
                "replay": [WRR, "replay", trace],
            })
            row(f"{what}, {kind}", *(f"{seconds:.2f} s" for seconds, _ in times.values()),
                f"{times['record'][0] / times['plain'][0]:.2f}", f"{times['record'][1]:.0f} MiB",
                f"{trace.stat().st_size / 1e6:.0f} MB")
            trace.unlink()
        path.unlink()


def log_lines(length):
    """Text as servers write it: the same words, other numbers."""
    import random
    lines, size = [], 0
    while size < length:
        line = (f"2026-01-{random.randrange(1, 29):02} {random.randrange(24):02}:{random.randrange(60):02}:"
                f"{random.randrange(60):02}.{random.randrange(1000):03} INFO request id={random.getrandbits(64):016x} "
                f"path=/api/v1/items/{random.randrange(100000)} status={random.choice([200, 200, 200, 304, 404, 500])} "
                f"bytes={random.randrange(100000)}\n")
        lines.append(line)
        size += len(line)
    return "".join(lines).encode()[:length]


def start(bench):
    print("\n### Start-up with a cached module\n")
    row("program", "plain (precompiled)", "run", "record", "replay")
    row(*["---"] * 5)
    nothing = bench.scratch / "nothing.wat"
    nothing.write_text('(module (memory (export "memory") 1) (func (export "_start")))')
    stop_at_once = ["-S", "-c", "0"]
    for name, module, args in [
        ("hello world (Rust)", GUESTS / "hello.wasm", []),
        ("CPython, `-S -c 0`", PYTHON, stop_at_once),
        ("CPython, `--version`: ends before the interpreter starts", PYTHON, ["--version"]),
    ]:
        trace = bench.scratch / "start.wrr"
        bench_turns, bench.turns = bench.turns, bench.turns * 3
        times = bench.compare({
            "plain": bench.plain(module, *args),
            "run": [WRR, "run", module, *args],
            "record": [WRR, "record", "-o", trace, module, *args],
            "replay": [WRR, "replay", trace],
        })
        bench.turns = bench_turns
        row(name, *(f"{seconds * 1000:.1f} ms" for seconds, _ in times.values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", default="cpython,calls,read,start")
    options = parser.parse_args()
    build()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="wrr-bench-"))
    try:
        bench = Bench(options.turns, scratch)
        print(f"Medians of {options.turns} turns.")
        for name in options.only.split(","):
            {"cpython": cpython, "calls": calls, "read": read, "start": start}[name](bench)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
