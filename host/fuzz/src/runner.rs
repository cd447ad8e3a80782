//! A program that stands where it is about to read its input, and runs from there again and again.

use crate::clock;
use crate::failure::{self, failure};
use crate::{FuzzError, Target};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use wrr::format::{Ending, Event, EventIndex, Failure, FailureKind, Given, Input, Tick};
use wrr::{
    Bound, CheckpointId, Comparison, End, FUZZER_RESULT, Frame, Injected, Observer, Output,
    Reached, RecordOptions, Session, Stdin, Trace, Until, Variant,
};

/// What a program may take to get to its input, in ticks, if a run may not take more.
const START_TICKS_MIN: u64 = 10_000_000_000;

/// What came of an input.
#[derive(Debug)]
pub struct Run {
    /// How the program ended.
    pub end: End,
    /// How it failed, if it did.
    pub failure: Option<Failure>,
    /// How many ticks it took from where the input is read.
    pub ticks: u64,
    /// The program does not want the input to be kept.
    pub rejected: bool,
    /// It was ended because somebody wanted that.
    pub interrupted: bool,
}

/// A program under a fuzzer's control.
pub struct Runner {
    target: Target,
    session: Session,
    input: Injected,
    here: CheckpointId,
    start: Tick,
    /// It is at its checkpoint.
    is_fresh: bool,
}

impl Runner {
    /// Runs the program to where it reads its input for the first time.
    ///
    /// # Errors
    /// [`FuzzError::FailsAtStart`], [`FuzzError::NoInputRead`], [`FuzzError::SlowStart`]; the module is refused.
    pub fn start(
        target: &Target,
        variant: Variant,
        observer: &dyn Observer,
    ) -> Result<Runner, FuzzError> {
        Runner::start_until(target, variant, &Arc::default(), observer)
    }

    /// As [`Runner::start`]; runs end soon after `interrupt` is set.
    ///
    /// # Errors
    /// As [`Runner::start`]; [`FuzzError::Interrupted`].
    pub fn start_until(
        target: &Target,
        variant: Variant,
        interrupt: &Arc<AtomicBool>,
        observer: &dyn Observer,
    ) -> Result<Runner, FuzzError> {
        let input = Injected::new();
        let until = match &target.given {
            Given::File(path) => Until::Event(first_use(target, path, interrupt, observer)?),
            Given::Stdin | Given::Function => Until::End,
        };
        let streams = (Stdin::Injected(input.clone()), Output::Writer(Box::new(std::io::sink())));
        let mut session = Session::start(target.job(variant, streams, observer))?;
        session.set_bounds(Some(Tick(start_ticks(target))), true)?;
        session.set_interrupt(Arc::clone(interrupt))?;
        match session.run_until(until)? {
            Reached::Input | Reached::Stopped => {}
            Reached::Ended(_) if session.bound() == Some(Bound::Asked) => {
                return Err(FuzzError::Interrupted);
            }
            Reached::Ended(end) => return Err(ended_at_start(target, &end)),
            Reached::CutOff => unreachable!("only a replay is cut off"),
        }
        let start = session.tick()?;
        let here = session.checkpoint()?;
        session.set_bounds(Some(last_tick(target, start)), true)?;
        Ok(Runner { target: target.clone(), session, input, here, start, is_fresh: true })
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The tick at which it reads its input.
    #[must_use]
    pub fn starts_at(&self) -> Tick {
        self.start
    }

    /// How much stack a thread needs that runs it, in bytes.
    #[must_use]
    pub fn stack_bytes(&self) -> usize {
        self.session.stack_bytes()
    }

    /// Goes back to where the input is read.
    fn go_back(&mut self) -> Result<(), FuzzError> {
        if !self.is_fresh {
            self.session.rollback(self.here)?;
        }
        self.is_fresh = false;
        Ok(())
    }

    fn give(&mut self, input: &[u8]) -> Result<(), FuzzError> {
        match &self.target.given {
            Given::File(path) => self.session.write_file(path, input)?,
            Given::Stdin | Given::Function => {
                self.input.truncate(0);
                self.input.push(input);
            }
        }
        self.input.close();
        Ok(())
    }

    /// Runs the program on an input, to its end.
    ///
    /// # Errors
    /// The host could not go on.
    pub fn run(&mut self, input: &[u8]) -> Result<Run, FuzzError> {
        self.go_back()?;
        self.give(input)?;
        let reached = self.session.run_until(Until::End)?;
        let Reached::Ended(end) = reached else {
            return Err(
                wrr::Error::Host(format!("the run stopped before its end: {reached:?}")).into()
            );
        };
        if let Ending::HostFailed { what } = &end.ending {
            return Err(wrr::Error::Host(what.clone()).into());
        }
        let tick = self.session.tick()?;
        let ticks = tick.0.saturating_sub(self.start.0);
        clock::advance(ticks);
        let failure = failure(&end, self.session.bound(), tick, &self.target.options.crash_exits);
        let rejected = self.target.given == Given::Function
            && failure.is_none()
            && self.session.exported_number(FUZZER_RESULT)? == Some(-1);
        let interrupted = self.session.bound() == Some(Bound::Asked);
        Ok(Run { end, failure, ticks, rejected, interrupted })
    }

    /// As [`Runner::run`], and where the program stood when it exited.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn examine(&mut self, input: &[u8]) -> Result<Run, FuzzError> {
        let mut run = self.run(input)?;
        if let Some(failure) = &mut run.failure {
            self.locate(input, failure)?;
        }
        Ok(run)
    }

