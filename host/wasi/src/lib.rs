//! WASI preview1 at the boundary between a guest and the world.
//!
//! Every host call goes the same way, whether it is only run, recorded or replayed:
//!
//! 1. [`decode`] reads from guest memory what the arguments point to, and finds what is wrong with them;
//! 2. a [`Source`] gives the outcome: [`Live`] asks the operating system, [`Recorder`] does so and
//!    writes it down, [`Replay`] takes it from a trace after checking that the call is the recorded one;
//! 3. [`apply`] writes the outcome into guest memory.
//!
//! [`Descriptors`] follows all of it, so that at any moment there is a [`HostState`] from which a replay
//! goes on ([`Replay::at`]) or the guest runs on in the real world ([`Live::resume`]).
//!
//! Invariant: `apply` is the only place that changes guest memory, and it sees nothing but the call and
//! its outcome. So what a replay delivers is what the recording delivered.
//!
//! This is the only crate that touches files, clocks and randomness for a guest, and its module `live`
//! the only place that names `wasi-common`.

mod apply;
mod decode;
mod descriptors;
mod divergence;
mod guest_path;
mod live;
mod memory;
mod overlay;
mod record;
mod replay;
mod standard;
mod virtual_clock;

pub use descriptors::{Descriptors, StateError};
pub use divergence::{Divergence, TickDifference};
pub use guest_path::shown as guest_path;
pub use live::{
    FileSystem, Injected, Live, LiveConfig, LiveError, LiveState, NotTakenBack, Output, Preopen,
    Problem, ResumeError, SharedOutput, Stdin,
};
pub use overlay::{
    Change, ChangeKind, CommitError, Committed, Fault, LayerOutline, Lower, Overlay,
    OverlayOptions, OverlaySnapshot,
};
pub use record::{OnTraceError, Recorder};
pub use replay::{Feed, LookAhead, Replay, ReplayError, ReplayOutput, ends_by_memory};

use wrr_trace::{
    Call, Ending, Errno, EventIndex, Function, HostState, Outcome, Saved, Tick, TraceError,
    TraceWriter,
};

/// Why a host call does not return to the guest.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The guest called `proc_exit`.
    #[error("exit code {0}")]
    Exit(u32),
    /// The guest controls its checkpoints, which whoever runs it has to do: it is stopped in this call.
    #[error("the program waits for {}", .0.name())]
    Held(Function),
    /// The guest reads what was not put in yet: it is stopped in this call.
    #[error("the program waits for input")]
    WaitsForInput,
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
    /// The terminal was closed that a recorded guest uses: its user is gone, its input is not over.
    #[error("the terminal was closed")]
    TerminalClosed,
    /// The host cannot serve the call in a way that preview1 has an errno for.
    #[error("{0}")]
    Host(String),
}

impl Stop {
    /// Whether the call can be made again later, and has not been carried out.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self, Stop::WaitsForInput | Stop::Held(_))
    }
}

/// Where the outcomes of host calls come from.
pub trait Source: Send {
    /// The outcome of `call`, made at `tick`. `refused` is the errno of a call that must fail without being
    /// carried out.
    ///
    /// `memory` is the guest's, to read output from; its contents stay as they are.
    ///
    /// # Errors
    /// The reason why the guest cannot go on.
    fn outcome(
        &mut self,
        tick: Tick,
        call: &Call,
        refused: Option<Errno>,
        memory: &mut [u8],
    ) -> Result<Outcome, Stop>;

    /// What is known after the last call that returned an outcome.
    fn state(&self) -> HostState;

    /// What the next call with which the guest controls its checkpoints gets.
    fn answer(&mut self, _answer: ControlAnswer) {}

    /// The live host behind it, if there is one.
    fn live(&mut self) -> Option<&mut Live> {
        None
    }

    /// The recording that is written, if one is.
    fn writer(&mut self) -> Option<&mut TraceWriter> {
        None
    }

