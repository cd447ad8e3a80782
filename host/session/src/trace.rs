//! Recorded runs: replaying and verifying.

use crate::playback::{Played, until_of};
use crate::{End, Error};
use std::path::Path;
use wrr_engine::{
    BACKTRACE_FRAMES_MAX, Backtrace, CodeCache, Frame, Guest, How, Observer, Program, Reached,
    Until, Variant,
};
use wrr_timeline::Target;
use wrr_trace::{Ending, Tick, TraceReader, TrapKind};
use wrr_wasi::{Host, Replay, ReplayOutput};

/// A recorded run.
pub struct Trace<'a> {
    reader: TraceReader,
    cache: Option<CodeCache>,
    observer: &'a dyn Observer,
}

/// A replay that did what the trace says.
#[derive(Debug)]
pub struct Replayed {
    /// How the guest ended; `None` if the recording stops before its end (its recorder was killed).
    pub end: Option<End>,
    /// Events replayed.
    pub events: u64,
}

impl Trace<'static> {
    /// Opens a trace.
    ///
    /// # Errors
    /// [`Error::Trace`].
    pub fn open(path: &Path) -> Result<Trace<'static>, Error> {
        Ok(Trace { reader: TraceReader::open(path)?, cache: None, observer: &() })
    }
}

impl<'a> Trace<'a> {
    /// The same trace, with a cache of compiled code and somebody to tell when something takes long.
    #[must_use]
    pub fn with<'b>(self, cache: Option<CodeCache>, observer: &'b dyn Observer) -> Trace<'b> {
        Trace { reader: self.reader, cache, observer }
    }

    /// The file and its parts.
    #[must_use]
    pub fn reader(&self) -> &TraceReader {
        &self.reader
    }

    pub(crate) fn cache(&self) -> Option<&CodeCache> {
        self.cache.as_ref()
    }

    pub(crate) fn observer(&self) -> &'a dyn Observer {
        self.observer
    }

    /// Runs the program again with the recorded results of its host calls. Touches nothing of the host
    /// but `output`.
    ///
    /// # Errors
    /// [`Error::Diverged`] at the first difference; [`Error::Trace`] if the trace is damaged;
    /// [`Error::Refused`] if this wrr does not run its module.
    pub fn replay(&self, output: ReplayOutput) -> Result<Replayed, Error> {
        let replay = Replay::new(&self.reader, output)?;
        if replay.is_over() {
            let ending = self.reader.ending().cloned();
            return Ok(Replayed {
                end: ending.map(|ending| End { ending, trap: None }),
                events: 0,
            });
        }
        match self.play_from_start(replay, None)? {
            (Played::Ended(end), events) => Ok(Replayed { end: Some(end), events }),
            // From the last event the call did not return, so it was not counted.
            (_, events) => Ok(Replayed { end: None, events: events + 1 }),
        }
    }

    /// The tick at which the recorded guest ran out of stack. How deep that is depends on the host.
    fn overflow(&self) -> Option<Tick> {
        match self.reader.ending() {
            Some(Ending::Trapped { kind: TrapKind::StackOverflow }) => self.reader.end_tick(),
            _ => None,
        }
    }

    /// Runs a replaying guest on, to a target or to the recorded end.
    pub(crate) fn play(
        &self,
        program: &Program,
        guest: &mut Guest,
        until: Option<Target>,
    ) -> Result<Played, Error> {
        let overflow = self.overflow();
        let goal = match (until, overflow) {
            (Some(target), _) => until_of(target),
            (None, Some(tick)) => Until::Tick(Tick(tick.0 + 1)),
            (None, None) => Until::End,
        };
        let reached = program.on_guest_stack(|| guest.go(goal)).and_then(|reached| reached);
        let ended = match reached.map_err(|refusal| self.refused(refusal))? {
            Reached::Stopped => {
                return match (until, overflow) {
                    (None, Some(tick)) => self.overflowed(guest, tick, None),
                    _ => Ok(Played::Stopped),
                };
            }
            Reached::Ended(ended) => ended,
        };
        let by_itself = matches!(ended.how, How::Ended(_));
        if let Some(Target::Tick(tick)) = until
            && by_itself
            && ended.tick >= tick
        {
            return Ok(Played::Passed);
        }
        let deeper =
            matches!(ended.how, How::Ended(Ending::Trapped { kind: TrapKind::StackOverflow }));
        match overflow {
            Some(tick) if deeper && ended.tick >= tick => self.overflowed(guest, tick, ended.trap),
            _ => self.replayed_end(guest, ended),
        }
    }

    fn play_from_start(
        &self,
        replay: Replay,
        until: Option<Target>,
    ) -> Result<(Played, u64), Error> {
        let program = self.program(Variant::Run)?;
        let manifest = self.reader.manifest();
        let entry = crate::job::entry(manifest.invoke.as_deref(), &manifest.args);
        let refused = |refusal| self.refused(refusal);
        let mut guest =
            Guest::new(&program, Variant::Run, &entry, Host::new(replay)).map_err(refused)?;
        let played = self.play(&program, &mut guest, until)?;
        Ok((played, guest.events().0))
    }

    /// The replay is where the recorded guest ran out of stack.
    fn overflowed(
        &self,
        guest: &mut Guest,
        tick: Tick,
        trap: Option<(String, Backtrace)>,
    ) -> Result<Played, Error> {
        let ending = Ending::Trapped { kind: TrapKind::StackOverflow };
        guest.host().finish(&ending, tick)?;
        let trap = match trap {
            Some(trap) => trap,
            None => {
                let stack = guest.stack().map_err(|refusal| self.refused(refusal))?;
                let frames = stack.into_iter().take(BACKTRACE_FRAMES_MAX).map(|frame| Frame {
                    function: frame.function,
                    name: frame.name,
                    module_offset: Some(frame.offset as usize),
                });
                ("call stack exhausted".to_owned(), Backtrace { frames: frames.collect() })
            }
        };
        Ok(Played::Ended(End { ending, trap: Some(trap) }))
    }

    /// Replays with output from the start up to a moment.
    ///
    /// # Errors
    /// As [`Trace::replay`] and [`Trace::target`].
    pub fn replay_until(&self, target: Target, output: ReplayOutput) -> Result<Replayed, Error> {
        let replay = Replay::new(&self.reader, output)?;
        let (played, events) = self.play_from_start(replay, Some(target))?;
        let end = match played {
            Played::Ended(end) => Some(end),
            Played::Stopped | Played::Passed | Played::CutOff => None,
        };
        Ok(Replayed { end, events })
    }

    /// Checks every byte of the file, then replays it without output.
    ///
    /// # Errors
    /// As [`Trace::replay`].
    pub fn verify(&self) -> Result<Replayed, Error> {
        self.reader.check_all()?;
        self.replay(ReplayOutput::discard())
    }
}
