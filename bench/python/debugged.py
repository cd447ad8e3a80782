"""A program to go back in: `debugged.py ROUNDS` works on dictionaries, objects, JSON, regular expressions, and fails.

One object is watched. Of its attributes one is set at the beginning and never again, one is changed once, in the
middle, and one in every round.
"""

import json
import re
import sys

KEPT = 200

number = re.compile(r'"n": (\d+)')


class Watched:
    def __init__(self):
        self.early = 1
        self.rare = 0
        self.often = 0


class Item:
    def __init__(self, name, size):
        self.name = name
        self.size = size

    def grow(self, by):
        self.size += by
        return self.size


def one_round(seed):
    table = {f"key-{i * 48271 % 9973}": i + seed for i in range(600)}
    items = [Item(name, size) for name, size in sorted(table.items())]
    total = sum(item.grow(seed % 7) for item in items)
    text = json.dumps([{"n": item.size, "name": item.name} for item in items])
    total += sum(int(match[1]) for match in number.finditer(text))
    total += len(json.loads(text))
    return total % 1_000_003, items[:50]


def main(rounds):
    obj = Watched()
    kept = {}
    for turn in range(rounds):
        total, items = one_round(turn)
        kept[turn % KEPT] = items
        if turn == rounds // 2:
            obj.rare = 1
        obj.often = turn + 1
    assert obj.rare == 0, "it was changed"


main(int(sys.argv[1]))
