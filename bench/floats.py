"""What canonical NaNs and the counted stack cost: `floats`, `stack`."""

from harness import GUESTS, SCRIPTS, WRR, PYTHON, row, title

# What each is given: long enough to be more than its start.
KERNELS = {"nbody": [], "mandelbrot": [], "matrix": [], "fft": []}


def floats(bench):
    title("Floating point", "kernel", "plain", "plain, NaNs made canonical by Cranelift", "run", "Cranelift's / plain",
          "run / plain")
    for kernel, args in KERNELS.items():
        module = GUESTS / f"{kernel}.wasm"
        canonical = ["--canonical-nans", "--cwasm", bench.scratch / f"{kernel}.canonical"]
        result = bench.compare({
            "plain": bench.plain(module, *args),
            "cranelift": bench.plain(module, *args, options=canonical),
            "run": [WRR, "run", module, *args],
        })
        compare_to_plain(kernel, result, ["cranelift", "run"])


def stack(bench):
    title("The counted stack", "program", "record", "record --deterministic", "deterministic / not")
    programs = {"fib": ([GUESTS / "fib.wasm"], [])}
    for script in ["recurse", "dicts", "strings"]:
        programs[f"CPython, {script}"] = ([PYTHON, f"/bench/{script}.py"], SCRIPTS)
    for name, (program, options) in programs.items():
        record = [WRR, "record", "--checkpoint-every", "off", "-o", bench.scratch / "stack.wrr"]
        result = bench.compare({
            "record": [*record, *options, *program],
            "deterministic": [*record, "--deterministic", *options, *program],
        })
        seconds = {what: result[what][0] for what in result}
        cells = [f"{s:.2f} s" for s in seconds.values()]
        row(name, *cells, f"{seconds['deterministic'] / seconds['record']:.3f}")


def compare_to_plain(name, result, others):
    """A row: all times, then those of `others` in relation to plain's."""
    seconds = {what: result[what][0] for what in result}
    ratios = [f"{seconds[other] / seconds['plain']:.2f}" for other in others]
    row(name, *(f"{s:.2f} s" for s in seconds.values()), *ratios)
