//! Tests of the transform and of stopping, on the real engine.
//!
//! What all of them rest on is in `run`: a sequence of calls of a guest's exports, which can be stopped, saved, restored
//! and finished; and `check`, which holds the properties of stopping against a program.

mod accesses;
mod atomics;
mod branching;
mod checkpointing;
mod control;
mod exceptions;
mod feedback;
mod generated;
mod hearts;
mod look;
mod nans;
mod offsets;
mod references;
mod run;
mod smith;
mod spec;
mod state;
mod wast_values;

/// The seeds of a random test: so many in `make test`, fifty times as many with `WRR_TEST_FULL=1`, a range
/// `FROM..TO` with `WRR_TEST_SEEDS`.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    if let Ok(range) = std::env::var("WRR_TEST_SEEDS") {
        let (from, to) = range.split_once("..").expect("WRR_TEST_SEEDS is FROM..TO");
        return from.parse().expect("a number")..to.parse().expect("a number");
    }
    let full = std::env::var_os("WRR_TEST_FULL").is_some();
    0..if full { usual * 50 } else { usual }
}

/// What untransformed modules run under: an engine that makes the result of each instruction canonical, and has atomic ones.
fn canonical(stack_bytes: usize) -> wasmtime::Config {
    let mut config = crate::program::config(stack_bytes);
    config.cranelift_nan_canonicalization(true).wasm_threads(true);
    config
}
