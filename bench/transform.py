"""What instrumenting a module takes, and what it makes of a first start: `transform`."""

import os
import re
import shutil
import statistics
import subprocess
from functools import partial

from harness import BOOLECTOR, PLAIN, PYTHON, RIPGREP, ROOT, WRR, row, title

EXAMPLE = ROOT / "target/bench/release/examples/transform"
PROGRAMS = {"CPython": PYTHON, "ripgrep": RIPGREP, "Boolector": BOOLECTOR}
TOLD = re.compile(
    r"(?P<functions>\d+) functions, (?P<capturable>\d+) of them capturable; parsed in (?P<parsed>\S+), "
    r"transformed in (?P<total>\S+);"
)
WASM_HEADER_BYTES = 8
CODE_SECTION = 10
UNITS_MS = {"ns": 1e-6, "µs": 1e-3, "ms": 1, "s": 1e3}


def transform(bench):
    build_example()
    title("Transforming a module", "module", "code", "functions, capturable", "code to run", "parsed and transformed",
          "code to inspect", "parsed and transformed")
    for name, module in PROGRAMS.items():
        variants = bench.take_turns({variant: partial(transform_once, bench, module, variant)
                                     for variant in ["run", "inspect"]})
        original = code_bytes(module)
        cells = [cell for results in variants.values() for cell in variant_cells(original, results)]
        last = variants["run"][-1]
        row(name, f"{original / 1e6:.2f} MB", f"{last['functions']}, {last['capturable']}", *cells)
    first_start(bench)


def build_example():
    command = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "wrr-transform", "--example", "transform"]
    subprocess.run([*command, "--target-dir", "target/bench"], cwd=ROOT, check=True)


def transform_once(bench, module, variant):
    """What the example tells, and the bytes of the new code section: custom sections would hide how it grows."""
    to = bench.scratch / "transformed.wasm"
    told = TOLD.search(bench.told([EXAMPLE, module, to, variant])[0])
    return {**told.groupdict(), "code_bytes": code_bytes(to)}


def code_bytes(module):
    """The length of a module's code section."""
    data = module.read_bytes()
    at = WASM_HEADER_BYTES
    while at < len(data):
        section = data[at]
        size, at = leb128(data, at + 1)
        if section == CODE_SECTION:
            return size
        at += size
    return 0


def leb128(data, at):
    """An unsigned number and where it ends."""
    number, shift = 0, 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return number, at


def variant_cells(original, results):
    ms = statistics.median(duration_ms(result["total"]) for result in results)
    size = results[-1]["code_bytes"]
    return [f"{size / 1e6:.2f} MB, {size / original:.2f}x", f"{ms:.0f} ms"]


def duration_ms(text):
    """Rust's way of printing a duration: 1.50s, 12.34ms."""
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()
    return float(number) * UNITS_MS[unit]


def first_start(bench):
    title("First start, with an empty cache: `--version`", "program", "plain, compiling", "run", "record",
          "replay --goto end", "run / plain")
    for name, module in PROGRAMS.items():
        trace = bench.scratch / "first.wrr"
        commands = {
            "plain": [PLAIN, module, "--version"],
            "run": [WRR, "run", module, "--version"],
            "record": [WRR, "record", "-o", trace, module, "--version"],
            "goto": [WRR, "replay", trace, "--goto", "end"],
        }
        results = {what: [] for what in commands}
        # All turns count: there is nothing to warm up.
        for _ in range(min(bench.turns, 3)):
            for what, command in commands.items():
                shutil.rmtree(os.environ["WRR_CACHE"], ignore_errors=True)
                results[what].append(bench.once(command)[0])
        times = {what: statistics.median(seconds) for what, seconds in results.items()}
        row(name, *(f"{seconds:.2f} s" for seconds in times.values()), f"{times['run'] / times['plain']:.2f}")
