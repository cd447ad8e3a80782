//! Wall-clock stamps: when the guest had got how far, and conversions between its time and ours.
//!
//! For people only; a replay never sees them. A list of stamps is ascending in all three numbers, and
//! the beginning of the run (tick 0, event 0, 0 ns) is implied.

use crate::event::{EventIndex, Tick};

/// "The guest had got so far by then."
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeStamp {
    /// The guest's time.
    pub tick: Tick,
    /// The number of the next event.
    pub event: EventIndex,
    /// Nanoseconds since the recording's start.
    pub elapsed_ns: u64,
}

impl TimeStamp {
    /// Where the guest was after so many nanoseconds, interpolated between the stamps around it. `None`
    /// behind the last stamp.
    #[must_use]
    pub fn tick_at(stamps: &[TimeStamp], elapsed_ns: u64) -> Option<Tick> {
        let i = stamps.partition_point(|s| s.elapsed_ns < elapsed_ns);
        let (before, after) = neighbours(stamps, i)?;
        let tick = between(
            elapsed_ns,
            (before.elapsed_ns, after.elapsed_ns),
            (before.tick.0, after.tick.0),
        );
        Some(Tick(tick))
    }

    /// After how many nanoseconds the guest reached this tick, interpolated between the stamps around it.
    /// `None` behind the last stamp.
    #[must_use]
    pub fn elapsed_ns_at(stamps: &[TimeStamp], tick: Tick) -> Option<u64> {
        // Ticks stand still while the guest waits: the first stamp is when it got there.
        let i = stamps.partition_point(|s| s.tick < tick);
        let (before, after) = neighbours(stamps, i)?;
        Some(between(tick.0, (before.tick.0, after.tick.0), (before.elapsed_ns, after.elapsed_ns)))
    }

    /// The differences to the stamp before, as the file has them.
    pub(crate) fn deltas(stamps: &[TimeStamp]) -> Vec<(u64, u64, u64)> {
        let mut last = TimeStamp::default();
        let delta = |s: &TimeStamp| {
            let before = std::mem::replace(&mut last, *s);
            (s.tick.0 - before.tick.0, s.event.0 - before.event.0, s.elapsed_ns - before.elapsed_ns)
        };
        stamps.iter().map(delta).collect()
    }

    /// The stamps that have these differences; `None` if one passes the largest number.
    pub(crate) fn from_deltas(deltas: Vec<(u64, u64, u64)>) -> Option<Vec<TimeStamp>> {
        let mut at = TimeStamp::default();
        let stamp = |(tick, event, elapsed_ns): (u64, u64, u64)| {
            at = TimeStamp {
                tick: Tick(at.tick.0.checked_add(tick)?),
                event: EventIndex(at.event.0.checked_add(event)?),
                elapsed_ns: at.elapsed_ns.checked_add(elapsed_ns)?,
            };
            Some(at)
        };
        deltas.into_iter().map(stamp).collect()
    }

    /// Whether it may follow `before`.
    pub(crate) fn follows(&self, before: &TimeStamp) -> bool {
        self.tick >= before.tick
            && self.event >= before.event
            && self.elapsed_ns >= before.elapsed_ns
    }
}

/// The stamp at `i` and the one before it.
fn neighbours(stamps: &[TimeStamp], i: usize) -> Option<(TimeStamp, TimeStamp)> {
    let after = *stamps.get(i)?;
    let before = i.checked_sub(1).and_then(|i| stamps.get(i)).copied().unwrap_or_default();
    Some((before, after))
}

/// What stands as far between `to.0` and `to.1` as `value` does between `from.0` and `from.1`, rounded down.
fn between(value: u64, from: (u64, u64), to: (u64, u64)) -> u64 {
    let whole = u128::from(from.1.saturating_sub(from.0));
    if whole == 0 {
        return to.1;
    }
    let part = u128::from(value.saturating_sub(from.0)).min(whole);
    let span = u128::from(to.1.saturating_sub(to.0));
    // The product of two 64-bit numbers fits, and the quotient is at most `span`.
    to.0 + (part * span / whole) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp(tick: u64, event: u64, elapsed_ns: u64) -> TimeStamp {
        TimeStamp { tick: Tick(tick), event: EventIndex(event), elapsed_ns }
    }

    #[test]
    fn times_between_stamps_are_interpolated_and_those_behind_the_last_are_unknown() {
        // It waits at tick 100 from 1000 ns to 5000 ns.
        let stamps = [stamp(100, 1, 1000), stamp(100, 1, 5000), stamp(300, 2, 6000)];
        let ticks = [(0, 0), (500, 50), (1000, 100), (3000, 100), (5500, 200), (6000, 300)];
        for (elapsed_ns, tick) in ticks {
            assert_eq!(TimeStamp::tick_at(&stamps, elapsed_ns), Some(Tick(tick)), "{elapsed_ns}");
        }
        assert_eq!(TimeStamp::tick_at(&stamps, 6001), None);
        for (tick, elapsed_ns) in [(0, 0), (50, 500), (100, 1000), (101, 5005), (300, 6000)] {
            assert_eq!(TimeStamp::elapsed_ns_at(&stamps, Tick(tick)), Some(elapsed_ns), "{tick}");
        }
        assert_eq!(TimeStamp::elapsed_ns_at(&stamps, Tick(301)), None);
        assert_eq!(TimeStamp::tick_at(&[], 0), None);
        assert_eq!(TimeStamp::elapsed_ns_at(&[], Tick(0)), None);
        let whole = [stamp(u64::MAX, 0, u64::MAX)];
        assert_eq!(TimeStamp::tick_at(&whole, u64::MAX / 2), Some(Tick(u64::MAX / 2)));
    }

    proptest! {
        #[test]
        fn stamps_come_back_from_their_differences_and_both_conversions_stay_in_order(
            deltas in proptest::collection::vec((0u64..1000, 0u64..3, 0u64..1000), 1..20),
            a in 0u64..20_000, b in 0u64..20_000,
        ) {
            let stamps = TimeStamp::from_deltas(deltas.clone()).unwrap();
            prop_assert_eq!(TimeStamp::deltas(&stamps), deltas);
            let (a, b) = (a.min(b), a.max(b));
            let ticks = (TimeStamp::tick_at(&stamps, a), TimeStamp::tick_at(&stamps, b));
            if let (Some(first), Some(second)) = ticks {
                prop_assert!(first <= second);
            }
            let at = |t| TimeStamp::elapsed_ns_at(&stamps, Tick(t));
            if let (Some(first), Some(second)) = (at(a), at(b)) {
                prop_assert!(first <= second);
            }
        }
    }
}
