//! Live runs: plain and recorded.

use crate::{End, Error};
use std::path::Path;
use std::sync::Arc;
use wrr_engine::{CodeCache, Ended, Entry, How, Observer, Program, Refusal, module_bytes};
use wrr_trace::{
    Ending, Interrupter, Limits, Manifest, ModuleId, Saved, TraceWriter, WriterOptions,
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

/// Checks and compiles everything that can fail before the world is touched.
fn prepare(job: &mut Job<'_>) -> Result<(ModuleId, Program, Entry), Error> {
    let load = |job: &mut Job<'_>| -> Result<(ModuleId, Program, Entry), Refusal> {
        job.module = module_bytes(std::mem::take(&mut job.module))?;
        let id = ModuleId::of(&job.module);
        let program =
            Program::load(&job.module, id, &job.limits, job.cache.as_ref(), job.observer)?;
        let entry = entry(job.invoke.as_deref(), &job.live.args);
        program.check_entry(&entry)?;
        Ok((id, program, entry))
    };
    load(job).map_err(|refusal| Error::Refused { name: job.name.clone(), refusal })
}

/// Runs a program live and records nothing.
///
/// # Errors
/// [`Error::Refused`], [`Error::Live`].
pub fn run(mut job: Job<'_>) -> Result<End, Error> {
    let (_, program, entry) = prepare(&mut job)?;
    let host = Host::new(Live::new(job.live)?);
    let (ended, _) =
        program.run(&entry, host).map_err(|refusal| Error::Refused { name: job.name, refusal })?;
    Ok(live_end(ended).0)
}

/// How a live guest ended, and the stop that ended it, if it was one.
fn live_end(Ended { how, trap }: Ended) -> (End, Option<Stop>) {
    let (ending, stop) = match how {
        How::Ended(ending) => (ending, None),
        How::Stopped(stop) => (Ending::HostFailed { what: stop.to_string() }, Some(stop)),
    };
    (End { ending, trap }, stop)
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
    let (module, program, entry) = prepare(&mut job)?;
    let manifest = Manifest {
        recorder: env!("CARGO_PKG_VERSION").to_owned(),
        name: job.name.clone(),
        module,
        module_bytes: job.module.len() as u64,
        args: job.live.args.clone(),
        env: job.live.env.clone(),
        preopens: job.live.preopens.iter().map(|p| p.guest.clone()).collect(),
        sockets: job.live.sockets.len() as u32,
        invoke: job.invoke.clone(),
        deterministic: job.live.deterministic,
        limits: job.limits,
    };
    let writer_options = WriterOptions { canonical: job.live.deterministic };
    let live = Live::new(job.live)?;
    let writer = TraceWriter::create(path, &manifest, Arc::from(job.module), writer_options)?;
    if let Some(on_start) = options.on_start {
        on_start(Interrupt(writer.interrupter()));
    }
    let host = Host::new(Recorder::new(live, writer, options.on_trace_error));
    let (ended, mut host) =
        program.run(&entry, host).map_err(|refusal| Error::Refused { name: job.name, refusal })?;
    let (end, stop) = live_end(ended);
    let not_saved = match host.finish(&end.ending) {
        Ok(()) => None,
        Err(Stop::NotSaved { saved, error }) if matches!(stop, Some(Stop::Trace(_))) => {
            return Err(Error::NotSaved { saved, error });
        }
        Err(Stop::NotSaved { saved, error }) => Some((saved, error)),
        Err(other) => return Err(Error::Host(other.to_string())),
    };
    Ok(Recorded { end, events: host.events(), not_saved })
}
