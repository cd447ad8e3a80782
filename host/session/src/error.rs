//! What can go wrong around a guest.

use wrr_engine::Refusal;
use wrr_trace::{Saved, TraceError};
use wrr_wasi::{Divergence, LiveError};

/// An error of recording or replaying.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// wrr does not run this module.
    #[error("{name}: {refusal}")]
    Refused {
        /// The module's name.
        name: String,
        /// Why.
        refusal: Refusal,
    },
    /// The guest's world cannot be set up.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The trace cannot be read or created.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The replay did something that the trace contradicts.
    #[error(transparent)]
    Diverged(Box<Divergence>),
    /// The trace could not be written to its end.
    #[error(
        "{error}; {}",
        match saved.events {
            0 => "nothing that could be replayed was saved".to_owned(),
            some => format!("saved are the first {some} events, which can be replayed"),
        }
    )]
    NotSaved {
        /// What is in the file.
        saved: Saved,
        /// Why there is no more.
        error: TraceError,
    },
    /// The host could not go on.
    #[error("{0}")]
    Host(String),
    /// Nobody reads the output any more.
    #[error("the output was closed")]
    OutputClosed,
}

impl Error {
    /// Whether this is a finding about a trace rather than a failure to look.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        matches!(self, Error::Diverged(_))
    }
}
