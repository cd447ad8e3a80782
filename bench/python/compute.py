"""Computes for a number of seconds: calls, dictionaries, strings, JSON, regular expressions, with a growing heap."""

import json
import re
import sys
import time

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
KEPT = 400

number = re.compile(r'"n": (\d+)')


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def one_round(seed):
    table = {f"key-{i * 48271 % 9973}": i + seed for i in range(3_000)}
    text = json.dumps([{"n": value, "name": key} for key, value in sorted(table.items())])
    total = sum(int(match[1]) for match in number.finditer(text))
    words = text.upper().split()
    return total + fib(17) + len({word[-4:] for word in words}), words[:200]


def main():
    checksum, rounds, kept = 0, 0, {}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        total, words = one_round(rounds)
        kept[rounds % KEPT] = words
        checksum = (checksum * 31 + total) % 1_000_000_007
        rounds += 1
    print("compute", rounds, len(kept), checksum)


main()
