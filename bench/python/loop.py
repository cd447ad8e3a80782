"""One loop with little in it."""

import sys


def main(steps):
    total = 0
    for i in range(steps):
        total += i & 7
    return total


print("loop", main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000))
