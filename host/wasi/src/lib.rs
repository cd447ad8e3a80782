//! WASI preview1 at the boundary between a guest and the world.
//!
//! Every host call goes the same way, whether it is only run, recorded or replayed:
//!
//! 1. [`decode`] reads from guest memory what the arguments point to, and finds what is wrong with them;
//! 2. a [`Source`] gives the outcome: [`Live`] asks the operating system, [`Recorder`] does so and
//!    writes it down, [`Replay`] takes it from a trace after checking that the call is the recorded one;
//! 3. [`apply`] writes the outcome into guest memory.
//!
//! Invariant: `apply` is the only place that changes guest memory, and it sees nothing but the call and
//! its outcome. So what a replay delivers is what the recording delivered.
//!
//! This is the only crate that touches files, clocks and randomness for a guest, and its module `live`
//! the only place that names `wasi-common`.

mod apply;
mod decode;
mod divergence;
mod live;
mod memory;
mod record;
mod replay;
mod stdio;

pub use divergence::Divergence;
pub use live::{Live, LiveConfig, LiveError, Output, Preopen, Stdin};
pub use record::{OnTraceError, Recorder};
pub use replay::{Replay, ReplayOutput};

use wrr_trace::{Call, Ending, Errno, Function, Outcome, Saved, TraceError};

/// Why a host call does not return to the guest.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The guest called `proc_exit`.
    #[error("exit code {0}")]
    Exit(u32),
    /// The replay did something that the trace contradicts.
    #[error(transparent)]
    Diverged(Box<Divergence>),
    /// The trace was cut off here: what was recorded has been replayed.
    #[error("the recording ends here")]
    EndOfTrace,
    /// The trace cannot be read any further.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The trace could not be written to its end.
    #[error("{error}")]
    NotSaved {
        /// What is in the file all the same; a valid, incomplete trace.
        saved: Saved,
        /// Why.
        error: TraceError,
    },
    /// Nobody reads the replayed output any more.
    #[error("the output was closed")]
    OutputClosed,
    /// The host cannot serve the call in a way that preview1 has an errno for.
    #[error("{0}")]
    Host(String),
}

/// Where the outcomes of host calls come from.
pub trait Source: Send {
    /// The outcome of `call`. `refused` is the errno of a call that must fail without being carried out.
    ///
    /// `memory` is the guest's, to read output from; its contents stay as they are.
    ///
    /// # Errors
    /// The reason why the guest cannot go on.
    fn outcome(
        &mut self,
        call: &Call,
        refused: Option<Errno>,
        memory: &mut [u8],
    ) -> Result<Outcome, Stop>;

    /// Takes the buffer of an outcome back, so that large reads need not allocate again.
    fn recycle(&mut self, _data: Vec<u8>) {}

    /// The guest has ended in this way. Called once, after the last call.
    ///
    /// # Errors
    /// Why this was not a good ending: a divergence, a trace that could not be written.
    fn finish(&mut self, _ending: &Ending) -> Result<(), Stop> {
        Ok(())
    }
}

/// Serves a guest's host calls.
pub struct Host {
    source: Box<dyn Source>,
    events: u64,
}

impl Host {
    /// A host whose outcomes come from `source`.
    #[must_use]
    pub fn new(source: impl Source + 'static) -> Host {
        Host { source: Box::new(source), events: 0 }
    }

    /// Serves one call. `args` are the core wasm arguments, an `i32` zero-extended; `memory` is the
    /// guest's memory 0.
    ///
    /// # Errors
    /// The reason why the guest cannot go on.
    pub fn call(
        &mut self,
        function: Function,
        args: &[u64],
        memory: &mut [u8],
    ) -> Result<Errno, Stop> {
        let (call, refused) = decode::decode(function, args, memory);
        let outcome = self.source.outcome(&call, refused, memory)?;
        self.events += 1;
        // Sources only give outcomes that fit; see `apply::fits`.
        apply::apply(&call, &outcome, memory);
        let errno = outcome.errno;
        self.source.recycle(outcome.data);
        if function == Function::ProcExit {
            return Err(Stop::Exit(args[0] as u32));
        }
        Ok(errno)
    }

    /// How many calls have returned an outcome.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Tells the source that the guest has ended.
    ///
    /// # Errors
    /// Why this was not a good ending: a divergence, a trace that could not be written.
    pub fn finish(&mut self, ending: &Ending) -> Result<(), Stop> {
        self.source.finish(ending)
    }
}
