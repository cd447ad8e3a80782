"""Calls: the same Fibonacci number, again and again."""

import sys

N = int(sys.argv[1]) if len(sys.argv) > 1 else 27
TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 1


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


print("fib", sum(fib(N) for _ in range(TIMES)))
