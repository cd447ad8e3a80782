"""One loop of one function from beginning to end: `long_loop.py STEPS` works in 100 parts and prints the seconds that
parts 60 to 100 took. A run that is resumed at 50 % resumes in there."""

import sys
import time

PARTS = 100
MEASURED_FROM = 60


def main(steps):
    x = 0
    for part in range(PARTS):
        if part == MEASURED_FROM:
            start = time.perf_counter()
        for i in range(steps // PARTS):
            x = (x * 31 + i) % 1_000_003
    print(f"last parts: {time.perf_counter() - start:.4f} s")


main(int(sys.argv[1]))