    /// Somebody but the guest has changed the layer that it writes to.
    ///
    /// # Errors
    /// It cannot be written down.
    fn layer_changed(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    /// From now on a replay shows its output there. What is checked stays the same; other sources
    /// have no output of their own.
    fn set_output(&mut self, _output: ReplayOutput) {}

    /// The guest computes, and has come to `tick`.
    fn stamp(&mut self, _tick: Tick) {}

    /// Takes the buffer of an outcome back, so that large reads need not allocate again.
    fn recycle(&mut self, _data: Vec<u8>) {}

    /// The guest has ended in this way, at `tick`. Called once, after the last call.
    ///
    /// # Errors
    /// Why this was not a good ending: a divergence, a trace that could not be written.
    fn finish(&mut self, _ending: &Ending, _tick: Tick) -> Result<(), Stop> {
        Ok(())
    }
}

/// What a call with which a guest controls its checkpoints gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlAnswer {
    /// How often the session went back to the checkpoint.
    Checkpoint(u32),
    /// Why it cannot go back: the number of a `failure` in `wit/control.wit`.
    Rollback(u32),
    /// What this fork is given; nothing, in a run that is no fork.
    Branch(Option<Vec<u8>>),
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

    /// A host that goes on behind the first `events` calls of a run.
    #[must_use]
    pub fn at(source: impl Source + 'static, events: EventIndex) -> Host {
        Host { source: Box::new(source), events: events.0 }
    }

    /// Serves one call, made at `tick`. `args` are the core wasm arguments, an `i32` zero-extended;
    /// `memory` is the guest's memory 0.
    ///
    /// # Errors
    /// The reason why the guest cannot go on.
    pub fn call(
        &mut self,
        function: Function,
        args: &[u64],
        memory: &mut [u8],
        tick: Tick,
    ) -> Result<Errno, Stop> {
        let (call, refused) = decode::decode(function, args, memory);
        let outcome = self.source.outcome(tick, &call, refused, memory)?;
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

    /// What the next call with which the guest controls its checkpoints gets.
    pub fn answer(&mut self, answer: ControlAnswer) {
        self.source.answer(answer);
    }

    /// Serves a call with which the guest controls its checkpoints. What comes of it is for the caller to put into the guest.
    ///
    /// # Errors
    /// As [`Host::call`], or the errno of a call that is wrong in itself.
    pub fn control(
        &mut self,
        function: Function,
        args: &[u64],
        memory: &mut [u8],
        tick: Tick,
    ) -> Result<Result<Outcome, Errno>, Stop> {
        let (call, refused) = decode::decode(function, args, memory);
        if let Some(errno) = refused {
            return Ok(Err(errno));
        }
        let outcome = self.source.outcome(tick, &call, None, memory)?;
        self.events += 1;
        Ok(Ok(outcome))
    }

    /// How many calls have returned an outcome.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The source was put back, or on, behind so many calls.
    pub fn set_events(&mut self, events: EventIndex) {
        self.events = events.0;
    }

    /// The guest computes, and has come to `tick`: worth a note of the time.
    pub fn stamp(&mut self, tick: Tick) {
        self.source.stamp(tick);
    }

    /// From now on outcomes come from another source, which knows what this one knew.
    pub fn set_source(&mut self, source: impl Source + 'static) {
        self.source = Box::new(source);
    }

    /// What the host knows now: what a checkpoint holds of it.
    #[must_use]
    pub fn state(&self) -> HostState {
        self.source.state()
    }

    /// The live host that answers, if one does.
    pub fn live(&mut self) -> Option<&mut Live> {
        self.source.live()
    }

    /// The recording that is written, if one is.
    pub fn writer(&mut self) -> Option<&mut TraceWriter> {
        self.source.writer()
    }

    /// Somebody but the guest has changed the layer that it writes to.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn layer_changed(&mut self) -> Result<(), Stop> {
        self.source.layer_changed()
    }

    /// From now on a replay shows the guest's output there; nothing else changes.
    pub fn set_output(&mut self, output: ReplayOutput) {
        self.source.set_output(output);
    }

    /// Tells the source that the guest has ended, at `tick`.
    ///
    /// # Errors
    /// Why this was not a good ending: a divergence, a trace that could not be written.
    pub fn finish(&mut self, ending: &Ending, tick: Tick) -> Result<(), Stop> {
        self.source.finish(ending, tick)
    }
}
