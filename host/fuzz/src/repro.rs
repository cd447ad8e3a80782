//! Seeing a finding again: as it was recorded, and in another build.

use crate::failure::{describe, failing_function, key, where_it_failed};
use crate::finding::same_end;
use crate::{FuzzError, Runner, Target};
use std::path::Path;
use wrr::format::{Failure, Finding};
use wrr::{CodeCache, Error, Observer, Preopen, ReplayOutput, Trace, Variant};

/// What a finding came to when it was repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same failure in the same function at the same tick.
    Same(Failure),
    /// What differs.
    Different {
        /// What was recorded.
        expected: Failure,
        /// A sentence.
        what: String,
    },
}

/// What a finding's input does in another build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// The same failure, perhaps at another tick.
    Same(Failure),
    /// Another failure.
    Other {
        /// What was recorded.
        expected: Failure,
        /// What it is now.
        found: Failure,
    },
    /// None.
    Gone {
        /// What was recorded.
        expected: Failure,
        /// How it ends now.
        ending: String,
    },
}

/// What a recording says of a finding.
fn finding_of<'a>(trace: &'a Trace<'_>) -> Result<&'a Finding, FuzzError> {
    let none = || FuzzError::NoFinding { path: trace.reader().path().to_owned() };
    trace.reader().finding().ok_or_else(none)
}

/// Checks every byte of a finding's recording and replays it.
///
/// # Errors
/// [`FuzzError::NoFinding`]; the recording is damaged, or cannot be replayed here.
pub fn repro(trace: &Trace<'_>) -> Result<Verdict, FuzzError> {
    let expected = finding_of(trace)?.failure.clone();
    trace.reader().check_all()?;
    let same = match trace.replay(ReplayOutput::discard()) {
        Ok(replayed) => same_end(trace, &replayed, &expected),
        Err(Error::Diverged(divergence)) => Err(divergence.to_string()),
        Err(error) => return Err(error.into()),
    };
    Ok(match same {
        Ok(()) => Verdict::Same(expected),
        Err(what) => Verdict::Different { expected, what },
    })
}

/// Gives a finding's input to another build of the program, under the same rules.
///
/// # Errors
/// [`FuzzError::NoFinding`]; the module is no target.
pub fn against(
    trace: &Trace<'_>,
    (module, name): (Vec<u8>, &str),
    preopens: Vec<Preopen>,
    cache: Option<CodeCache>,
    observer: &dyn Observer,
) -> Result<Against, FuzzError> {
    let finding = finding_of(trace)?;
    let mut options = Target::options_of(trace, finding, preopens);
    // As the recorded one was asked to, if it was asked for a file.
    if let wrr::format::Given::File(path) = &finding.given {
        for arg in &mut options.args {
            *arg = arg.replace(path.as_str(), crate::FILE_ARGUMENT);
        }
    }
    let target = Target::new(module, name, options, cache)?;
    let run = Runner::start(&target, Variant::Covered, observer)?.examine(&finding.input)?;
    let expected = finding.failure.clone();
    Ok(match run.failure {
        Some(found) if key(&found) == key(&expected) => Against::Same(found),
        Some(found) => Against::Other { expected, found },
        None => Against::Gone { expected, ending: run.end.ending.to_string() },
    })
}

/// Gives an input to a target. The failure, or how it ends otherwise.
///
/// # Errors
/// The module is no target.
pub fn run_input(
    target: &Target,
    input: &[u8],
    observer: &dyn Observer,
) -> Result<Result<Failure, String>, FuzzError> {
    let run = Runner::start(target, Variant::Covered, observer)?.examine(input)?;
    Ok(run.failure.ok_or_else(|| run.end.ending.to_string()))
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Same(failure) => write!(f, "reproduced: {}", where_it_failed(failure)),
            Verdict::Different { expected, what } => {
                write!(f, "not reproduced: {what} (recorded was {})", where_it_failed(expected))
            }
        }
    }
}

impl std::fmt::Display for Against {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Against::Same(failure) => write!(f, "still there: {}", where_it_failed(failure)),
            Against::Other { expected, found } => {
                write!(
                    f,
                    "fails otherwise: {} (was {})",
                    where_it_failed(found),
                    where_it_failed(expected)
                )
            }
            Against::Gone { expected, ending } => {
                let function = failing_function(expected)
                    .map(|name| format!(" in {name}"))
                    .unwrap_or_default();
                write!(f, "gone: {ending} (was {}{function})", describe(expected))
            }
        }
    }
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
