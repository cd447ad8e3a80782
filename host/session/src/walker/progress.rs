//! How far a walker has come with something that takes long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wrr_engine::{Beat, Heart};
use wrr_trace::Tick;
use wrr_wasi::Host;

/// How often an interrupt is looked for, in ticks.
const BEAT_TICKS: u64 = 200_000;

/// More ticks between two beats than this are a jump to another state.
const JUMP_TICKS: u64 = 64 * BEAT_TICKS;

/// How far a walker has come with what it is doing. Another thread may read it at any time.
#[derive(Debug, Default)]
pub struct Progress {
    /// In ticks.
    done: AtomicU64,
    /// 0 while nothing is being done.
    total: AtomicU64,
    /// Ticks that run now count.
    counts: AtomicBool,
}

impl Progress {
    /// The share that is done, from 0 to 1; `None` while nothing is being done. A search may end at
    /// any time, with what it has found: this is the share of what it has to search at most.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let total = self.total.load(Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed).min(total);
        (total > 0).then(|| done as f64 / total as f64)
    }

    /// Begins with so many ticks, unless it is a part of what has begun already: then `false`.
    pub(super) fn begin(&self, total_ticks: u64) -> bool {
        let begun = self.total.compare_exchange(
            0,
            total_ticks.max(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if begun.is_ok() {
            self.done.store(0, Ordering::Relaxed);
        }
        begun.is_ok()
    }

    pub(super) fn end(&self) {
        self.count(false);
        self.total.store(0, Ordering::Relaxed);
    }

    /// Whether the ticks that run from now on are part of what is being done.
    pub(super) fn count(&self, counts: bool) {
        self.counts.store(counts, Ordering::Relaxed);
    }

    pub(super) fn set(&self, done_ticks: u64) {
        self.done.store(done_ticks, Ordering::Relaxed);
    }

    pub(super) fn add(&self, ticks: u64) {
        self.done.fetch_add(ticks, Ordering::Relaxed);
    }
}

/// Stops the guest when the interrupt is set, and counts its ticks.
pub(super) struct Pulse {
    pub interrupt: Arc<AtomicBool>,
    pub progress: Arc<Progress>,
    /// The tick of the last beat.
    pub last: Option<Tick>,
}

impl Heart for Pulse {
    fn beat(&mut self, _host: &mut Host, tick: Tick) -> Beat {
        let before = self.last.replace(tick).unwrap_or(tick);
        let ticks = tick.0.saturating_sub(before.0);
        if ticks < JUMP_TICKS && self.progress.counts.load(Ordering::Relaxed) {
            self.progress.add(ticks);
        }
        match self.interrupt.load(Ordering::Relaxed) {
            true => Beat::Stop,
            false => Beat::After(BEAT_TICKS),
        }
    }
}
