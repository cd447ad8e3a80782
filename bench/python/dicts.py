"""Dictionaries with integer, string and tuple keys: insertion, lookup, deletion, iteration."""

import sys

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 22
SIZE = 40_000


def one_round(seed):
    numbers = {}
    for i in range(SIZE):
        key = (i * 2654435761 + seed) % 65_521
        numbers[key] = numbers.get(key, 0) + i
    words = {f"key-{key}": value for key, value in numbers.items()}
    pairs = {(key % 251, key % 241): value for key, value in numbers.items()}
    for i in range(0, 65_521, 3):
        numbers.pop(i, None)
    total = sum(words[f"key-{key}"] for key in numbers)
    return (total + sum(pairs.values()) + len(pairs)) % 1_000_000_007


checksum = 0
for i in range(ROUNDS):
    checksum = (checksum * 31 + one_round(i)) % 1_000_000_007
print("dicts", checksum)
