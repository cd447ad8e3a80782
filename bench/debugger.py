"""The Python inside of wrr, and the debugger on recordings of it: `py`, `debugger`, `bank`."""

import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import threading
import time

from checkpoints import quantiles_ms
from harness import PYTHON, ROOT, WRR, row, strings, title

GUEST = ROOT / "guest-interp/target/wasm32-wasip1/release/python.wasm"
SCRIPTS = ROOT / "bench/python"
# All interpreters find the scripts under the names that they have here.
WORLD = ["--dir", SCRIPTS, "--env", "PYTHONHASHSEED=0"]
# Each takes about 1 to 3 seconds; the first one tells what starting takes of them.
PROGRAMS = {
    "one line": ("fib.py", [1]),
    "fib(27), 10 times": ("fib.py", [27, 10]),
    "a loop, 10,000,000": ("loop.py", [10_000_000]),
    "dicts": ("dicts.py", [14]),
    "json_work": ("json_work.py", [150]),
    "re_work": ("re_work.py", [70]),
}
STARTING = "one line"

DEBUGGED = SCRIPTS / "debugged.py"
FAILS = "assert obj.rare == 0"
BANK = ROOT / "bench/bank.py"
BANK_FAILS = "assert total == ACCOUNTS * OPENING"
# A bank that is small, so that what the debugger needs is compiled before it is measured.
BANK_SHORT_ROUNDS = 200
# How much the debugger is used before it is measured: what it needs is compiled then.
SHORT_ROUNDS = 200
SHORT_SEEKS = 20
# What is not done in so many times the recording's own time, and what comes on top of that, is given up.
PATIENCE = 20
COMPILING_SECONDS = 300
WHEN = re.compile(r"tick (\d+) of (\d+) \(")
COMPLAINT = re.compile(r"^(error|warning): ", re.MULTILINE)
PEAK = re.compile(r"VmHWM:\s*(\d+) kB")
# Random moments are in that part of a run in which the program is at work: before, it imports its modules.
WORKING_FROM_PERCENT = 10
# How far before a moment the debugger may stop for it: an instruction of the program may take long.
BEFORE_PERCENT_MAX = 1


def py(bench):
    """Aims: `wrr py` at most 1.15x of plain, plain at most 1.2x of CPython."""
    # What is compiled is kept under the module's name, and CPython's is the same.
    guest = bench.scratch / "rustpython.wasm"
    guest.symlink_to(GUEST)
    title("The Python inside of wrr", "program", "plain", "wrr py", "CPython, plain", "wrr py / plain",
          "plain / CPython")
    ratios = []
    for name, (script, args) in PROGRAMS.items():
        program = [SCRIPTS / script, *args]
        times = bench.compare({
            "plain": bench.plain(guest, *program, options=WORLD),
            "wrr py": [WRR, "py", "-o", bench.scratch / "py.wrr", *WORLD, *program],
            "CPython": bench.plain(PYTHON, *program, options=WORLD),
        })
        plain, recorded, cpython = (seconds for seconds, _ in times.values())
        row(name, *(f"{seconds:.2f} s" for seconds in [plain, recorded, cpython]), f"{recorded / plain:.3f}",
            f"{plain / cpython:.3f}")
        if name != STARTING:
            ratios.append((recorded / plain, plain / cpython))
    means = (f"{statistics.geometric_mean(column):.3f}" for column in zip(*ratios))
    row(f"geometric mean without {STARTING}", "", "", "", *means)


