# The average is wrong. Somewhere an exception has been thrown away.

import sys

READINGS = ["20.5", "21.0", "19,5", "22.0"]


def parse(text):
    whole, fraction = text.split(".")
    return int(whole) + int(fraction) / 10


def read(texts):
    values = []
    for text in texts:
        try:
            values.append(parse(text))
        except Exception:
            values.append(0.0)
    return values


def average(values):
    return sum(values) / len(values)


def main():
    values = read(READINGS)
    result = average(values)
    print("average:", result)
    if result < 19:
        print("that is too cold to be true")
        sys.exit(1)


main()
