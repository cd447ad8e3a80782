//! A failure as a recording: made, and repeated in two engines before anybody hears of it.

use crate::failure::{failure, key, slug};
use crate::runner::last_tick;
use crate::{FuzzError, Target, corpus, report};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use wrr::format::{Failure, FailureKind, Finding, Given, Tick};
use wrr::{
    Ending, Injected, Observer, Output, Reached, RecordOptions, ReplayOutput, Session, Stdin,
    Trace, Until, Variant,
};

/// What is kept of what the program wrote to standard error, in bytes.
const STDERR_BYTES_MAX: usize = 4096;

/// A finding's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The recording.
    pub trace: PathBuf,
    /// The input as it is.
    pub input: PathBuf,
    /// The report.
    pub report: PathBuf,
    /// The failure.
    pub failure: Failure,
}

/// The end of what is written to an output.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(bytes);
        let too_much = tail.len().saturating_sub(STDERR_BYTES_MAX);
        tail.drain(..too_much);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Records a failure into a folder, and replays it: twice as it is, once in the engine's interpreter. Nothing is left in the folder if
/// that does not come to the same. `start` is the tick at which the input is read.
///
/// # Errors
/// [`FuzzError::Unstable`] if it is another failure, or none; [`FuzzError::NoRoom`] if the folder cannot be written to.
pub fn write_finding(
    target: &Target,
    input: &[u8],
    (expected, start): (&Failure, Tick),
    dir: &Path,
    observer: &dyn Observer,
) -> Result<Written, FuzzError> {
    let name = format!("{}-{}", slug(expected), &corpus::name_of(input)[..8]);
    // Only what has been checked has its name.
    let unfinished = dir.join(format!("{name}.unfinished"));
    let _ = std::fs::remove_file(&unfinished);
    let written = write_and_check(target, input, (expected, start), &unfinished, observer)
        .and_then(|stderr| {
            let paths = [".wrr", ".input", ".md"].map(|suffix| dir.join(format!("{name}{suffix}")));
            let [trace, raw, text] = paths;
            let written = Written { trace, input: raw, report: text, failure: expected.clone() };
            corpus::write_whole(&written.input, input)
                .map_err(FuzzError::file("write", &written.input))?;
            let text = report(target, input, &written, &stderr);
            corpus::write_whole(&written.report, text.as_bytes())
                .map_err(FuzzError::file("write", &written.report))?;
            std::fs::rename(&unfinished, &written.trace)
                .map_err(FuzzError::file("write", &written.trace))?;
            Ok(written)
        });
    written.map_err(|error| {
        let _ = std::fs::remove_file(&unfinished);
        let kept = keep_elsewhere(&name, input, dir);
        match (error, kept) {
            (FuzzError::Unstable { what, .. }, Some(kept)) => FuzzError::Unstable { what, kept },
            (error, kept) => {
                FuzzError::NoRoom { dir: dir.to_owned(), error: error.to_string(), kept }
            }
        }
    })
}

/// Puts an input that would be lost where there may be room for it.
fn keep_elsewhere(name: &str, input: &[u8], dir: &Path) -> Option<PathBuf> {
    let path = dir.join(format!("{name}.input"));
    if corpus::write_whole(&path, input).is_ok() {
        return Some(path);
    }
    // Others may know the names in there.
    let mut file = tempfile::Builder::new().prefix(name).suffix(".input").tempfile().ok()?;
    std::io::Write::write_all(&mut file, input).ok()?;
    file.keep().ok().map(|(_, path)| path)
}

fn unstable(what: String) -> FuzzError {
    FuzzError::Unstable { what, kept: PathBuf::new() }
}

fn write_and_check(
    target: &Target,
    input: &[u8],
    (expected, start): (&Failure, Tick),
    path: &Path,
    observer: &dyn Observer,
) -> Result<Vec<u8>, FuzzError> {
    let tail = Tail::default();
    let given = match target.given {
        Given::File(_) => Injected::all(Vec::new()),
        Given::Stdin | Given::Function => Injected::all(input.to_vec()),
    };
    let streams = (Stdin::Injected(given), Output::Writer(Box::new(tail.clone())));
    let job = target.job(Variant::Covered, streams, observer);
    let last = last_tick(target, start);
    let finding = Finding {
        failure: expected.clone(),
        input: input.to_vec(),
        given: target.given.clone(),
        crash_exits: target.options.crash_exits.clone(),
        timeout_ticks: target.options.timeout_ticks,
    };
    let options = RecordOptions { finding: Some(finding), ..RecordOptions::default() };
    let mut session = Session::record(job, path, options)?;
    if let Given::File(file) = &target.given {
        session.write_file(file, input)?;
    }
    session.set_bounds(Some(last), true)?;
    let reached = session.run_until(Until::End)?;
    let (bound, tick) = (session.bound(), session.tick()?);
    let recorded = session.finish()?;
    if let Some((_, error)) = recorded.not_saved {
        return Err(error.into());
    }
    let found = match &reached {
        Reached::Ended(end) => failure(end, bound, tick, &target.options.crash_exits),
        _ => None,
    };
    let Some(mut found) = found else {
        return Err(unstable(format!("it ended otherwise: {reached:?}")));
    };
    if matches!(found.kind, FailureKind::Exit(_)) {
        // Where it stood is known from another run.
        found.frames.clone_from(&expected.frames);
    }
    if found != *expected {
        return Err(unstable(format!("{found:?} instead of {expected:?}")));
    }
    let trace = Trace::open(path)?.with(target.cache.clone(), observer);
    trace.reader().check_all()?;
    for round in 0..3 {
        let replayed = match round {
            2 => trace.replay_interpreted(ReplayOutput::discard()),
            _ => trace.replay(ReplayOutput::discard()),
        };
        same_end(&trace, &replayed?, expected).map_err(unstable)?;
    }
    let tail = std::mem::take(&mut *tail.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(tail)
}

/// Whether a replay came to the failure; otherwise what it came to.
pub(crate) fn same_end(
    trace: &Trace<'_>,
    replayed: &wrr::Replayed,
    expected: &Failure,
) -> Result<(), String> {
    let Some(end) = &replayed.end else { return Err("the recording was cut off".to_owned()) };
    let tick = trace.reader().end_tick();
    if tick != Some(expected.tick) {
        let tick = tick.map_or(0, |tick| tick.0);
        return Err(format!("it ends at tick {tick} instead of {}", expected.tick.0));
    }
    match (&end.ending, expected.kind) {
        (Ending::Trapped { kind }, FailureKind::Trap(then)) if *kind == then => {}
        (Ending::Exited { code }, FailureKind::Exit(then)) if *code == then => return Ok(()),
        (Ending::Interrupted, FailureKind::Timeout | FailureKind::Memory) => {}
        (ending, _) => {
            return Err(format!(
                "it ends in another way: {ending} instead of {}",
                crate::describe(expected)
            ));
        }
    }
    let frames: Vec<_> = end
        .trap
        .iter()
        .flat_map(|(_, backtrace)| backtrace.frames.iter().cloned())
        .map(crate::failure::frame)
        .collect();
    let found = Failure { frames, ..expected.clone() };
    match key(&found) == key(expected) {
        true => Ok(()),
        false => {
            let name = |failure| crate::failing_function(failure).unwrap_or_default();
            Err(format!("it fails in {} instead of {}", name(&found), name(expected)))
        }
    }
}
