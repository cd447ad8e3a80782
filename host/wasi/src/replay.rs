//! Replays: feeds recorded outcomes, after checking that the guest asks what it asked then.

use crate::apply::fits;
use crate::descriptors::{Descriptors, StateError, Stream};
use crate::divergence::{Divergence, TickDifference};
use crate::{Source, Stop, standard};
use std::io::Write;
use wrr_trace::{
    Call, Ending, Errno, Event, EventIndex, FailureKind, Function, HostState, Input, Iovec,
    Outcome, Reply, Tick, TraceError, TraceReader,
};

/// Where the output of a replayed guest goes.
pub struct ReplayOutput {
    /// For what it writes to standard output.
    pub stdout: Box<dyn Write + Send>,
    /// For what it writes to standard error.
    pub stderr: Box<dyn Write + Send>,
}

impl ReplayOutput {
    /// The process's own streams.
    #[must_use]
    pub fn inherit() -> ReplayOutput {
        ReplayOutput { stdout: standard::stdout(), stderr: standard::stderr() }
    }

    /// Nowhere.
    #[must_use]
    pub fn discard() -> ReplayOutput {
        ReplayOutput { stdout: Box::new(std::io::sink()), stderr: Box::new(std::io::sink()) }
    }
}

/// Whether a replay looks at the next event before it delivers the current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LookAhead {
    /// Yes: a recording without an end is then replayed up to its last event and not an instruction further.
    #[default]
    Yes,
    /// No: the next event may not exist yet, and asking for it may wait until it does.
    No,
}

/// Where a replay gets its events, and from which moment on.
pub struct Feed {
    /// The events, from the one with the number `next` on.
    pub events: Box<dyn Iterator<Item = Result<Event, TraceError>> + Send>,
    /// The number of the first of them.
    pub next: EventIndex,
    /// What the host knew before that event.
    pub state: HostState,
    /// How the recording ended; `None` if that is not known (yet): then it ends with its last event.
    pub ending: Option<Ending>,
    /// The tick of the ending, if it is known.
    pub ending_tick: Option<Tick>,
    /// The run is known to have gone on behind its last event, even if its ending has the same tick.
    pub goes_on: bool,
    /// Whether the next event may be asked for early.
    pub look_ahead: LookAhead,
}

/// Whether a recorded run was ended from outside because a memory would have grown beyond its limit, which a replay sees by itself.
#[must_use]
pub fn ends_by_memory(reader: &TraceReader) -> bool {
    let kind = reader.finding().map(|finding| finding.failure.kind);
    kind == Some(FailureKind::Memory) && reader.ending() == Some(&Ending::Interrupted)
}

/// Why a replay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The first event cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The state to start from is impossible.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A host that answers from a trace.
pub struct Replay {
    events: Box<dyn Iterator<Item = Result<Event, TraceError>> + Send>,
    /// The next event, if it was read.
    ahead: Option<Event>,
    /// There are no more events to be read.
    exhausted: bool,
    look_ahead: LookAhead,
    next: EventIndex,
    ending: Option<Ending>,
    ending_tick: Option<Tick>,
    goes_on: bool,
    descriptors: Descriptors,
    output: ReplayOutput,
}

impl Replay {
    /// A host that answers from all of `reader`'s events and shows output on `output`.
    ///
    /// # Errors
    /// The first event cannot be read; a trace that is damaged further on shows it when that is reached.
    pub fn new(reader: &TraceReader, output: ReplayOutput) -> Result<Replay, TraceError> {
        let feed = Feed {
            events: Box::new(reader.events()?),
            next: EventIndex(0),
            state: HostState::at_start(reader.manifest()),
            ending: reader.ending().cloned(),
            ending_tick: reader.end_tick(),
            goes_on: ends_by_memory(reader),
            look_ahead: LookAhead::Yes,
        };
        match Replay::at(feed, output) {
            Ok(replay) => Ok(replay),
            Err(ReplayError::Trace(error)) => Err(error),
            Err(ReplayError::State(error)) => unreachable!("no manifest makes this up: {error}"),
        }
    }

    /// A host that answers from `feed` and shows output on `output`.
    ///
    /// # Errors
    /// The state is impossible, or the first event (if it may be asked for) cannot be read.
    pub fn at(feed: Feed, output: ReplayOutput) -> Result<Replay, ReplayError> {
        let mut replay = Replay {
            events: feed.events,
            ahead: None,
            exhausted: false,
            look_ahead: feed.look_ahead,
            next: feed.next,
            ending: feed.ending,
            ending_tick: feed.ending_tick,
            goes_on: feed.goes_on,
            descriptors: Descriptors::from_state(&feed.state)?,
            output,
        };
        replay.look_ahead()?;
        Ok(replay)
    }

    /// Reads the next event, if it was not read yet. This may wait.
    fn fetch(&mut self) -> Result<(), TraceError> {
        if self.ahead.is_none() && !self.exhausted {
            self.ahead = self.events.next().transpose()?;
            self.exhausted = self.ahead.is_none();
        }
        Ok(())
    }

    fn look_ahead(&mut self) -> Result<(), TraceError> {
        if self.look_ahead == LookAhead::Yes { self.fetch() } else { Ok(()) }
    }

    /// Whether the run did not come to an end of its own while it was recorded.
    fn is_cut(&self) -> bool {
        matches!(self.ending, None | Some(Ending::Interrupted | Ending::HostFailed { .. }))
    }

