//! Live runs: plain and recorded.

use crate::follower::{Checkpoints, Followed, Follower, Stamper};
use crate::{End, Error};
use std::path::Path;
use std::sync::Arc;
use wrr_engine::{
    CodeCache, Ended, Entry, Guest, Heart, How, Images, Observer, Program, Purpose, Reached,
    Refusal, Until, Variant, module_bytes,
};
use wrr_trace::{
    Ending, EventIndex, HostState, Interrupter, Limits, Manifest, ModuleId, Saved, Tick,
    TraceWriter, WriterOptions,
};
use wrr_wasi::{Host, Live, LiveConfig, OnTraceError, Recorder, Stop};

/// A program, what it gets, and how it is run.
pub struct Job<'a> {
    /// The module, binary or text.
    pub module: Vec<u8>,
    /// Its name for people; also its `argv[0]`, unless [`Job::live`] says otherwise.
    pub name: String,
    /// An export to call instead of `_start`; it gets the arguments after `argv[0]`.
    pub invoke: Option<String>,
    /// What it may see of the world.
    pub live: LiveConfig,
    /// What it may use.
    pub limits: Limits,
    /// Where compiled code is kept.
    pub cache: Option<CodeCache>,
    /// Is told when something takes long.
    pub observer: &'a dyn Observer,
}

impl Job<'static> {
    /// A job with nothing but its name as an argument.
    #[must_use]
    pub fn new(module: Vec<u8>, name: &str) -> Job<'static> {
        Job {
            module,
            name: name.to_owned(),
            invoke: None,
            live: LiveConfig { args: vec![name.to_owned()], ..LiveConfig::default() },
            limits: Limits::default(),
            cache: None,
            observer: &(),
        }
    }
}

/// Ends a recording from another thread, for a signal handler.
#[derive(Clone)]
pub struct Interrupt(Interrupter);

impl Interrupt {
    pub(crate) fn new(writer: &TraceWriter) -> Interrupt {
        Interrupt(writer.interrupter())
    }

    /// Completes the trace with what was recorded so far. The guest goes on, unrecorded, until the
    /// caller ends the process. `false` if the recording was being finished already.
    #[must_use]
    pub fn finish_trace(&self) -> bool {
        self.0.interrupt()
    }
}

/// How to record.
#[derive(Default)]
pub struct RecordOptions<'a> {
    /// What to do when the trace cannot be written any further.
    pub on_trace_error: OnTraceError,
    /// Whether and when checkpoints are taken; without them a seek has to replay from the start.
    pub checkpoints: Option<Checkpoints>,
    /// Called when the recording has begun.
    pub on_start: Option<&'a mut dyn FnMut(Interrupt)>,
}

/// A finished recording.
#[derive(Debug)]
pub struct Recorded {
    /// How the guest ended.
    pub end: End,
    /// Host calls, which are events.
    pub events: u64,
    /// If the trace could not be written to its end: what is in it, and why there is no more.
    pub not_saved: Option<(Saved, wrr_trace::TraceError)>,
}

/// The entry of a program with these arguments, of which the first is its name.
pub(crate) fn entry(invoke: Option<&str>, args: &[String]) -> Entry {
    match invoke {
        None => Entry::Command,
        Some(name) => {
            Entry::Export { name: name.to_owned(), args: args.iter().skip(1).cloned().collect() }
        }
    }
}

/// What runs live. A deterministic run ends at the same call on every host, also if it is its stack that ends it.
pub(crate) fn live_variant(deterministic: bool) -> Variant {
    if deterministic { Variant::Counted } else { Variant::Run }
}

/// A job that can be started.
struct Prepared {
    module: Arc<[u8]>,
    id: ModuleId,
    program: Program,
    variant: Variant,
    entry: Entry,
}

/// Checks and compiles everything that can fail before the world is touched.
fn prepare(job: &mut Job<'_>) -> Result<Prepared, Error> {
    let load = |job: &mut Job<'_>| -> Result<Prepared, Refusal> {
        let module: Arc<[u8]> = module_bytes(std::mem::take(&mut job.module))?.into();
        let id = ModuleId::of(&module);
        let variant = live_variant(job.live.deterministic);
        let program = Program::load(
            Arc::clone(&module),
            id,
            &job.limits,
            job.cache.as_ref(),
            (Purpose::Live, variant),
            job.observer,
        )?;
        let entry = entry(job.invoke.as_deref(), &job.live.args);
        program.check_entry(&entry)?;
        Ok(Prepared { module, id, program, variant, entry })
    };
    load(job).map_err(|refusal| Error::Refused { name: job.name.clone(), refusal })
}

