//! What LibAFL takes for the time: how far the programs of this thread have come.
//!
//! It is built without its standard library, and so asks for a clock. It gets ticks: a campaign with one worker depends on its seed,
//! its corpus and the module, and on no clock.

use std::cell::Cell;

thread_local! {
    static TICKS: Cell<u64> = const { Cell::new(0) };
}

/// A program of this thread has come so much further.
pub(crate) fn advance(ticks: u64) {
    TICKS.set(TICKS.get().saturating_add(ticks));
}

/// The symbol that LibAFL's `no_std_time` links to.
#[unsafe(no_mangle)]
extern "C" fn external_current_millis() -> u64 {
    TICKS.get()
}