def debugger(bench):
    """Aims: `go` 1 s and `bstep` 300 ms at p99; a search takes no longer than the recording; three times its memory."""
    short, trace = bench.scratch / "short.wrr", bench.scratch / "debugged.wrr"
    record(short, 1)  # Compiles.
    first, rest = record(short, 1)[0], record(short, SHORT_ROUNDS)[0]
    with Session(short, rest, SHORT_ROUNDS) as session:
        seek(session, SHORT_SEEKS)
        for _ in search(session):
            pass
    rounds = max(round((SHORT_ROUNDS - 1) * bench.seconds / (rest - first)), 2)
    recorded, recorder_mib = record(trace, rounds)
    with Session(trace, recorded, rounds) as session:
        title(f"The debugger in a recording of {recorded:.1f} s of Python, at {bench.seeks} random moments", "command",
              "p50, p90, p99, longest")
        row("none: it starts", quantiles_ms([1e3 * session.start_seconds], 1))
        for what, times in seek(session, bench.seeks).items():
            row(what, quantiles_ms([1e3 * seconds for seconds in times], 0.5, 0.9, 0.99, 1))
        title("The same recording, from its crash", "command", "time", "in relation to recording")
        for what, seconds in search(session):
            row(what, f"{seconds:.2f} s", f"{seconds / recorded:.3f}")
        debugger_mib = session.peak_mib()
    title("Peak memory of the same", "recorder", "debugger", "debugger / recorder")
    row(f"{recorder_mib:.0f} MiB", f"{debugger_mib:.0f} MiB", f"{debugger_mib / recorder_mib:.2f}")


def bank(bench):
    """Aims: start 0.5 s, `go crash` 1 s, `bstep` p99 100 ms, the last of a million changes 100 ms, a change at 1 % of
    the run 0.3x of the recording's time if it is rarely written, 0.7x if its pages are written; memory 2x."""
    short, trace = bench.scratch / "short-bank.wrr", bench.scratch / "bank.wrr"
    record(short, 1, BANK)  # Compiles.
    first, rest = record(short, 1, BANK)[0], record(short, BANK_SHORT_ROUNDS, BANK)[0]
    with Session(short, rest, BANK_SHORT_ROUNDS, BANK) as session:
        seek(session, SHORT_SEEKS)
        for _ in search_bank(session):
            pass
    rounds = max(round((BANK_SHORT_ROUNDS - 1) * bench.seconds / (rest - first)), 200)
    recorded, recorder_mib = record(trace, rounds, BANK)
    with Session(trace, recorded, rounds, BANK) as session:
        title(f"The debugger in a recording of {recorded:.1f} s of a bank in Python, at {bench.seeks} random moments",
              "command", "p50, p90, p99, longest")
        row("none: it starts", quantiles_ms([1e3 * session.start_seconds], 1))
        for what, times in seek(session, bench.seeks).items():
            row(what, quantiles_ms([1e3 * seconds for seconds in times], 0.5, 0.9, 0.99, 1))
        title("The same recording, from its crash", "command", "time", "in relation to recording")
        for what, seconds in search_bank(session):
            row(what, f"{seconds:.2f} s", f"{seconds / recorded:.3f}")
        debugger_mib = session.peak_mib()
    title("Peak memory of the same", "recorder", "debugger", "debugger / recorder")
    row(f"{recorder_mib:.0f} MiB", f"{debugger_mib:.0f} MiB", f"{debugger_mib / recorder_mib:.2f}")


def search_bank(session):
    """Seconds of each command that tells where a value comes from, as they come."""
    questions = [
        ("bank.moves", "", "self.moves += 1"),
        ("bank.rules.limit", "500 -> 600\n", "bank.rules.limit = 600"),
        ("bank.accounts[0].kind", "'new' -> 'regular'\n", 'bank.accounts[0].kind = "regular"'),
    ]
    for number, (watched, change, statement) in enumerate(questions, 1):
        yield "`go crash`", session.carry_out("go crash", statement=BANK_FAILS)
        told = f"watchpoint {number}: {watched}: "
        yield f"`watch {watched}`", session.carry_out(f"watch {watched}", told)
        seconds = session.carry_out("bcontinue", f"{told}{change}", statement)
        yield f"`bcontinue`, back to {session.percent():.0f} %", seconds
        session.carry_out("delete")


