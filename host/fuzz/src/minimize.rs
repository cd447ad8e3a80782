//! The smallest input with the same failure.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002): pieces are taken out, smaller and smaller ones, as long as
//! the failure stays. Then bytes that do not matter become zeros of ASCII, so that those that matter can be seen.

use crate::failure::key;
use crate::repro::folder_of;
use crate::{FuzzError, Runner, Target, Written, write_finding};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wrr::format::Failure;
use wrr::{CodeCache, Observer, Preopen, Trace, Variant};

/// What [`minimize`] came to.
#[derive(Clone, Debug)]
pub struct Minimized {
    /// The length of the input before, in bytes.
    pub before_bytes: usize,
    /// The length of the input now.
    pub after_bytes: usize,
    /// How many inputs were tried.
    pub runs: u64,
    /// The new finding; `None` if the input was as small as it gets.
    pub written: Option<Written>,
    /// It was stopped before its end.
    pub interrupted: bool,
}

/// Searches with a runner.
struct Search<'a> {
    runner: Runner,
    wanted: crate::failure::FailureKey,
    runs: u64,
    on_run: &'a mut dyn FnMut(usize),
    stop: &'a AtomicBool,
}

impl Search<'_> {
    /// Whether an input fails in the same way.
    fn fails(&mut self, input: &[u8]) -> Result<bool, FuzzError> {
        self.runs += 1;
        (self.on_run)(input.len());
        let run = self.runner.examine(input)?;
        Ok(run.failure.is_some_and(|failure| key(&failure) == self.wanted))
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Takes pieces out, from the end, as long as that helps.
    fn shrink(&mut self, input: &mut Vec<u8>) -> Result<(), FuzzError> {
        let mut piece = input.len().div_ceil(2).max(1);
        loop {
            let mut end = input.len();
            let mut shrunk = false;
            while end > 0 && !self.is_stopped() {
                let start = end.saturating_sub(piece);
                let mut shorter = input.clone();
                shorter.drain(start..end);
                if self.fails(&shorter)? {
                    *input = shorter;
                    shrunk = true;
                }
                end = start.min(input.len());
            }
            if self.is_stopped() || (piece == 1 && !shrunk) {
                return Ok(());
            }
            // Once more with single bytes, until none can be taken out.
            piece = if piece == 1 { 1 } else { piece.div_ceil(2) };
        }
    }

    /// Makes bytes that do not matter the same.
    fn make_plain(&mut self, input: &mut [u8]) -> Result<(), FuzzError> {
        const PLAIN: u8 = b'0';
        for at in 0..input.len() {
            if input[at] == PLAIN || self.is_stopped() {
                continue;
            }
            let before = std::mem::replace(&mut input[at], PLAIN);
            if !self.fails(input)? {
                input[at] = before;
            }
        }
        Ok(())
    }
}

/// Makes a finding's input as small as possible, and writes a new finding beside it. `on_run` is told of each try, with its length.
///
/// # Errors
/// [`FuzzError::NoFinding`]; [`FuzzError::NoFailure`] if the input does not fail; as [`write_finding`].
pub fn minimize(
    trace: &Trace<'_>,
    preopens: Vec<Preopen>,
    cache: Option<CodeCache>,
    observer: &dyn Observer,
    stop: &Arc<AtomicBool>,
    on_run: &mut dyn FnMut(usize),
) -> Result<Minimized, FuzzError> {
    let path = trace.reader().path().to_owned();
    let finding =
        trace.reader().finding().ok_or_else(|| FuzzError::NoFinding { path: path.clone() })?;
    let target = Target::of_finding(trace, finding, preopens, cache)?;
    let runner = Runner::start_until(&target, Variant::Covered, stop, observer)?;
    let mut input = finding.input.clone();
    let wanted = key(&finding.failure);
    let mut search = Search { runner, wanted, runs: 0, on_run, stop };
    if !search.fails(&input)? && !search.is_stopped() {
        return Err(FuzzError::NoFailure {
            what: "the input does not fail any more as it did when it was recorded; give the folders that it had (--dir), `wrr repro` says more".to_owned(),
        });
    }
    search.shrink(&mut input)?;
    search.make_plain(&mut input)?;
    let interrupted = search.is_stopped();
    // The last run must not end before it fails.
    let target_of = search.runner.target().clone();
    let mut last = Runner::start(&target_of, Variant::Covered, observer)?;
    let failure: Option<Failure> = last.examine(&input)?.failure;
    let written = match failure {
        Some(failure) if input != finding.input => {
            let start = last.starts_at();
            Some(write_finding(&target, &input, (&failure, start), folder_of(&path), observer)?)
        }
        _ => None,
    };
    Ok(Minimized {
        before_bytes: finding.input.len(),
        after_bytes: input.len(),
        runs: search.runs,
        written,
        interrupted,
    })
}
