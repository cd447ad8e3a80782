"""What recording and replaying cost at the boundary of the guest: `cpython`, `calls`, `read`, `start`."""

import os
import statistics

from harness import GUESTS, PYTHON, RIPGREP, SCRIPTS, WRR, events_bytes, log_lines, row, title

WORKLOADS = ["recurse", "dicts", "strings", "json_work", "re_work"]


def cpython(bench):
    title("CPython 3.12 at work", "workload", "plain", "record", "replay", "record / plain", "replay / record",
          "trace without module")
    ratios, replays = [], []
    for name in WORKLOADS:
        script = f"/bench/{name}.py"
        trace = bench.scratch / f"{name}.wrr"
        times = bench.compare({
            "plain": bench.plain(PYTHON, script, options=SCRIPTS),
            "record": [WRR, "record", "-o", trace, *SCRIPTS, PYTHON, script],
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


def calls(bench):
    title("A host call that only crosses the boundary", "loop", "plain", "run", "record", "replay", "record above plain",
          "bytes an event")
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
    title("Reading 1 GB through fd_read in 64 KiB pieces", "program and file", "plain", "run", "record", "replay",
          "record / plain", "peak memory of record", "trace")
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


def start(bench):
    title("Start-up with a cached module", "program", "plain (precompiled)", "run", "record", "replay")
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
