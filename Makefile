# make demo      build wrr, debug a failing Python script backwards     make test    all tests on small guests
# make real      fetch the real programs, run the matrix on them      make bench   measure; prints the tables of BENCHMARKS.md
# make lint      rustfmt, clippy, dependency policy                   make fuzz    fuzz the trace reader (FUZZ_SECONDS=60)
# make test-full the tests, the random ones with many more cases
# make portable  the same traces on other platforms, cross-built: PLATFORMS="…"    make portable-full   all of them, and CPython

CARGO ?= cargo
# Cargo's profile for `real` and `portable`; `dev` shares its build with `make test`.
PROFILE ?= release
FUZZ_SECONDS ?= 60
PLATFORMS ?= x86_64 i686 aarch64 s390x windows
CHECK_MACOS ?= --check-macos

# The tests of `real` and `portable` are built with the same features, so that they share one wrr.
FEATURES = --features real,portable

.PHONY: demo setup build test test-full portable portable-full real bench fuzz lint

demo: setup build
	examples/demo.sh

setup:
	rustup target add wasm32-wasip1

build: setup
	$(CARGO) build --release --locked

test: setup
	$(CARGO) test --workspace --locked

test-full: setup
	WRR_TEST_FULL=1 PROPTEST_CASES=2000 $(CARGO) test --workspace --locked --release

portable: setup
	scripts/portable.sh $(PLATFORMS) $(CHECK_MACOS)
	WRR_PLATFORMS="$(PLATFORMS)" $(CARGO) test --profile $(PROFILE) --locked $(FEATURES) --test portable

portable-full: setup
	scripts/fetch-real-programs.sh
	WRR_PORTABLE_FULL=1 $(MAKE) portable PLATFORMS="x86_64 i686 aarch64 s390x riscv64 windows"

real: setup
	scripts/fetch-real-programs.sh
	$(CARGO) test --profile $(PROFILE) --locked $(FEATURES) --test real

bench: setup build
	scripts/fetch-real-programs.sh
	bench/run.py

fuzz: setup
	scripts/fuzz.sh $(FUZZ_SECONDS)

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked $(FEATURES) -- --deny warnings
	$(CARGO) deny --locked check
