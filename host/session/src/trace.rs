//! Recorded runs: replaying and verifying.

use crate::session::{Played, until_of};
use crate::{End, Error};
use std::path::Path;
use wrr_engine::{
    Backtrace, CodeCache, Frame, Guest, How, Observer, Program, Reached, Until, Variant,
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
        let program = self.program(Variant::Run)?;
        let replay = Replay::new(&self.reader, output)?;
        if replay.is_over() {
            let ending = self.reader.ending().cloned();
            return Ok(Replayed { end: ending.map(|ending| End { ending, trap: None }), events: 0 });
        }
        let overflow = self.overflow();
        let until = overflow.map_or(Until::End, |tick| Until::Tick(Tick(tick.0 + 1)));
        let played = self.play_from_start(&program, Host::new(replay), until)?;
        let events = played.1;
        match played.0 {
            Played::Ended(end) => Ok(Replayed { end: Some(end), events }),
            Played::Stopped => Err(Error::Host("the replay stopped before its end".to_owned())),
            // From the last event the call did not return, so it was not counted.
            Played::CutOff => Ok(Replayed { end: None, events: events + 1 }),
        }
    }

    /// The tick at which the recorded guest ran out of stack. How deep that is depends on the host.
    fn overflow(&self) -> Option<Tick> {
        match self.reader.ending() {
            Some(Ending::Trapped { kind: TrapKind::StackOverflow }) => self.reader.end_tick(),
            _ => None,
        }
    }

    fn play_from_start(
        &self,
        program: &Program,
        host: Host,
        until: Until,
    ) -> Result<(Played, u64), Error> {
        let manifest = self.reader.manifest();
        let entry = crate::job::entry(manifest.invoke.as_deref(), &manifest.args);
        let refused = |refusal| self.refused(refusal);
        let mut guest = Guest::new(program, Variant::Run, &entry, host).map_err(refused)?;
        let reached = program.on_guest_stack(|| guest.go(until));
        let reached = reached.and_then(|reached| reached).map_err(refused)?;
        let played = match (reached, self.overflow()) {
            (Reached::Stopped, Some(tick)) => self.overflowed(&mut guest, tick, None)?,
            (Reached::Ended(ended), Some(tick)) => {
                let deeper = matches!(
                    ended.how,
                    How::Ended(Ending::Trapped { kind: TrapKind::StackOverflow })
                );
                if deeper && ended.tick >= tick {
                    self.overflowed(&mut guest, tick, ended.trap)?
                } else {
                    self.replayed_end(&mut guest, ended)?
                }
            }
            (Reached::Stopped, None) => Played::Stopped,
            (Reached::Ended(ended), None) => self.replayed_end(&mut guest, ended)?,
        };
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
                let frames = stack.into_iter().map(|frame| Frame {
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
        let program = self.program(Variant::Run)?;
        let host = Host::new(Replay::new(&self.reader, output)?);
        let (played, events) = self.play_from_start(&program, host, until_of(target))?;
        let end = match played {
            Played::Ended(end) => Some(end),
            Played::Stopped | Played::CutOff => None,
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
