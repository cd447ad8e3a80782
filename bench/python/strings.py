"""Strings and bytes: joining, splitting, replacing, formatting, searching, encoding."""

import sys

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
WORDS = 6_000


def one_round(seed):
    words = [f"{(i * 48271 + seed) % 9973:x}-{i % 17:03d}" for i in range(WORDS)]
    text = " ".join(words)
    text = text.replace("a", "äöü").replace("1", "").upper()
    parts = [part.strip("-0").title() for part in text.split()]
    parts.sort()
    joined = "/".join(reversed(parts))
    data = joined.encode("utf-8")
    found = sum(joined.count(needle) for needle in ("Äöü", "B-", "9", "/F"))
    letters = sum(1 for letter in joined if letter.isalpha())
    return found + letters + len(data) + data[len(data) // 2] + joined.find("Zz")


checksum = 0
for i in range(ROUNDS):
    checksum = (checksum * 31 + one_round(i)) % 1_000_000_007
print("strings", checksum)
