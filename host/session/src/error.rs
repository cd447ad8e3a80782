//! What can go wrong around a guest.

use wrr_engine::Refusal;
use wrr_trace::{Saved, Tick, TraceError};
use wrr_wasi::{CommitError, Divergence, Fault, LiveError, ReplayError, ResumeError, Stop};

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
    /// A checkpoint does not hold the state that a replay from the start has there.
    #[error("checkpoint {number} (at tick {}) differs from a replay in {what}; moments after it cannot be trusted, replay with --no-checkpoints", tick.0)]
    WrongCheckpoint {
        /// Its place among the checkpoints, by tick.
        number: usize,
        /// Its tick.
        tick: Tick,
        /// What differs.
        what: String,
    },
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
    /// No such moment in the recording.
    #[error("{0}")]
    Moment(String),
    /// The guest's world cannot be put back.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// A checkpoint that the session does not have (any more). The session is as it was.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Somebody will repeat this run, and would not know of it.
    #[error(
        "the memory of a recorded run cannot be changed: a replay would not do the same; fork it first"
    )]
    Repeatable,
    /// The program writes to its directories, or is replayed.
    #[error("the program has no overlay: its files are those of its directories")]
    NoOverlay,
    /// A file of the program's cannot be read or changed.
    #[error("{path}: {fault}")]
    File {
        /// The file, as the program calls it.
        path: String,
        /// Why.
        fault: Fault,
    },
    /// What the program did to files cannot be applied.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The program has not ended.
    #[error("the program has not ended; what it does to files can be applied when it has")]
    Running,
    /// Only a replay can go live.
    #[error("the session is live already")]
    NoReplay,
    /// The program was lost when something failed before.
    #[error("the session has lost its program in an earlier failure; start another one")]
    Lost,
    /// The host could not go on.
    #[error("{0}")]
    Host(String),
    /// The host lacks what a replay needs; the recording may be fine.
    #[error("this host cannot replay it, another one may: {0}")]
    Unable(String),
    /// Nobody reads the output any more.
    #[error("the output was closed")]
    OutputClosed,
}

/// Why a session cannot go to a checkpoint, or fork from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is of a session that runs another module.
    #[error("the checkpoint is of another program; a program can only go to its own")]
    OtherProgram,
    /// It is of another session.
    #[error("the checkpoint is of another session; use one that this session has taken")]
    OtherSession,
    /// It was committed, or an earlier one that was given up with it.
    #[error("the checkpoint was committed: what came before it is final; use a later one")]
    Committed,
    /// The session went back behind it.
    #[error(
        "the session went back to before this checkpoint, which has never been now; use an earlier one"
    )]
    TakenBack,
}

impl Error {
    /// Whether this is a finding about a trace rather than a failure to look.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        matches!(self, Error::Diverged(_) | Error::WrongCheckpoint { .. })
    }
}

impl From<ReplayError> for Error {
    fn from(error: ReplayError) -> Error {
        match error {
            ReplayError::Trace(error) => Error::Trace(error),
            ReplayError::State(error) => {
                Error::Host(format!("a checkpoint is impossible: {error}"))
            }
        }
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Error {
        match stop {
            Stop::Diverged(divergence) => Error::Diverged(divergence),
            Stop::Trace(error) => Error::Trace(error),
            Stop::OutputClosed => Error::OutputClosed,
            Stop::NotSaved { saved, error } => Error::NotSaved { saved, error },
            other => Error::Host(other.to_string()),
        }
    }
}
