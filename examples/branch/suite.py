"""SymPy's own tests, one for each line of standard input: `module test`.

Everything that takes long is done before the first line is read: SymPy and the modules that hold the tests are imported.
A recording of this that is branched where it reads gives every test the same fresh start.

    suite.py list [COUNT]    lists the tests
    suite.py one NAME        runs one of them, without standard input
"""

import importlib
import os
import sys

MODULES = [
    "sympy.core.tests." + name
    for name in (
        "test_arit test_assumptions test_basic test_complex test_containers test_diff test_eval test_exprtools"
        " test_function test_logic test_match test_numbers test_operations test_power test_relational test_subs"
        " test_symbol test_truediv"
    ).split()
]


def tests():
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name, test in vars(loaded).items():
            if name.startswith("test_") and callable(test) and test.__module__ == module:
                yield module, name, test


def run(line):
    module, name = line.split()
    from sympy.testing.pytest import Skipped, XFail, XPass

    try:
        getattr(sys.modules[module], name)()
    except (XFail, Skipped) as why:
        print(name, type(why).__name__)
        return 0
    except XPass:
        print(name, "passed against expectation")
        return 1
    print(name, "passed")
    return 0


def main():
    command = sys.argv[1:]
    found = [(module, name) for module, name, _ in tests()]
    if command[:1] == ["list"]:
        for module, name in found[: int(command[1]) if command[1:] else None]:
            print(module, name)
        return 0
    line = command[1] if command[:1] == ["one"] else sys.stdin.readline()
    return run(line) if line.strip() else 0


code = main()
sys.stdout.flush()
# Nobody needs what is left: taking it apart would take longer than most tests.
os._exit(code)
