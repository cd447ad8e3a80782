//! What can go wrong around a campaign.

use std::path::PathBuf;
use wrr::ReactorError;
use wrr::format::TraceError;

/// An error of fuzzing, of reproducing or of minimising.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FuzzError {
    /// The module is no target.
    #[error(
        "{name}: {why}; a target is a command that reads standard input or a file (named by @@ among its \
         arguments), or a library that exports LLVMFuzzerTestOneInput(ptr, len) -> i32"
    )]
    NoTarget {
        /// The module.
        name: String,
        /// Why.
        why: String,
    },
    /// Its interface is not what libFuzzer's is.
    #[error("{name}: {error}")]
    Reactor {
        /// The module.
        name: String,
        /// What is wrong.
        error: ReactorError,
    },
    /// It fails before it reads any input.
    #[error("{name} fails while it starts, before it reads any input: {what}{hint}")]
    FailsAtStart {
        /// The module.
        name: String,
        /// What to do, behind a semicolon.
        hint: &'static str,
        /// How.
        what: String,
    },
    /// It ends before it reads any input.
    #[error("{name} ends ({what}) before it reads any input; {hint}")]
    NoInputRead {
        /// The module.
        name: String,
        /// How.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// It takes too long to get to its input.
    #[error(
        "{name} has not read any input after {ticks} ticks; {}",
        "raise --timeout-ticks if it takes that long to start"
    )]
    SlowStart {
        /// The module.
        name: String,
        /// How long it was given.
        ticks: u64,
    },
    /// A folder or a file of the campaign.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// What was to be done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it cannot be.
        error: std::io::Error,
    },
    /// A finding could not be written, and its input is elsewhere.
    #[error(
        "cannot write a finding to {}: {error}; its input is {}; see that the folder can be written to, and start again: the corpus is as it was",
        dir.display(),
        match kept {
            Some(path) => format!("kept in {}", path.display()),
            None => "lost".to_owned(),
        }
    )]
    NoRoom {
        /// The folder.
        dir: PathBuf,
        /// Why.
        error: String,
        /// Where the input is.
        kept: Option<PathBuf>,
    },
    /// Somebody wanted it to end.
    #[error("interrupted")]
    Interrupted,
    /// A failure that does not come again.
    #[error("the failure did not come again when it was recorded: {what}; this is an error of wrr, its input is in {}", kept.display())]
    Unstable {
        /// What was different.
        what: String,
        /// Where the input is.
        kept: PathBuf,
    },
    /// A trace that says nothing of a finding.
    #[error("{}: this is no finding of a fuzzer: it does not say what input it was given; {}", path.display(), "`wrr replay` and `wrr verify` repeat recordings of all kinds")]
    NoFinding {
        /// The trace.
        path: PathBuf,
    },
    /// The input does not fail.
    #[error("{what}")]
    NoFailure {
        /// What it does.
        what: String,
    },
    /// The fuzzing library.
    #[error("the fuzzer cannot go on: {0}")]
    Library(String),
    /// The program cannot be run.
    #[error(transparent)]
    Run(#[from] wrr::Error),
    /// The trace cannot be read or written.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl FuzzError {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> FuzzError {
        let path = path.into();
        move |error| FuzzError::File { action, path, error }
    }
}