    /// Whether all that was recorded of a run without an end has been replayed, as far as that is known.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ahead.is_none() && self.exhausted && self.is_cut()
    }

    /// Whether the run is known to have computed on from a tick, to where it was ended from outside.
    fn goes_on_behind(&self, tick: Tick) -> bool {
        self.ending == Some(Ending::Interrupted)
            && (self.goes_on || self.ending_tick.is_some_and(|end| end > tick))
    }

    /// The number of the event that comes next.
    #[must_use]
    pub fn next_event(&self) -> EventIndex {
        self.next
    }

    fn diverged(&self, recorded: String, replayed: String) -> Stop {
        let event = self.next;
        Stop::Diverged(Box::new(Divergence { event, recorded, replayed, ticks: None }))
    }

    /// Checks the moment of something that is otherwise as recorded.
    fn check_tick(
        &self,
        recorded: Tick,
        replayed: Tick,
        what: &dyn std::fmt::Display,
    ) -> Result<(), Stop> {
        let Some(ticks) = TickDifference::between(recorded, replayed) else { return Ok(()) };
        Err(Stop::Diverged(Box::new(Divergence {
            event: self.next,
            recorded: format!("{what}, at tick {}", recorded.0),
            replayed: format!("the same, at tick {}", replayed.0),
            ticks: Some(ticks),
        })))
    }

    /// Shows what the guest wrote to a standard stream, as much of it as was accepted then.
    fn show(&mut self, call: &Call, outcome: &Outcome, memory: &[u8]) -> Result<(), Stop> {
        let (Function::FdWrite, Input::Data { iovs, .. }, Reply::Number(written)) =
            (call.function, &call.input, &outcome.reply)
        else {
            return Ok(());
        };
        let out = match self.descriptors.stream(call.args[0] as u32) {
            Some(Stream::Out) => &mut self.output.stdout,
            Some(Stream::Err) => &mut self.output.stderr,
            Some(Stream::In) | None => return Ok(()),
        };
        let mut left = *written as usize;
        let mut result = Ok(());
        for Iovec { addr, len } in iovs {
            let piece = &memory[*addr as usize..][..left.min(*len as usize)];
            left -= piece.len();
            result = result.and_then(|()| out.write_all(piece));
        }
        match result.and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(e) if standard::is_closed(&e) => Err(Stop::OutputClosed),
            Err(e) => Err(Stop::Host(format!("cannot write the replayed output: {e}"))),
        }
    }
}

impl Source for Replay {
    fn outcome(
        &mut self,
        tick: Tick,
        call: &Call,
        _refused: Option<Errno>,
        memory: &mut [u8],
    ) -> Result<Outcome, Stop> {
        self.fetch()?;
        let Some(event) = self.ahead.take() else {
            return Err(match &self.ending {
                Some(ending) if !self.is_cut() => {
                    self.diverged(format!("the run ends: {ending}"), call.to_string())
                }
                _ => Stop::EndOfTrace,
            });
        };
        let Event { call: recorded, outcome, tick: recorded_tick, .. } = event;
        if recorded != *call {
            return Err(self.diverged(recorded.to_string(), difference(&recorded, call)));
        }
        self.check_tick(recorded_tick, tick, &recorded)?;
        if fits(call, &outcome, memory).is_err() {
            let what = format!("{call}, which has no room for what the trace delivers");
            return Err(self.diverged(recorded.to_string(), what));
        }
        self.descriptors.observe(call, &outcome);
        self.show(call, &outcome, memory)?;
        self.next.0 += 1;
        self.look_ahead()?;
        if self.is_over() && !self.goes_on_behind(recorded_tick) {
            // Nothing is known of what followed, and it may have been an endless loop.
            return Err(Stop::EndOfTrace);
        }
        Ok(outcome)
    }

    fn state(&self) -> HostState {
        self.descriptors.state()
    }

    fn set_output(&mut self, output: ReplayOutput) {
        self.output = output;
    }

    fn finish(&mut self, ending: &Ending, tick: Tick) -> Result<(), Stop> {
        self.fetch()?;
        if let Some(event) = self.ahead.take() {
            return Err(self.diverged(event.call.to_string(), format!("it ended: {ending}")));
        }
        match &self.ending {
            Some(recorded) if recorded == ending => match self.ending_tick {
                Some(recorded_tick) => {
                    self.check_tick(recorded_tick, tick, &format_args!("the run ends: {ending}"))
                }
                None => Ok(()),
            },
            Some(recorded) if !self.is_cut() => {
                Err(self
                    .diverged(format!("the run ends: {recorded}"), format!("it ended: {ending}")))
            }
            _ => Err(Stop::EndOfTrace),
        }
    }
}

/// The guest's call, and if it looks like the recorded one, in what it differs.
fn difference(recorded: &Call, found: &Call) -> String {
    let line = found.to_string();
    if line != recorded.to_string() {
        return line;
    }
    let params = found.function.signature().params;
    let pairs = params.iter().zip(recorded.args.iter().zip(&found.args));
    let args: Vec<String> = pairs
        .filter(|(_, (then, now))| then != now)
        .map(|(p, (then, now))| format!("{}={now:#x} instead of {then:#x}", p.name))
        .collect();
    if args.is_empty() {
        format!("{line}, with other contents behind its pointers")
    } else {
        format!("{line}, with {}", args.join(", "))
    }
}
