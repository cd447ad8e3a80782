//! The report of a replay that left its trace.

use std::fmt;
use wrr_trace::EventIndex;

/// The replay did something that the trace contradicts: the first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The event at which it was seen.
    pub event: EventIndex,
    /// What the trace says.
    pub recorded: String,
    /// What the guest did.
    pub replayed: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the replay diverges at event {}\n  the trace says: {}\n  the guest did:  {}",
            self.event, self.recorded, self.replayed
        )
    }
}

impl std::error::Error for Divergence {}