/// Runs a program live and records nothing.
///
/// # Errors
/// [`Error::Refused`], [`Error::Live`].
pub fn run(mut job: Job<'_>) -> Result<End, Error> {
    let Prepared { program, variant, entry, .. } = prepare(&mut job)?;
    let host = Host::new(Live::new(job.live)?);
    let (guest, ended) = run_to_end(&program, variant, &entry, host, None)
        .map_err(|refusal| Error::Refused { name: job.name, refusal })?;
    Ok(finish(guest, ended, Finished::Unrecorded)?.end)
}

fn run_to_end(
    program: &Program,
    variant: Variant,
    entry: &Entry,
    host: Host,
    heart: Option<Box<dyn Heart>>,
) -> Result<(Guest, Ended), Refusal> {
    let mut guest = Guest::new(program, variant, entry, host)?;
    guest.set_heart(heart);
    match program.on_guest_stack(|| guest.go(Until::End)).and_then(|reached| reached)? {
        Reached::Ended(ended) => Ok((guest, ended)),
        Reached::Stopped => unreachable!("nobody asked for a stop"),
    }
}

/// What has to be finished behind a live guest.
pub(crate) enum Finished {
    Unrecorded,
    Recorded { follower: Option<Follower> },
}

/// How a live guest ended, with its recording brought to an end.
pub(crate) fn finish(
    mut guest: Guest,
    ended: Ended,
    finished: Finished,
) -> Result<Recorded, Error> {
    let Ended { how, tick, trap } = ended;
    let by_itself = matches!(how, How::Ended(_));
    let (ending, tick, stop) = match how {
        How::Ended(ending) => (ending, tick, None),
        // At the last event, like one that ends by a signal: the call that was not answered is asked again.
        How::Stopped(Stop::TerminalClosed) => (Ending::Interrupted, Tick(0), None),
        How::Stopped(stop) => (Ending::HostFailed { what: stop.to_string() }, tick, Some(stop)),
    };
    let end = End { ending, trap };
    let events = guest.events().0;
    let Finished::Recorded { follower } = finished else {
        return Ok(Recorded { end, events, not_saved: None });
    };
    if let Some(follower) = follower {
        follower.finish(by_itself, EventIndex(events));
    }
    let not_saved = match guest.host().finish(&end.ending, tick) {
        Ok(()) => None,
        Err(Stop::NotSaved { saved, error }) if matches!(stop, Some(Stop::Trace(_))) => {
            return Err(Error::NotSaved { saved, error });
        }
        Err(Stop::NotSaved { saved, error }) => Some((saved, error)),
        Err(other) => return Err(Error::Host(other.to_string())),
    };
    Ok(Recorded { end, events, not_saved })
}

/// Runs a program live and records it into `path`.
///
/// # Errors
/// [`Error::Refused`], [`Error::Live`], [`Error::Trace`] if nothing was started.
/// [`Error::NotSaved`] if the guest was stopped because its trace could not be written.
pub fn record(
    mut job: Job<'_>,
    path: &Path,
    options: RecordOptions<'_>,
) -> Result<Recorded, Error> {
    let Prepared { module, id, program, variant, entry } = prepare(&mut job)?;
    let manifest = Manifest {
        recorder: env!("CARGO_PKG_VERSION").to_owned(),
        name: job.name.clone(),
        module: id,
        module_bytes: module.len() as u64,
        args: job.live.args.clone(),
        env: job.live.env.clone(),
        preopens: job.live.preopens.iter().map(|p| p.guest.clone()).collect(),
        sockets: job.live.sockets.len() as u32,
        invoke: job.invoke.clone(),
        deterministic: job.live.deterministic,
        limits: job.limits,
        origin: None,
    };
    let deterministic = job.live.deterministic;
    let writer_options = WriterOptions { canonical: deterministic, elapsed_ns: 0 };
    let live = Live::new(job.live)?;
    let writer = TraceWriter::create(path, &manifest, module, writer_options)?;
    if let Some(on_start) = options.on_start {
        on_start(Interrupt::new(&writer));
    }
    let follower = match options.checkpoints {
        Some(checkpoints) => {
            let followed = Followed {
                program: program.clone(),
                variant,
                entry: entry.clone(),
                state: HostState::at_start(&manifest),
                event: EventIndex(0),
                guest: None,
                images: Images::new(checkpoints.tracker),
            };
            Follower::start(&writer, followed, checkpoints)?
        }
        None => None,
    };
    let host = Host::new(Recorder::new(live, writer, options.on_trace_error));
    // A deterministic recording knows no wall clock.
    let heart: Option<Box<dyn Heart>> =
        if deterministic { None } else { Some(Box::new(Stamper::new(follower.as_ref()))) };
    let (guest, ended) = run_to_end(&program, variant, &entry, host, heart)
        .map_err(|refusal| Error::Refused { name: job.name, refusal })?;
    finish(guest, ended, Finished::Recorded { follower })
}
