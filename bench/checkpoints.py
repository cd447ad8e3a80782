"""What checkpoints cost and what they give: `record`, `pause`, `busy`, `seek`, `resume`."""

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from functools import partial

from harness import BOOLECTOR, GUESTS, PYTHON, RIPGREP, ROOT, SCRIPTS, WRR, chunk_bytes, info, log_lines, row, title

OFF = ["--checkpoint-every", "off"]
# Each takes about 2 to 5 seconds.
PYTHON_SIZES = {"recurse": 35, "dicts": 33, "strings": 140, "json_work": 150, "re_work": 190}
KERNEL_SIZES = {
    "matrix": 1_400,
    "sieve": 50_000_000,
    "sha256": 600,
    "hash_table": 50_000_000,
    "fib": 43,
    "nbody": 40_000_000,
    "integers": 1_500,
    "memory_copy": 3_000,
}
LOG_BLOCK_BYTES = 20_000_000
LOG_BLOCKS = 10

PAUSE_PAGES = [1_000, 10_000]
PAUSE_SECONDS = 5
PAUSE_EVERY = "100ms"
PAUSE_FIGURES = ["p50_us", "p99_us", "max_us"]
CHECKPOINT_LINE = re.compile(
    r"checkpoint at tick (\d+): (\d+) pages written, ([\d.]+) ms of the guest's time"
)

BANK = ROOT / "bench/bank.py"
BANK_ROUNDS_A_SECOND = 110

LONG_LOOPS = {
    "CPython": (PYTHON, ["/bench/long_loop.py", 6_000_000], SCRIPTS),
    "integers": (GUESTS / "long_loop.wasm", ["integers", 12], []),
    "matrix": (GUESTS / "long_loop.wasm", ["matrix", 1_200], []),
}
LAST_PARTS = re.compile(r"last parts: ([\d.]+) s")


def record(bench):
    title("Recording, with a checkpoint every second and without", "program", "plain", "record, no checkpoints",
          "record", "record, no checkpoints / plain", "record / plain", "checkpoints")
    without, ratios = {}, {}
    for name, (module, args, options) in record_programs(bench).items():
        trace = bench.scratch / "record.wrr"
        times = bench.compare({
            "plain": bench.plain(module, *args, options=options),
            "off": [WRR, "record", *OFF, "-o", bench.scratch / "off.wrr", *options, module, *args],
            "every": [WRR, "record", "--checkpoint-every", "1s", "-o", trace, *options, module, *args],
        })
        plain, off, every = (seconds for seconds, _ in times.values())
        without[name], ratios[name] = off / plain, every / plain
        row(name, f"{plain:.2f} s", f"{off:.2f} s", f"{every:.2f} s", f"{without[name]:.3f}", f"{ratios[name]:.3f}",
            len(info(trace)["checkpoints"]))
    both = [without, ratios]
    row("geometric mean", "", "", "", *(f"{statistics.geometric_mean(r.values()):.3f}" for r in both), "")
    row("worst", "", "", "", *(f"{max(r.values()):.3f}, {max(r, key=r.get)}" for r in both), "")


def record_programs(bench):
    """Module, arguments and options of each program, by name."""
    python = {f"CPython, {name}": (PYTHON, [f"/bench/{name}.py", size], SCRIPTS)
              for name, size in PYTHON_SIZES.items()}
    kernels = {name: (GUESTS / f"{name}.wasm", [size], []) for name, size in KERNEL_SIZES.items()}
    log = bench.scratch / "log"
    log.mkdir()
    block = log_lines(LOG_BLOCK_BYTES)
    with open(log / "file", "wb") as file:
        for _ in range(LOG_BLOCKS):
            file.write(block)
    return {
        **python,
        "Boolector": (BOOLECTOR, ["--exit-codes=0", "/smt/squares.smt2"], ["--dir", f"{ROOT}/bench/smt::/smt"]),
        "ripgrep, 200 MB": (RIPGREP, ["--only-matching", r"\w+=\w*0\b", "/log/file"], ["--dir", f"{log}::/log"]),
        **kernels,
    }


