# make demo      build wrr, record and replay a real program          make test    all tests on small guests
# make real      fetch the real programs, run the matrix on them      make bench   measure; prints the tables of BENCHMARKS.md
# make lint      rustfmt, clippy, dependency policy                   make fuzz    fuzz the trace reader (FUZZ_SECONDS=60)
# make test-full the tests, the random ones with many more cases

CARGO ?= cargo
FUZZ_SECONDS ?= 60

.PHONY: demo setup build test test-full real bench fuzz lint

demo: setup build
	examples/demo.sh

setup:
	rustup target add wasm32-wasip1

build:
	$(CARGO) build --release --locked

test: setup
	$(CARGO) test --workspace --locked

test-full: setup
	WRR_TEST_FULL=1 PROPTEST_CASES=2000 $(CARGO) test --workspace --locked --release

real: setup
	scripts/fetch-real-programs.sh
	$(CARGO) test --release --locked --features real --test real

bench: setup build
	scripts/fetch-real-programs.sh
	bench/run.py

fuzz: setup
	scripts/fuzz.sh $(FUZZ_SECONDS)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --features real -- --deny warnings
	$(CARGO) deny --locked check
