"""Going back, forking, and one run from a moment for each of many tests: `rollback`, `branch`."""

import subprocess
import time

from harness import PYTHON, ROOT, WRR, row, strings, title

SYMPY = ROOT / "real/sympy"
SUITE = ROOT / "examples/branch"
# How many tests, and how many of them are run the other way: starting takes so long that a sample does.
TESTS, STARTED = 200, 20
WORLD = ["--dir", f"{SYMPY}::/lib", "--dir", f"{SUITE}::/suite", "--env", "PYTHONPATH=/lib"]


def rollback(_bench):
    title("Going back and forking", "what", "figures")
    command = ["cargo", "run", "--quiet", "--release", "--locked", "-p", "wrr", "--example", "rollbacks"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for line in told.splitlines():
        row(*line.split(": ", 1))


def branch(bench):
    title("200 tests of SymPy in CPython", "way", "seconds", "in relation")
    program = [PYTHON, "/suite/suite.py"]
    # Also makes Python's own compiled files, which all of them use then.
    listed = subprocess.run(strings([WRR, "run", *WORLD, *program, "list", TESTS]), check=True, capture_output=True,
                            text=True).stdout
    tests = bench.scratch / "tests"
    tests.write_text(listed)
    trace = bench.scratch / "suite.wrr"
    subprocess.run(strings([WRR, "record", "-o", trace, *WORLD, *program]), check=True, input=b"\n",
                   stdout=subprocess.DEVNULL)
    events = subprocess.run(strings([WRR, "events", trace]), check=True, capture_output=True, text=True).stdout
    reads = [line for line in events.splitlines() if " fd_read fd=0 " in line]
    moment = reads[-1].split()[0]
    directories = [option for option in WORLD if "PYTHONPATH" not in option and option != "--env"]

    def timed(action):
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    def branched():
        command = [WRR, "branch", trace, "--at", moment, "--each", tests, *directories]
        subprocess.run(strings(command), check=True, stdout=subprocess.DEVNULL)

    def started():
        for line in listed.splitlines()[:: TESTS // STARTED]:
            command = bench.plain(*program, "one", line, options=WORLD)
            subprocess.run(strings(command), check=True, stdout=subprocess.DEVNULL)

    branched(), started()  # Everything is compiled.
    turns = [(timed(branched), timed(started) * TESTS / STARTED) for _ in range(bench.turns)]
    one, other = (sorted(times)[len(times) // 2] for times in zip(*turns))
    row("`wrr branch`, once set up", f"{one:.1f} s", "1")
    row(f"plain engine, compiled before, {TESTS} starts (of which {STARTED} are measured)", f"{other:.1f} s",
        f"{other / one:.1f}")