def pause(bench):
    gaps, steps = {}, {}
    for pages in PAUSE_PAGES:
        gaps[pages], steps[pages] = pause_measurements(bench, pages)
    title(f"What a guest feels: times between its host calls, checkpoints every {PAUSE_EVERY}", "pages written between",
          *(f"{mode}: p50, p99, longest" for mode in ["plain", "record, no checkpoints", "record"]))
    for pages in PAUSE_PAGES:
        row(f"{pages:,}", *(", ".join(f"{us:,.0f} µs" for us in figures) for figures in gaps[pages].values()))
    title("What a checkpoint takes of the guest's time", "pages written between", "checkpoints", "time: p50, longest",
          "bytes a checkpoint, own + pages")
    for pages in PAUSE_PAGES:
        row(f"{pages:,}", *steps[pages])


def pause_measurements(bench, pages):
    """The guest's figures in microseconds by way of running it; what its checkpoints took."""
    trace = bench.scratch / f"pause-{pages}.wrr"
    program = [GUESTS / "dirty_pages.wasm", pages, PAUSE_SECONDS]
    record_it = [WRR, "record", "-o", trace]
    results = bench.take_turns({
        "plain": partial(bench.told, bench.plain(*program)),
        "off": partial(bench.told, [*record_it, *OFF, *program]),
        "every": partial(bench.told, [*record_it, "--checkpoint-every", PAUSE_EVERY, *program], {"WRR_DEBUG": "1"}),
    })
    gaps = {mode: pause_gaps([out for out, _ in told]) for mode, told in results.items()}
    lines = [line for _, err in results["every"] for line in CHECKPOINT_LINE.findall(err)]
    took = quantiles_ms([float(line[2]) for line in lines], 0.5, 1)
    checkpoints, own, page_bytes = checkpoint_bytes(info(trace))
    return gaps, [f"{checkpoints} in {PAUSE_SECONDS} s", took, f"{own:,.0f} + {page_bytes:,.0f}"]


def pause_gaps(outputs):
    """Medians over the turns of what the guest printed."""
    return [statistics.median(float(re.search(rf"{figure} ([\d.]+)", out)[1]) for out in outputs)
            for figure in PAUSE_FIGURES]


def checkpoint_bytes(told):
    """How many checkpoints there are; bytes of each in its own chunks, and in those of pages."""
    count = len(told["checkpoints"])
    return count, *(chunk_bytes(told, *kinds) / max(count, 1) for kinds in [["ckpt", "ckpd"], ["page"]])


def quantiles_ms(times_ms, *shares):
    """Quantiles of some times for a cell of a table."""
    if not times_ms:
        return "not told"
    ordered = sorted(times_ms)
    last = len(ordered) - 1
    return ", ".join(f"{ordered[round(share * last)]:,.1f} ms" for share in shares)


