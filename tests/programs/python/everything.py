# env: GREETING=hello
# dir: /work
# dir: /scripts (this directory)
# stdin: one line\nanother line\n
# exit: 7
"""Asks the host for everything that a CPython program usually asks for, and prints it.

Files, environment, three clocks, randomness from five sources, standard input to its end, both outputs, an exit code.
"""

import json
import os
import random
import re
import sys
import time
import uuid


def tree(path):
    for root, dirs, files in os.walk(path):
        dirs.sort()
        for name in sorted(files):
            yield os.path.join(root, name)


print("argv:", sys.argv[1:])
print("environment:", {key: os.environ[key] for key in sorted(os.environ)})

for path in tree("/work"):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    info = os.stat(path)
    assert info.st_size == len(text.encode())
    print(f"{path}: {info.st_size} bytes, mode {info.st_mode:o}, modified {info.st_mtime:.0f}")
print("listdir:", sorted(os.listdir("/work")))

started = time.monotonic(), time.perf_counter()
print("time:", time.time(), time.strftime("%Y", time.gmtime()))
time.sleep(0.002)
elapsed = time.monotonic() - started[0], time.perf_counter() - started[1]
assert min(elapsed) >= 0.002, elapsed
print("elapsed:", elapsed)

print("urandom:", os.urandom(8).hex())
print("random:", random.random(), random.randrange(10**9), random.sample(range(100), 5))
print("hash:", hash("wrr"), "set order:", list({"alpha", "beta", "gamma", "delta"}))
print("uuid:", uuid.uuid4())
print("seeded:", random.Random(1).randrange(10**9))

lines = sys.stdin.read().splitlines()
print("stdin:", lines)

record = {"lines": lines, "words": re.findall(r"\w+", " ".join(lines)), "pi": 3.25, "none": None}
with open("/work/out.json", "w", encoding="utf-8") as file:
    json.dump(record, file, indent=2)
    file.flush()
    os.fsync(file.fileno())
with open("/work/out.json", "r+", encoding="utf-8") as file:
    assert json.load(file) == record
    file.seek(0)
    file.truncate(10)
assert os.path.getsize("/work/out.json") == 10
os.mkdir("/work/new")
os.rename("/work/out.json", "/work/new/short.json")
assert os.listdir("/work/new") == ["short.json"]
os.remove("/work/new/short.json")
os.rmdir("/work/new")
try:
    open("/work/absent")
except FileNotFoundError as error:
    print("absent:", error.errno)

print("to stderr", file=sys.stderr)
sys.stdout.flush()
sys.exit(7)
