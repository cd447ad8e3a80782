//! Replays: feeds recorded outcomes, after checking that the guest asks what it asked then.

use crate::apply::fits;
use crate::divergence::Divergence;
use crate::stdio::{Stream, Streams};
use crate::{Source, Stop};
use std::io::Write;
use wrr_trace::{
    Call, Ending, Errno, Event, EventIndex, Events, Function, Input, Iovec, Outcome, Reply,
    TraceError, TraceReader,
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
        ReplayOutput { stdout: Box::new(std::io::stdout()), stderr: Box::new(std::io::stderr()) }
    }

    /// Nowhere.
    #[must_use]
    pub fn discard() -> ReplayOutput {
        ReplayOutput { stdout: Box::new(std::io::sink()), stderr: Box::new(std::io::sink()) }
    }
}

/// A host that answers from a trace.
pub struct Replay {
    events: Events,
    /// The next event, read ahead to know whether the one before is the last.
    ahead: Option<Event>,
    next: EventIndex,
    ending: Option<Ending>,
    streams: Streams,
    output: ReplayOutput,
}

impl Replay {
    /// A host that answers from `reader`'s events and shows output on `output`.
    ///
    /// # Errors
    /// None at once; a damaged trace shows when its event is reached.
    pub fn new(reader: &TraceReader, output: ReplayOutput) -> Result<Replay, TraceError> {
        let mut events = reader.events()?;
        Ok(Replay {
            ahead: events.next().transpose()?,
            events,
            next: EventIndex(0),
            ending: reader.ending().cloned(),
            streams: Streams::new(),
            output,
        })
    }

    /// Whether the run did not come to an end of its own while it was recorded.
    fn is_cut(&self) -> bool {
        matches!(self.ending, None | Some(Ending::Interrupted | Ending::HostFailed { .. }))
    }

    /// Whether all that was recorded of a run without an end has been replayed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ahead.is_none() && self.is_cut()
    }

    fn diverged(&self, recorded: String, replayed: String) -> Stop {
        Stop::Diverged(Box::new(Divergence { event: self.next, recorded, replayed }))
    }

    /// Shows what the guest wrote to a standard stream, as much of it as was accepted then.
    fn show(&mut self, call: &Call, outcome: &Outcome, memory: &[u8]) -> Result<(), Stop> {
        let (Function::FdWrite, Input::Data { iovs, .. }, Reply::Number(written)) =
            (call.function, &call.input, &outcome.reply)
        else {
            return Ok(());
        };
        let out = match self.streams.get(call.args[0] as u32) {
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
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Stop::OutputClosed),
            Err(e) => Err(Stop::Host(format!("cannot write the replayed output: {e}"))),
        }
    }
}

impl Source for Replay {
    fn outcome(
        &mut self,
        call: &Call,
        _refused: Option<Errno>,
        memory: &mut [u8],
    ) -> Result<Outcome, Stop> {
        let Some(event) = self.ahead.take() else {
            return Err(match &self.ending {
                Some(ending) if !self.is_cut() => {
                    self.diverged(format!("the run ends: {ending}"), call.to_string())
                }
                _ => Stop::EndOfTrace,
            });
        };
        let Event { call: recorded, outcome, .. } = event;
        if recorded != *call {
            return Err(self.diverged(recorded.to_string(), difference(&recorded, call)));
        }
        if fits(call, &outcome, memory).is_err() {
            let what = format!("{call}, which has no room for what the trace delivers");
            return Err(self.diverged(recorded.to_string(), what));
        }
        self.streams.observe(call, &outcome);
        self.show(call, &outcome, memory)?;
        self.next.0 += 1;
        self.ahead = self.events.next().transpose()?;
        if self.is_over() {
            // Nothing is known of what followed, and it may have been an endless loop.
            return Err(Stop::EndOfTrace);
        }
        Ok(outcome)
    }

    fn finish(&mut self, ending: &Ending) -> Result<(), Stop> {
        if let Some(event) = self.ahead.take() {
            return Err(self.diverged(event.call.to_string(), format!("it ended: {ending}")));
        }
        match &self.ending {
            Some(recorded) if recorded == ending => Ok(()),
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
