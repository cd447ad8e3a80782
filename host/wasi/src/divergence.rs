//! The report of a replay that left its trace.

use std::fmt;
use wrr_trace::{EventIndex, Tick};

/// The replay did something that the trace contradicts: the first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The event at which it was seen.
    pub event: EventIndex,
    /// What the trace says.
    pub recorded: String,
    /// What the guest did.
    pub replayed: String,
    /// The guest did the recorded thing, but at another moment.
    pub ticks: Option<TickDifference>,
}

/// Something happened at another tick than in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickDifference {
    /// When the trace says that it happened.
    pub recorded: Tick,
    /// When the guest did it.
    pub replayed: Tick,
}

impl TickDifference {
    /// The difference, if there is one.
    pub(crate) fn between(recorded: Tick, replayed: Tick) -> Option<TickDifference> {
        (recorded != replayed).then_some(TickDifference { recorded, replayed })
    }
}

impl fmt::Display for TickDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tick: recorded {}, replayed {}", self.recorded.0, self.replayed.0)
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the replay diverges at event {}", self.event)?;
        if let Some(ticks) = &self.ticks {
            write!(f, "\n  {ticks}")?;
        }
        write!(f, "\n  the trace says: {}\n  the guest did:  {}", self.recorded, self.replayed)
    }
}

impl std::error::Error for Divergence {}
