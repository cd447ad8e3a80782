"""Files of a program in its folder and in an overlay: `files`."""

import shutil
import statistics
import subprocess

from harness import PYTHON, SCRIPTS, WRR, row, strings, title


def files(bench):
    title("Work on files in CPython, recorded", "what", "folder", "overlay", "in relation")
    folder = bench.scratch / "files"

    def times(fs):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        command = [WRR, "record", "--fs", fs, "--checkpoint-every", "off", "-o", bench.scratch / "files.wrr",
                   "--dir", f"{folder}::/files", *SCRIPTS, PYTHON, "/bench/files.py"]
        told = subprocess.run(strings(command), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        return {what: float(seconds) for what, seconds in (line.split(": ") for line in told.splitlines())}

    times("host")  # Everything is compiled.
    turns = [(times("host"), times("overlay")) for _ in range(bench.turns)]
    for what in turns[0][0]:
        host, overlay = (statistics.median(turn[way][what] for turn in turns) for way in (0, 1))
        row(what, f"{host * 1e3:.1f} ms", f"{overlay * 1e3:.1f} ms", f"{overlay / host:.2f}")
