//! The clocks of `--deterministic`: they advance with every reading and every sleep.
//!
//! Shared by the live virtual world and by [`crate::Descriptors`], which follows it from events, so the
//! two cannot disagree.

/// 2020-01-01T00:00:00Z in nanoseconds since 1970.
const EPOCH_NS: u64 = 1_577_836_800_000_000_000;
/// How far every reading of a clock advances it.
pub const STEP_NS: u64 = 1_000;

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

/// Virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtualClock {
    /// What the clocks have advanced since the start.
    pub elapsed_ns: u64,
}

impl VirtualClock {
    /// What a clock shows; `None` for clocks that there are not.
    pub fn now(&self, clock: u32) -> Option<u64> {
        match clock {
            REALTIME => Some(EPOCH_NS.saturating_add(self.elapsed_ns)),
            MONOTONIC => Some(self.elapsed_ns),
            _ => None,
        }
    }

    /// Time passes.
    pub fn advance(&mut self, ns: u64) {
        self.elapsed_ns = self.elapsed_ns.saturating_add(ns);
    }

    /// How long it is until a clock subscription (48 bytes) is due.
    pub fn left_ns(&self, subscription: &[u8]) -> Option<u64> {
        let word = |at: usize| Some(u64::from_le_bytes(*subscription.get(at..)?.first_chunk()?));
        let now = self.now(word(16)? as u32)?;
        let timeout = word(24)?;
        let absolute = subscription.get(40)? & 1 == 1;
        Some(if absolute { timeout.saturating_sub(now) } else { timeout })
    }
}
