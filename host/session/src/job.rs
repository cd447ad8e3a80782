//! Live runs: plain and recorded.

use crate::recording::Checkpoints;
use crate::{End, Error, Reached, Session};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use wrr_engine::{
    CodeCache, Entry, Observer, Program, Purpose, Refusal, Until, Variant, module_bytes,
};
use wrr_trace::{Finding, Interrupter, Limits, ModuleId, Saved, TraceWriter};
use wrr_wasi::{CommitError, Committed, LiveConfig, OnTraceError};

type ProgramKey = (ModuleId, Limits, Variant);

/// Programs that are loaded once and run by many sessions, also at the same time. A clone is the same engine.
#[derive(Clone, Default)]
pub struct Engine(Arc<Mutex<HashMap<ProgramKey, Program>>>);

impl Engine {
    /// An engine that knows no program yet.
    #[must_use]
    pub fn new() -> Engine {
        Engine::default()
    }

    fn program(
        &self,
        key: ProgramKey,
        load: impl FnOnce() -> Result<Program, Refusal>,
    ) -> Result<Program, Refusal> {
        // Held while it is loaded: who comes second waits instead of compiling it as well.
        let mut programs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(&key) {
            return Ok(program.clone());
        }
        let program = load()?;
        programs.insert(key, program.clone());
        Ok(program)
    }
}

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
    /// The variant of the module that runs, if it is not to be the one that suits.
    pub variant: Option<Variant>,
    /// Where compiled code is kept.
    pub cache: Option<CodeCache>,
    /// Where programs are kept that several sessions run; otherwise the job loads its own.
    pub engine: Option<Engine>,
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
            variant: None,
            cache: None,
            engine: None,
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
    /// What a fuzzer found in this run, which the recording is to say.
    pub finding: Option<Finding>,
    /// Called when the recording has begun.
    pub on_start: Option<&'a mut dyn FnMut(Interrupt)>,
}

/// What became of what a program did to files.
#[derive(Debug)]
pub enum Files {
    /// It did it to the directories.
    Host,
    /// It is in the layer, and nowhere else.
    Kept {
        /// How many files and directories differ.
        changes: usize,
        /// It was to be applied, but for the way in which the program ended.
        wanted: bool,
    },
    /// It was applied to the directories.
    Committed(Committed),
    /// It should have been.
    NotCommitted(CommitError),
}

/// A finished run.
#[derive(Debug)]
pub struct Recorded {
    /// How the guest ended.
    pub end: End,
    /// Host calls, which are events.
    pub events: u64,
    /// If the trace could not be written to its end: what is in it, and why there is no more.
    pub not_saved: Option<(Saved, wrr_trace::TraceError)>,
    /// What became of what it did to files.
    pub files: Files,
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
pub(crate) struct Prepared {
    pub module: Arc<[u8]>,
    pub id: ModuleId,
    pub program: Program,
    pub variant: Variant,
}

/// Checks and compiles everything that can fail before the world is touched.
pub(crate) fn prepare(job: &mut Job<'_>) -> Result<Prepared, Error> {
    let load = |job: &mut Job<'_>| -> Result<Prepared, Refusal> {
        let module: Arc<[u8]> = module_bytes(std::mem::take(&mut job.module))?.into();
        let id = ModuleId::of(&module);
        let variant = job.variant.unwrap_or(live_variant(job.live.deterministic));
        let load = || {
            Program::load(
                Arc::clone(&module),
                id,
                &job.limits,
                job.cache.as_ref(),
                (Purpose::Live, variant),
                job.observer,
            )
        };
        let program = match &job.engine {
            Some(engine) => engine.program((id, job.limits, variant), load)?,
            None => load()?,
        };
        let entry = entry(job.invoke.as_deref(), &job.live.args);
        program.check_entry(&entry)?;
        Ok(Prepared { module, id, program, variant })
    };
    load(job).map_err(|refusal| Error::Refused { name: job.name.clone(), refusal })
}

/// Runs a program live and records nothing.
///
/// # Errors
/// [`Error::Refused`], [`Error::Live`].
pub fn run(job: Job<'_>) -> Result<Recorded, Error> {
    to_end(Session::start(job)?)
}

/// Runs a program live and records it into `path`.
///
/// # Errors
/// [`Error::Refused`], [`Error::Live`], [`Error::Trace`] if nothing was started.
/// [`Error::NotSaved`] if the guest was stopped because its trace could not be written.
pub fn record(job: Job<'_>, path: &Path, options: RecordOptions<'_>) -> Result<Recorded, Error> {
    to_end(Session::record(job, path, options)?)
}

/// Runs a session to its end, or to where nobody is left who could put in what it waits for.
pub(crate) fn to_end(mut session: Session) -> Result<Recorded, Error> {
    let reached = session.run_until(Until::End)?;
    let is_clean = matches!(reached, Reached::Ended(end) if end.exit_code() == Some(0));
    let files = session.end_files(is_clean)?;
    Ok(Recorded { files, ..session.finish()? })
}