def record(trace, rounds, program=DEBUGGED):
    """Seconds and peak memory (MiB) of a recording, which ends with the failed assertion."""
    command = strings([WRR, "py", "-o", trace, *WORLD, program, rounds])
    start = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 1:
        sys.exit(f"exit code {child.returncode} instead of 1: {' '.join(command)}")
    return seconds, usage.ru_maxrss / 1024


def seek(session, seeks):
    """Seconds of each seek to a random moment, of a step back from there, and of one more."""
    chosen = random.Random(1)
    times = {"`go T`": [], "`bstep`": [], "`bstep` again": []}
    session.carry_out("go crash")
    until_percent = session.percent()
    for _ in range(seeks):
        times["`go T`"].append(session.go(chosen.uniform(WORKING_FROM_PERCENT, until_percent)))
        times["`bstep`"].append(session.step_back())
        times["`bstep` again"].append(session.step_back())
    return times


def search(session):
    """Seconds of each command that tells what has happened to an object, as they come."""
    changes = {
        "rare": ("0 -> 1", "obj.rare = 1"),
        "early": ("<AttributeError: 'Watched' object has no attribute 'early'> -> 1", "self.early = 1"),
        "often": (f"{session.rounds - 1} -> {session.rounds}", "obj.often = turn + 1"),
    }
    yield "`go crash`", session.carry_out("go crash", statement=FAILS)
    yield "`print obj`", session.carry_out("print obj", "$1 = <__main__.Watched object at ")
    for number, (name, (change, statement)) in enumerate(changes.items(), 1):
        session.carry_out("delete")
        session.carry_out("go crash", statement=FAILS)
        watched = f"watchpoint {number}: $1.{name}: "
        yield f"`watch $1.{name}`", session.carry_out(f"watch $1.{name}", watched)
        seconds = session.carry_out("bcontinue", f"{watched}{change}\n", statement)
        yield f"`bcontinue`, back to {session.percent():.0f} %", seconds


class Session:
    """A debugger at work: it gets one command after the other, and what it says is checked."""

    def __init__(self, trace, recorded, rounds, program=DEBUGGED):
        self.rounds, self.program = rounds, program
        self.patience_seconds = PATIENCE * recorded + COMPILING_SECONDS
        self.tick, self.last_tick = 0, 0
        self.child = subprocess.Popen(strings([WRR, "debug", trace]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)
        self.start_seconds = self.carry_out("")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.communicate()

    def carry_out(self, command, expected="", statement=None):
        """Seconds until it has obeyed, has said what is expected, and stands before a statement."""
        patience = threading.Timer(self.patience_seconds, self.child.kill)
        patience.daemon = True
        patience.start()
        start = time.perf_counter()
        print(command, "when", sep="\n", file=self.child.stdin, flush=True)
        said, when = "", None
        for line in self.child.stdout:
            said += line
            if when := WHEN.match(line):
                break
        seconds = time.perf_counter() - start
        patience.cancel()
        place = f"{self.program.name}:{line_of(self.program, statement)} in " if statement else ""
        if not when or expected not in said or place not in said or COMPLAINT.search(said):
            self.fail(f"{command}, after {seconds:.0f} s", f"{expected}{place}", said)
        self.tick, self.last_tick = (int(number) for number in when.groups())
        return seconds

    def fail(self, command, expected, said):
        sys.exit(f"the debugger: {command}: {expected!r} was expected, it said: {said}")

    def go(self, percent):
        seconds = self.carry_out(f"go {percent:.4f}%")
        if not percent - BEFORE_PERCENT_MAX <= self.percent() <= percent + 0.0001:
            self.fail(f"go {percent:.4f}%", "a place shortly before", f"{self.percent():.4f}%")
        return seconds

    def step_back(self):
        before = self.tick
        seconds = self.carry_out("bstep")
        if self.tick >= before:
            self.fail("bstep", f"a tick before {before}", self.tick)
        return seconds

    def percent(self):
        return 100 * self.tick / self.last_tick

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(PEAK.search(status)[1]) / 1024


def line_of(program, statement):
    """The number of the line of a program that begins with a statement."""
    lines = program.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip().startswith(statement))