    /// Finds out where the program stood when it exited, if that is how the last run failed: of other failures it is known.
    pub(crate) fn locate(&mut self, input: &[u8], failure: &mut Failure) -> Result<(), FuzzError> {
        let last = self.session.events()?.0.checked_sub(1);
        let (FailureKind::Exit(_), Some(last)) = (failure.kind, last) else { return Ok(()) };
        self.go_back()?;
        self.give(input)?;
        if self.session.run_until(Until::Event(EventIndex(last)))? == Reached::Stopped {
            let stack = self.session.stack()?.into_iter().take(wrr::BACKTRACE_FRAMES_MAX);
            failure.frames = stack.map(|f| failure::frame(Frame::from(f))).collect();
        }
        Ok(())
    }

    /// The counters of the last run, which the caller sets to zero again.
    ///
    /// # Errors
    /// The program was lost in an earlier failure.
    pub fn counts(&mut self) -> Result<&mut [u8], FuzzError> {
        Ok(self.session.counts()?)
    }

    /// Runs an input and tells what was compared meanwhile; in [`Variant::Compares`] only.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn compares(&mut self, input: &[u8]) -> Result<Vec<Comparison>, FuzzError> {
        self.session.note_compares()?;
        // Going back may give the session another guest, which notes nothing.
        self.go_back()?;
        self.session.note_compares()?;
        self.is_fresh = true;
        self.run(input)?;
        Ok(self.session.take_compares()?)
    }
}

/// The last tick of a run that reads its input at `start`.
pub(crate) fn last_tick(target: &Target, start: Tick) -> Tick {
    Tick(start.0.saturating_add(target.options.timeout_ticks))
}

fn start_ticks(target: &Target) -> u64 {
    target.options.timeout_ticks.max(START_TICKS_MIN)
}

fn ended_at_start(target: &Target, end: &End) -> FuzzError {
    let name = target.name.clone();
    match (&end.ending, &end.trap) {
        (Ending::Interrupted, Some((message, _))) if message.starts_with("it had not ended") => {
            FuzzError::SlowStart { name, ticks: start_ticks(target) }
        }
        (Ending::Trapped { .. } | Ending::Interrupted, Some((message, backtrace))) => {
            let frames: Vec<_> = backtrace.frames.iter().cloned().map(failure::frame).collect();
            let function = failure::significant(&frames).first().map(failure::name_of);
            let function = function.map(|name| format!(" in {name}")).unwrap_or_default();
            let hint = match target.given {
                Given::Function => "",
                _ => "; `wrr run` shows what it writes meanwhile",
            };
            FuzzError::FailsAtStart { name, hint, what: format!("{message}{function}") }
        }
        (ending, _) => FuzzError::NoInputRead {
            name,
            what: ending.to_string(),
            hint: match target.given {
                Given::File(_) => "it does not open the file that @@ stands for",
                Given::Stdin => {
                    "if it reads a file, give its arguments behind --, with @@ for the file's name"
                }
                Given::Function => "its initialisation must not exit",
            },
        },
    }
}

/// The first host call that names the file with the input.
fn first_use(
    target: &Target,
    path: &str,
    interrupt: &Arc<AtomicBool>,
    observer: &dyn Observer,
) -> Result<EventIndex, FuzzError> {
    let folder =
        tempfile::tempdir().map_err(FuzzError::file("make a folder in", std::env::temp_dir()))?;
    let trace = folder.path().join("start.wrr");
    let streams = (Stdin::Bytes(Vec::new()), Output::Writer(Box::new(std::io::sink())));
    let job = target.job(Variant::Covered, streams, observer);
    let mut session = Session::record(job, &trace, RecordOptions::default())?;
    session.write_file(path, b"")?;
    session.set_bounds(Some(Tick(start_ticks(target))), true)?;
    session.set_interrupt(Arc::clone(interrupt))?;
    let reached = session.run_until(Until::End)?;
    if session.bound() == Some(Bound::Asked) {
        return Err(FuzzError::Interrupted);
    }
    session.finish()?;
    let trace = Trace::open(&trace)?;
    let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
    for event in trace.reader().events()? {
        let Event { index, call, .. } = event?;
        if let Input::Path(given) = &call.input
            && given.rsplit(|&byte| byte == b'/').next() == Some(name)
        {
            return Ok(index);
        }
    }
    match reached {
        Reached::Ended(end) => Err(ended_at_start(target, &end)),
        _ => Err(FuzzError::SlowStart { name: target.name.clone(), ticks: start_ticks(target) }),
    }
}
