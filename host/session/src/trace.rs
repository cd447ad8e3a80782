//! Recorded runs: replaying and verifying.

use crate::job::entry;
use crate::{End, Error};
use std::path::Path;
use wrr_engine::{CodeCache, How, Observer, Program};
use wrr_trace::TraceReader;
use wrr_wasi::{Host, Replay, ReplayOutput, Stop};

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

    /// Runs the program again with the recorded results of its host calls. Touches nothing of the host
    /// but `output`.
    ///
    /// # Errors
    /// [`Error::Diverged`] at the first difference; [`Error::Trace`] if the trace is damaged;
    /// [`Error::Refused`] if this wrr does not run its module.
    pub fn replay(&self, output: ReplayOutput) -> Result<Replayed, Error> {
        let manifest = self.reader.manifest();
        let module = self.reader.module()?;
        let refused = |refusal| Error::Refused { name: manifest.name.clone(), refusal };
        let program = Program::load(
            &module,
            manifest.module,
            &manifest.limits,
            self.cache.as_ref(),
            self.observer,
        )
        .map_err(refused)?;
        drop(module);
        let entry = entry(manifest.invoke.as_deref(), &manifest.args);
        let ended_early = |events| {
            let ending = self.reader.ending().cloned();
            Ok(Replayed { end: ending.map(|ending| End { ending, trap: None }), events })
        };
        let replay = Replay::new(&self.reader, output)?;
        if replay.is_over() {
            return ended_early(0);
        }
        let host = Host::new(replay);
        let (ended, mut host) = program.run(&entry, host).map_err(refused)?;
        let result = match ended.how {
            How::Ended(ending) => {
                host.finish(&ending).map(|()| Some(End { ending, trap: ended.trap }))
            }
            How::Stopped(stop) => Err(stop),
        };
        let events = host.events();
        match result {
            Ok(end) => Ok(Replayed { end, events }),
            // From the last event the call did not return, so it was not counted.
            Err(Stop::EndOfTrace) => ended_early(events + 1),
            Err(Stop::Diverged(divergence)) => Err(Error::Diverged(divergence)),
            Err(Stop::Trace(error)) => Err(Error::Trace(error)),
            Err(Stop::OutputClosed) => Err(Error::OutputClosed),
            Err(other) => Err(Error::Host(other.to_string())),
        }
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
