//! Recorded runs: replaying and verifying.

use crate::moment::Last;
use crate::playback::{Played, until_of};
use crate::{End, Error};
use std::path::Path;
use wrr_engine::{
    BACKTRACE_FRAMES_MAX, Backtrace, CodeCache, Frame, Guest, How, Observer, Program, Purpose,
    Reached, Until, Variant,
};
use wrr_timeline::Target;
use wrr_trace::{Ending, Tick, TraceReader, TrapKind};
use wrr_wasi::{Host, Replay, ReplayOutput, ends_by_memory};

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

    /// The same, of another reader of its file.
    pub(crate) fn with_reader(&self, reader: TraceReader) -> Trace<'a> {
        Trace { reader, cache: self.cache.clone(), observer: self.observer }
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
        self.replay_for(Purpose::Replay, output)
    }

    /// As [`Trace::replay`], in the engine's interpreter, also where there is a compiler: two ways to execute the program
    /// that have little in common.
    ///
    /// # Errors
    /// As [`Trace::replay`].
    pub fn replay_interpreted(&self, output: ReplayOutput) -> Result<Replayed, Error> {
        self.replay_for(Purpose::Interpret, output)
    }

    fn replay_for(&self, purpose: Purpose, output: ReplayOutput) -> Result<Replayed, Error> {
        let replay = Replay::new(&self.reader, output)?;
        let goes_on = ends_by_memory(&self.reader) || self.bounded_at()?.is_some();
        if replay.is_over() && !goes_on {
            let ending = self.reader.ending().cloned();
            return Ok(Replayed {
                end: ending.map(|ending| End { ending, trap: None }),
                events: 0,
            });
        }
        match self.play_from_start(replay, None, purpose)? {
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

    /// The tick at which the recorded guest was ended from outside, if it computed up to there: there is no host call that tells of it.
    pub(crate) fn bounded_at(&self) -> Result<Option<Tick>, Error> {
        let (Some(Ending::Interrupted), Some(tick)) =
            (self.reader.ending(), self.reader.end_tick())
        else {
            return Ok(None);
        };
        if ends_by_memory(&self.reader) {
            // A replay comes to the same end by itself.
            return Ok(None);
        }
        let is_behind =
            matches!(Last::of(&self.reader)?.target, Target::Tick(last) if last == tick);
        Ok((is_behind && tick > Tick(0)).then_some(tick))
    }

    /// The tick at which the run ends, if a replay would go on there: it was ended from outside, or
    /// by a stack that is larger here.
    pub(crate) fn ends_at(&self) -> Result<Option<Tick>, Error> {
        Ok(match self.overflow() {
            Some(tick) => Some(tick),
            None => self.bounded_at()?,
        })
    }

    /// The variant in which the whole run can be repeated: its end may lie where the faster one cannot stop.
    pub(crate) fn replaying_variant(&self) -> Result<Variant, Error> {
        Ok(if self.bounded_at()?.is_some() { Variant::Inspect } else { Variant::Run })
    }

    /// Runs a replaying guest on, to a target or to the recorded end.
    pub(crate) fn play(
        &self,
        program: &Program,
        guest: &mut Guest,
        until: Option<Target>,
    ) -> Result<Played, Error> {
        let (overflow, bounded) = (self.overflow(), self.bounded_at()?);
        let goal = match (until, overflow.map(|tick| Tick(tick.0 + 1)).or(bounded)) {
            (Some(target), _) => until_of(target),
            (None, Some(tick)) => Until::Tick(tick),
            (None, None) => Until::End,
        };
        let reached = program.on_guest_stack(|| guest.go(goal)).and_then(|reached| reached);
        let ended = match reached.map_err(|refusal| self.refused(refusal))? {
            Reached::Stopped => {
                return match (until, overflow, bounded) {
                    (None, Some(tick), _) => self.overflowed(guest, tick, None),
                    (None, None, Some(tick)) => {
                        let message = format!("it had not ended at tick {}", tick.0);
                        self.cut_short(guest, Ending::Interrupted, tick, message)
                    }
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
        purpose: Purpose,
    ) -> Result<(Played, u64), Error> {
        let variant = self.replaying_variant()?;
        let begun = self.begin_program(purpose, variant)?;
        let manifest = self.reader.manifest();
        let entry = crate::job::entry(manifest.invoke.as_deref(), &manifest.args);
        let host = Host::new(replay);
        let guest = Guest::new(begun.program(), variant, &entry, host);
        // Before anything of it runs, which may show something.
        let program = begun.checked()?;
        let mut guest = guest.map_err(|refusal| self.refused(refusal))?;
        guest.set_bounds(None, ends_by_memory(&self.reader));
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
        match trap {
            Some(trap) => {
                guest.host().finish(&ending, tick)?;
                Ok(Played::Ended(End { ending, trap: Some(trap) }))
            }
            None => self.cut_short(guest, ending, tick, "call stack exhausted".to_owned()),
        }
    }

    /// The stopped replay is where the recorded guest ended.
    fn cut_short(
        &self,
        guest: &mut Guest,
        ending: Ending,
        tick: Tick,
        message: String,
    ) -> Result<Played, Error> {
        guest.host().finish(&ending, tick)?;
        let stack = guest.stack().map_err(|refusal| self.refused(refusal))?;
        let frames = stack.into_iter().take(BACKTRACE_FRAMES_MAX).map(Frame::from);
        let trap = Some((message, Backtrace { frames: frames.collect() }));
        Ok(Played::Ended(End { ending, trap }))
    }

    /// Replays with output from the start up to a moment.
    ///
    /// # Errors
    /// As [`Trace::replay`] and [`Trace::target`].
    pub fn replay_until(&self, target: Target, output: ReplayOutput) -> Result<Replayed, Error> {
        let replay = Replay::new(&self.reader, output)?;
        let (played, events) = self.play_from_start(replay, Some(target), Purpose::Replay)?;
        let end = match played {
            Played::Ended(end) => Some(end),
            Played::Stopped | Played::Passed | Played::CutOff => None,
        };
        Ok(Replayed { end, events })
    }
}