def busy(bench):
    """A recording next to as many busy processes as there are processors, and moments of it."""
    trace = bench.scratch / "busy.wrr"
    rounds = str(int(bench.seconds * BANK_ROUNDS_A_SECOND))
    loads = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        start = time.perf_counter()
        # Its books do not balance, so it fails in the end.
        subprocess.run([WRR, "py", "-o", trace, BANK, rounds], cwd=bench.scratch, capture_output=True)
        seconds = time.perf_counter() - start
        told = info(trace)
        end = last_tick(bench, trace)
        ticks = random.Random(1).choices(range(end + 1), k=bench.seeks)
        seek_once(bench, trace, end // 2)
        seeks = [seek_once(bench, trace, tick)["process"] for tick in ticks]
    finally:
        for load in loads:
            load.kill()
    longest = told["checkpoint_plan"]["gap_ns_max"] / 1e9
    title(f"`wrr py` of a bank next to {len(loads)} busy processes", "recorded", "checkpoints", "longest time without one",
          "seeks", "p50, p90, longest", "file without module")
    size = trace.stat().st_size - chunk_bytes(told, "MODL")
    row(f"{seconds:.0f} s", len(told["checkpoints"]), f"{longest:.1f} s", len(seeks), quantiles_ms(seeks, 0.5, 0.9, 1),
        f"{size / 1e6:.1f} MB")


def seek(bench):
    trace, indexed = bench.scratch / "seek.wrr", bench.scratch / "indexed.wrr"
    bench.told([WRR, "record", "-o", trace, *SCRIPTS, PYTHON, "/bench/compute.py", bench.seconds])
    shutil.copy(trace, indexed)
    bench.told([WRR, "index", indexed, "--max-seek", "200ms"])
    end = last_tick(bench, trace)
    ticks = random.Random(1).choices(range(end + 1), k=bench.seeks)
    traces = {"as recorded": trace, "after `wrr index --max-seek 200ms`": indexed}
    title(f"{bench.seeks} seeks in a recording of {bench.seconds:g} s of CPython", "trace", "checkpoints", "time",
          "p50, p90, p99, longest")
    for name, path in traces.items():
        told = info(path)
        for what, times in seek_times(bench, path, told, ticks).items():
            row(name, len(told["checkpoints"]), what, quantiles_ms(times, 0.5, 0.9, 0.99, 1))
    title("What checkpoints take in that recording", "trace", "file", "checkpoints", "the last one is at",
          "own bytes of one", "bytes of its pages", "file per checkpoint")
    before = chunk_bytes(info(trace), "MNFT", "host", "MODL", "EVNT", "time", "ENDG")
    for name, path in traces.items():
        told, size = info(path), path.stat().st_size
        count, own, pages = checkpoint_bytes(told)
        row(name, f"{size / 1e6:.1f} MB", count, f"{last_checkpoint_share(told, end):.0%}", f"{own:,.0f}",
            f"{pages:,.0f}", f"{(size - before) / max(count, 1):,.0f} bytes")


def last_checkpoint_share(told, end):
    """How far into the run checkpoints reach."""
    return max((checkpoint["tick"] for checkpoint in told["checkpoints"]), default=0) / end


def last_tick(bench, trace):
    return json.loads(bench.told([WRR, "replay", trace, "--goto", "end", "--json"])[0])["tick"]


def seek_times(bench, trace, told, ticks):
    """Milliseconds of each seek, each in a process of its own, after one to every checkpoint that does not count."""
    for checkpoint in told["checkpoints"]:
        seek_once(bench, trace, checkpoint["tick"])
    seeks = [seek_once(bench, trace, tick) for tick in ticks]
    return {what: [times[what] for times in seeks] for what in seeks[0]}


def seek_once(bench, trace, tick):
    start = time.perf_counter()
    out, _ = bench.told([WRR, "replay", trace, "--goto", tick, "--json"])
    process_ms = (time.perf_counter() - start) * 1e3
    told = json.loads(out)["seek"]
    return {"process": process_ms, "seek.total_ms": told["total_ms"], "seek.restore_ms": told["restore_ms"]}


def resume(bench):
    title("The last 40 % of a loop that is resumed in its middle", "loop", "plain", "run", "resume", "record",
          "resume -o", "resume / run", "resume -o / record")
    for name, (module, args, options) in LONG_LOOPS.items():
        trace = bench.scratch / f"resume-{name}.wrr"
        program = [*options, module, *args]
        bench.told([WRR, "record", "-o", trace, *program])
        folders = [option for pair in zip(options, options[1:]) if pair[0] == "--dir" for option in pair]
        again = [WRR, "resume", trace, "--at", "50%", *folders]
        results = bench.take_turns({what: partial(last_parts_seconds, bench, command) for what, command in {
            "plain": bench.plain(module, *args, options=options),
            "run": [WRR, "run", *program],
            "resume": again,
            "record": [WRR, "record", *OFF, "-o", bench.scratch / "record.wrr", *program],
            "resume -o": [*again, *OFF, "-o", bench.scratch / "resumed.wrr"],
        }.items()})
        times = {what: statistics.median(seconds) for what, seconds in results.items()}
        row(name, *(f"{seconds:.3f} s" for seconds in times.values()), f"{times['resume'] / times['run']:.3f}",
            f"{times['resume -o'] / times['record']:.3f}")


def last_parts_seconds(bench, command):
    """What a long loop prints about its last parts."""
    return float(LAST_PARTS.search(bench.told(command)[0])[1])
