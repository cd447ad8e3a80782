# Two pictures are stored under names that nobody else uses. About once in 50 runs one of them is lost.
# Record such a run: wrr py --until-failure 1000 race.py

import random
import time


class Store:
    def __init__(self):
        self.files = {}

    def unique_name(self):
        second = time.time_ns() // 1_000_000_000
        return f"{second}-{random.randrange(50)}"

    def put(self, content):
        name = self.unique_name()
        self.files[name] = content
        return name


def main():
    store = Store()
    names = {}
    for picture in ("cat", "dog"):
        names[picture] = store.put(f"a picture of a {picture}")
    for picture, name in names.items():
        found = store.files[name]
        assert picture in found, f"{picture} is gone"


main()
