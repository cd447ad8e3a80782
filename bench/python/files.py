"""Work on files in /files, each piece with its time."""

import os
import time

FILES = 3000


def small_writes():
    with open("/files/log", "wb", buffering=0) as log:
        for _ in range(30_000):
            log.write(b"x" * 100)


def many_files():
    for number in range(FILES):
        with open(f"/files/{number}", "w") as file:
            file.write("hello")


def listings():
    for _ in range(20):
        os.listdir("/files")


def renames():
    for number in range(FILES):
        os.rename(f"/files/{number}", f"/files/{number}.old")


def removals():
    for number in range(FILES):
        os.unlink(f"/files/{number}.old")


def large_write():
    with open("/files/large", "wb") as file:
        for _ in range(100):
            file.write(b"y" * 1_000_000)


def large_read():
    with open("/files/large", "rb") as file:
        while file.read(1_000_000):
            pass


for piece in [small_writes, many_files, listings, renames, removals, large_write, large_read]:
    start = time.perf_counter()
    piece()
    print(f"{piece.__name__.replace('_', ' ')}: {time.perf_counter() - start:.6f}")
