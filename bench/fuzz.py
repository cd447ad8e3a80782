"""Runs a second of `wrr fuzz`, and what it finds: `fuzz`, `bugs`."""

import json
import shutil
import statistics
import subprocess
import time

from harness import ROOT, WRR, row, strings, title

EXAMPLES = ROOT / "examples/fuzz/rust"
DECODERS = ROOT / "bench/fuzz-targets"
# The five example targets have twelve seeded bugs: together they get a minute.
SEEDED = ["archive", "chunks", "image", "json", "script"]
SEEDED_BUGS, SEEDED_SECONDS = 12, 60
# Until they are found, but no longer than this.
PUZZLES, PUZZLE_SECONDS = ["maze", "crackme"], 600


def build():
    for folder, target in [(EXAMPLES, "target/fuzz-targets"), (DECODERS, "target/fuzz-decoders")]:
        command = ["cargo", "build", "--quiet", "--release", "--locked", "--target", "wasm32-wasip1", "--examples"]
        command += ["--manifest-path", folder / "Cargo.toml", "--target-dir", target]
        subprocess.run(strings(command), cwd=ROOT, check=True)


def module(folder, name):
    target = "target/fuzz-targets" if folder == EXAMPLES else "target/fuzz-decoders"
    return ROOT / target / "wasm32-wasip1/release/examples" / f"{name}.wasm"


def campaign(bench, folder, name, options, until=None):
    """The events of a campaign that starts from the seeds; it is ended when `until` says so."""
    scratch = bench.scratch / "campaign"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder / "seeds" / name, scratch / "corpus")
    command = [WRR, "fuzz", module(folder, name), "--corpus", scratch / "corpus", "--crashes", scratch / "crashes"]
    events = []
    with subprocess.Popen(strings([*command, "--json", *options]), stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            events.append(json.loads(line))
            if until and until(events[-1]):
                child.terminate()
                until = None
    return events


def rate(events):
    """Runs a second between the first and the last status: without compiling and reading the corpus."""
    shown = [event for event in events if event["event"] in ("status", "end") and event["runs"] > 0]
    first, last = shown[0], shown[-1]
    return (last["runs"] - first["runs"]) / (last["seconds"] - first["seconds"])


def fuzz(bench):
    build()
    title("Runs a second, with coverage, from a snapshot", "target", "one worker", "two workers", "in relation")
    small = [(EXAMPLES, "json"), (EXAMPLES, "archive")]
    large = [(DECODERS, name) for name in ["inflate", "brotli", "lzma", "png"]]
    for folder, name in small + large:
        campaign(bench, folder, name, ["--runs", 100])  # Everything is compiled.
        rates = bench.take_turns({
            jobs: lambda jobs=jobs: rate(campaign(bench, folder, name, ["--time", 10, "--seed", 1, "-j", jobs]))
            for jobs in [1, 2]
        })
        one, two = (statistics.median(rates[jobs]) for jobs in [1, 2])
        row(name, f"{one:,.0f}", f"{two:,.0f}", f"{two / one:.2f}")


def bugs(bench):
    build()
    seconds = SEEDED_SECONDS / len(SEEDED)
    title(f"Seeded bugs found in {SEEDED_SECONDS} s by one worker", "target", "seconds", "bugs, after seconds")
    total = set()
    for name in SEEDED:
        campaign(bench, EXAMPLES, name, ["--runs", 100])
        found = {}
        for event in campaign(bench, EXAMPLES, name, ["--time", seconds, "--seed", 1]):
            if event["event"] == "finding" and "bug_" in (event["function"] or ""):
                number = int(event["function"].split("bug_")[1][:2])
                found.setdefault(number, event["seconds"])
        total |= set(found)
        row(name, f"{seconds:.0f}", ", ".join(f"{bug} ({at:.1f})" for bug, at in sorted(found.items())))
    row("together", f"{SEEDED_SECONDS}", f"{len(total)} of {SEEDED_BUGS}")
    title("Puzzles", "target", "found after", "runs")
    for name in PUZZLES:
        campaign(bench, EXAMPLES, name, ["--runs", 100])
        started = time.perf_counter()
        options = ["--time", PUZZLE_SECONDS, "--seed", 1]
        events = campaign(bench, EXAMPLES, name, options, lambda event: event["event"] == "finding")
        found = [event for event in events if event["event"] == "finding"]
        took = time.perf_counter() - started
        row(name, f"{found[0]['seconds']:.1f} s" if found else f"not in {took:.0f} s",
            f"{found[0]['runs']:,}" if found else f"{events[-1]['runs']:,}")
