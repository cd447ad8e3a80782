//! A program under control: it runs to a moment, is kept there, goes back, and forks.
//!
//! ```text
//!   record ─┐               run_until              ┌▶ rollback: the same session, at a checkpoint
//!   start  ─┼▶ session ───────────────▶ checkpoint ┤
//!   replay ─┘      ▲ go_live (a replay only)       └▶ fork: another session, which starts there
//! ```
//!
//! What a rollback takes back has not happened: a recording goes on behind the checkpoint, and its file is that of a run that
//! never took the other way. Checkpoints that lay there are gone.
//!
//! Invariant: a session that went back, and a fork, cannot be told from one that came there by itself.

mod checkpoints;
mod feedback;
mod view;

use crate::job::{Files, Prepared, RecordOptions, Recorded, entry, live_variant, prepare};
use crate::playback::{Played, SeekOptions};
use crate::recording::{Recording, RecordingThen};
use crate::resume::ResumeTo;
use crate::{End, Error, Interrupt, Job, Moment, Trace};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wrr_engine::{Ended, Entry, Guest, How, Kept, PageStore, Program, Until, Variant};
use wrr_timeline::Target;
use wrr_trace::{
    Ending, Function, HostState, Manifest, Mark, ModuleId, Pause, Tick, TraceWriter, WriterOptions,
};
use wrr_wasi::{
    ControlAnswer, Host, Live, LiveConfig, LiveState, Output, Preopen, Recorder, Source, Stdin,
    Stop,
};

/// A checkpoint of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointId {
    module: ModuleId,
    session: u64,
    number: u64,
}

/// What [`Session::run_until`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The moment.
    Stopped,
    /// The program reads standard input, and nothing was put in: see [`Stdin::Injected`].
    Input,
    /// The program's end.
    Ended(End),
    /// The end of a recording that was cut off.
    CutOff,
}

/// What is different for a fork.
#[derive(Default)]
pub struct ForkOptions {
    /// Its standard input; otherwise it goes on in the same one.
    pub stdin: Option<Stdin>,
    /// Its standard output; otherwise that of the session that it was forked from.
    pub stdout: Option<Output>,
    /// Its standard error; otherwise that of the session that it was forked from.
    pub stderr: Option<Output>,
    /// What it is given where the program branches next: `branch` of `wit/control.wit`.
    pub branch: Option<Vec<u8>>,
}

/// A program under control. It can be moved to another thread; forks and other sessions run at the same time.
///
/// ```
/// use std::io::Write;
/// use std::sync::{Arc, Mutex};
/// use wrr::{ForkOptions, Injected, Job, LiveConfig, Output, Reached, Session, Stdin, Until};
/// # #[derive(Clone, Default)]
/// # struct Sink(Arc<Mutex<Vec<u8>>>);
/// # impl Write for Sink {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Reads a byte and writes it again, until there is none.
/// let module = r#"(module
///     (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
///     (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
///     (memory (export "memory") 1)
///     (data (i32.const 0) "\40\00\00\00\01\00\00\00")
///     (func (export "_start")
///       (loop $again
///         (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
///         (if (i32.load (i32.const 8))
///           (then
///             (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
///             (br $again))))))"#;
/// let (input, seen) = (Injected::new(), Sink::default());
/// let live = LiveConfig {
///     stdin: Stdin::Injected(input.clone()),
///     stdout: Output::Writer(Box::new(seen.clone())),
///     ..LiveConfig::default()
/// };
/// let mut session = Session::start(Job { live, ..Job::new(module.into(), "echo.wat") })?;
///
/// input.push(b"abc");
/// assert_eq!(session.run_until(Until::End)?, Reached::Input);
/// let here = session.checkpoint()?;
/// let hash = session.state_hash()?;
///
/// // It goes on, and back.
/// input.push(b"d");
/// session.run_until(Until::End)?;
/// assert_ne!(session.state_hash()?, hash);
/// session.rollback(here)?;
/// assert_eq!(session.state_hash()?, hash);
///
/// // A fork goes on with another input.
/// let stdin = Some(Stdin::Rest(b"xyz".to_vec()));
/// let mut fork = session.fork_with(here, ForkOptions { stdin, ..ForkOptions::default() })?;
/// assert!(matches!(fork.run_until(Until::End)?, Reached::Ended(_)));
/// assert_eq!(*seen.0.lock().unwrap(), b"abcdxyz");
///
/// // What is final need not be kept.
/// session.commit(here)?;
/// assert!(session.rollback(here).is_err());
/// # Ok(()) }
/// ```
pub struct Session {
    id: u64,
    name: String,
    manifest: Manifest,
    program: Program,
    variant: Variant,
    entry: Entry,
    /// There is none after a failure in which it was lost.
    guest: Option<Guest>,
    world: World,
    recording: Option<Recording>,
    points: BTreeMap<u64, Point>,
    /// How many checkpoints were taken.
    taken: u64,
    /// Those with lower numbers were committed.
    committed: u64,
    ended: Option<SessionEnd>,
    /// The checkpoints that the program has named.
    names: BTreeMap<String, Named>,
    /// What the program is given where it branches.
    branch: Option<Vec<u8>>,
    /// What ends the program from outside: see [`Session::set_bounds`].
    bounds: Option<(Option<Tick>, bool)>,
    /// See [`Session::set_interrupt`].
    interrupt: Option<Arc<AtomicBool>>,
}

#[derive(Clone, Copy)]
struct Named {
    number: u64,
    /// How often the program went back to it.
    rollbacks: u32,
}

/// More checkpoints of its own a program does not have: the oldest one is dropped.
const NAMES_MAX: usize = 1024;

/// The numbers of `failure` in `wit/control.wit`.
const UNKNOWN: u32 = 0;
/// See [`UNKNOWN`].
const GONE: u32 = 1;

/// Where the outcomes of host calls come from.
pub(crate) enum World {
    /// From nowhere yet.
    None,
    Live {
        preopens: Vec<Preopen>,
        sockets: Vec<TcpListener>,
    },
    Replay {
        trace: Arc<Trace<'static>>,
        ended: bool,
    },
}

#[derive(Clone)]
struct SessionEnd {
    end: End,
    tick: Tick,
    /// The host stopped it because its trace could not be written.
    unsaved: bool,
}

struct Point {
    kept: Kept,
    host: HostPoint,
    /// Where the recording stood, if there is one.
    mark: Option<(Mark, RecordingThen)>,
}

enum HostPoint {
    Live(Box<LiveState>),
    Replay(HostState),
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Session {
    /// A program at its start, which runs live and is not recorded.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Live`].
    pub fn start(mut job: Job<'_>) -> Result<Session, Error> {
        let prepared = prepare(&mut job)?;
        let (manifest, world) = (manifest_of(&job, &prepared), World::of(&job.live)?);
        let host = Host::new(Live::new(job.live)?);
        Session::new(manifest, prepared.program, prepared.variant, host, world)
    }

    /// A program at its start, which runs live and is recorded into `path`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("t.wrr");
    /// # let module = r#"(module
    /// #     (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    /// #     (memory (export "memory") 1)
    /// #     (func (export "_start") (drop (call $yield)) (drop (call $yield))))"#;
    /// use wrr::{Job, RecordOptions, Session, Trace, Until, format::EventIndex};
    ///
    /// let job = Job::new(module.into(), "twice.wat");
    /// let mut session = Session::record(job, &path, RecordOptions::default())?;
    /// session.run_until(Until::Event(EventIndex(1)))?;
    /// let here = session.checkpoint()?;
    /// for _ in 0..3 {
    ///     session.run_until(Until::End)?;
    ///     session.rollback(here)?;
    /// }
    /// session.run_until(Until::End)?;
    /// assert_eq!(session.finish()?.events, 2);
    ///
    /// let mut replay = Session::replay(Trace::open(&path)?.into())?;
    /// replay.run_until(Until::End)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Live`], [`Error::Trace`] if the file cannot be made.
    pub fn record(
        mut job: Job<'_>,
        path: &Path,
        options: RecordOptions<'_>,
    ) -> Result<Session, Error> {
        let prepared = prepare(&mut job)?;
        let (manifest, world) = (manifest_of(&job, &prepared), World::of(&job.live)?);
        let live = Live::new(job.live)?;
        let writer_options = WriterOptions {
            canonical: manifest.deterministic,
            control: prepared.program.is_controlling(),
            overlay: live.overlay().is_some(),
            elapsed_ns: 0,
        };
        let module = Arc::clone(&prepared.module);
        let writer =
            TraceWriter::create_with(path, &manifest, module, writer_options, options.finding)?;
        if let Some(on_start) = options.on_start {
            on_start(Interrupt::new(&writer));
        }
        let sink = writer.checkpoint_sink();
        let has_clock = !manifest.deterministic;
        let host = Host::new(Recorder::new(live, writer, options.on_trace_error));
        let Prepared { program, variant, .. } = prepared;
        let mut session = Session::new(manifest, program, variant, host, world)?;
        let (guest, checkpoints) = (session.guest()?, options.checkpoints);
        let recording = Recording::start(guest, sink, checkpoints, PageStore::new(), has_clock);
        session.recorded(recording);
        Ok(session)
    }

    /// A recorded run at its start.
    ///
    /// # Errors
    /// As [`Trace::replay`].
    pub fn replay(trace: Arc<Trace<'static>>) -> Result<Session, Error> {
        let playback = trace.seek_roughly(&Moment::Start, SeekOptions { checkpoints: false })?;
        let variant = playback.variant();
        let (program, guest) = playback.into_guest();
        Session::of_replay(&trace, program, variant, guest)
    }

    /// A recorded run at one of its moments: the first possible stop there or behind it.
    ///
    /// # Errors
    /// As [`Trace::seek`].
    pub fn replay_at(trace: Arc<Trace<'static>>, moment: &Moment) -> Result<Session, Error> {
        Session::replay_to(&trace, trace.target(moment)?)
    }

    pub(crate) fn replay_to(trace: &Arc<Trace<'static>>, target: Target) -> Result<Session, Error> {
        let variant = match trace.bounded_at()? {
            Some(_) => Variant::Inspect,
            None => live_variant(trace.reader().manifest().deterministic),
        };
        let playback = trace.seek_target_roughly(variant, target, SeekOptions::default())?;
        let variant = playback.variant();
        let (program, guest) = playback.into_guest();
        Session::of_replay(trace, program, variant, guest)
    }

    /// A recorded run behind everything that was recorded, from where it can [go live](Session::go_live).
    ///
    /// # Errors
    /// [`Error::Trace`]; as [`Trace::seek`].
    pub fn open(path: &Path) -> Result<Session, Error> {
        let trace = Arc::new(Trace::open(path)?);
        let target = trace.frontier()?;
        Session::replay_to(&trace, target)
    }

    fn of_replay(
        trace: &Arc<Trace<'static>>,
        program: Program,
        variant: Variant,
        guest: Guest,
    ) -> Result<Session, Error> {
        let manifest = trace.reader().manifest().clone();
        let world = World::Replay { trace: Arc::clone(trace), ended: false };
        Ok(Session::with(manifest, program, variant, guest, world))
    }

    /// A guest at a moment of a recording that is about to go live.
    pub(crate) fn resumed(
        manifest: Manifest,
        program: Program,
        variant: Variant,
        guest: Guest,
    ) -> Session {
        Session::with(manifest, program, variant, guest, World::None)
    }

    fn with(
        manifest: Manifest,
        program: Program,
        variant: Variant,
        guest: Guest,
        world: World,
    ) -> Session {
        Session {
            id: next_id(),
            name: manifest.name.clone(),
            entry: entry(manifest.invoke.as_deref(), &manifest.args),
            manifest,
            program,
            variant,
            guest: Some(guest),
            world,
            recording: None,
            points: BTreeMap::new(),
            taken: 0,
            committed: 0,
            ended: None,
            names: BTreeMap::new(),
            branch: None,
            bounds: None,
            interrupt: None,
        }
    }

    fn new(
        manifest: Manifest,
        program: Program,
        variant: Variant,
        host: Host,
        world: World,
    ) -> Result<Session, Error> {
        let entry = entry(manifest.invoke.as_deref(), &manifest.args);
        let guest = Guest::new(&program, variant, &entry, host)
            .map_err(|refusal| Error::Refused { name: manifest.name.clone(), refusal })?;
        Ok(Session::with(manifest, program, variant, guest, world))
    }

    /// The run is recorded from now on.
    pub(crate) fn recorded(&mut self, recording: Recording) {
        self.recording = Some(recording);
    }

    pub(crate) fn refused(&self, refusal: wrr_engine::Refusal) -> Error {
        Error::Refused { name: self.name.clone(), refusal }
    }

    pub(crate) fn guest(&mut self) -> Result<&mut Guest, Error> {
        self.guest.as_mut().ok_or(Error::Lost)
    }

    // --- running ---

    /// Runs on until a moment, or to the end. A session that has ended stays where it is.
    ///
    /// # Errors
    /// [`Error::Diverged`] and [`Error::Trace`] of a replay; a failure of the host.
    pub fn run_until(&mut self, until: Until) -> Result<Reached, Error> {
        if let Some(ended) = &self.ended {
            return Ok(Reached::Ended(ended.end.clone()));
        }
        if let World::Replay { trace, ended } = &mut self.world {
            if *ended {
                return Ok(Reached::CutOff);
            }
            let target = match until {
                Until::Entry => {
                    let guest = self.guest.as_mut().ok_or(Error::Lost)?;
                    let reached = self.program.on_guest_stack(|| guest.go(until)).and_then(|r| r);
                    return match reached.map_err(|refusal| self.refused(refusal))? {
                        wrr_engine::Reached::Stopped => Ok(Reached::Stopped),
                        wrr_engine::Reached::Ended(_) => Err(Error::Moment(
                            "the replay ended before the program was called".to_owned(),
                        )),
                    };
                }
                Until::End => None,
                Until::Tick(tick) => Some(Target::Tick(tick)),
                Until::Event(event) => Some(Target::Event(event)),
            };
            let guest = self.guest.as_mut().ok_or(Error::Lost)?;
            return match trace.play(&self.program, guest, target)? {
                Played::Stopped => Ok(Reached::Stopped),
                Played::CutOff => {
                    *ended = true;
                    Ok(Reached::CutOff)
                }
                Played::Ended(end) => {
                    let tick = guest.tick();
                    Ok(self.has_ended(SessionEnd { end, tick, unsaved: false }))
                }
                Played::Passed => {
                    *ended = true;
                    Err(Error::Moment("the replay ended before it got there".to_owned()))
                }
            };
        }
        let program = self.program.clone();
        let reached = program.on_guest_stack(|| self.run_live(until));
        let Some(reached) = reached.map_err(|refusal| self.refused(refusal))?? else {
            return Ok(Reached::Input);
        };
        match reached {
            wrr_engine::Reached::Stopped => Ok(Reached::Stopped),
            wrr_engine::Reached::Ended(Ended { how, tick, trap }) => {
                let (ending, tick, unsaved) = match how {
                    How::Ended(ending) => (ending, tick, false),
                    // At the last event, like one that ends by a signal: the call that was not answered is asked again.
                    How::Stopped(Stop::TerminalClosed) => (Ending::Interrupted, Tick(0), false),
                    How::Stopped(stop) => {
                        let what = stop.to_string();
                        (Ending::HostFailed { what }, tick, matches!(stop, Stop::Trace(_)))
                    }
                };
                let end = End { ending, trap };
                Ok(self.has_ended(SessionEnd { end, tick, unsaved }))
            }
        }
    }

    /// Runs on, and takes checkpoints on the way; `None` if the program waits for input.
    fn run_live(&mut self, until: Until) -> Result<Option<wrr_engine::Reached>, Error> {
        loop {
            let guest = self.guest.as_mut().ok_or(Error::Lost)?;
            let reached = guest.go(until).map_err(|refusal| self.refused(refusal))?;
            if !matches!(reached, wrr_engine::Reached::Stopped) {
                return Ok(Some(reached));
            }
            let guest = self.guest.as_mut().ok_or(Error::Lost)?;
            if let Some(recording) = &mut self.recording {
                recording.take_if_due(guest);
            }
            if guest.stopped_by_heart() {
                continue;
            }
            if !guest.is_waiting() {
                return Ok(Some(reached));
            }
            if !self.control()? {
                return Ok(None);
            }
        }
    }

    /// Does what the program asks for its checkpoints, if that is what it waits for.
    fn control(&mut self) -> Result<bool, Error> {
        let guest = self.guest()?;
        let Pause::Call { function, args } = guest.pause().clone() else { return Ok(false) };
        if !function.is_control() {
            return Ok(false);
        }
        // The host has looked at it before.
        let range = args[0] as usize..(args[0] + args[1]) as usize;
        let name = guest.memory_bytes(0).and_then(|memory| memory.get(range));
        let name = name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
        let answer = match function {
            Function::ControlCheckpoint => {
                let id = self.checkpoint()?;
                let named = Named { number: id.number, rollbacks: 0 };
                if let Some(before) = self.names.insert(name, named) {
                    self.points.remove(&before.number);
                } else if self.names.len() > NAMES_MAX
                    && let Some((oldest, number)) = self
                        .names
                        .iter()
                        .map(|(name, named)| (name.clone(), named.number))
                        .min_by_key(|(_, number)| *number)
                {
                    self.names.remove(&oldest);
                    self.points.remove(&number);
                }
                ControlAnswer::Checkpoint(0)
            }
            Function::ControlRollback => match self.names.get(&name).copied() {
                None => ControlAnswer::Rollback(UNKNOWN),
                Some(Named { number, .. }) if !self.points.contains_key(&number) => {
                    ControlAnswer::Rollback(GONE)
                }
                Some(Named { number, rollbacks }) => {
                    let report = self.rollback(self.id_of(number))?;
                    if !report.is_empty() {
                        tracing::warn!(
                            "the program went back to its checkpoint {name:?}; {report}"
                        );
                    }
                    let rollbacks = rollbacks.saturating_add(1);
                    self.names.insert(name, Named { number, rollbacks });
                    ControlAnswer::Checkpoint(rollbacks)
                }
            },
            _ => ControlAnswer::Branch(self.branch.take()),
        };
        self.guest()?.host().answer(answer);
        Ok(true)
    }

    fn has_ended(&mut self, ended: SessionEnd) -> Reached {
        let end = ended.end.clone();
        self.ended = Some(ended);
        Reached::Ended(end)
    }

    /// Brings a recording to its end and lets go of the program. One that has not ended by itself is recorded as interrupted.
    ///
    /// # Errors
    /// [`Error::NotSaved`] if the program was stopped because its trace could not be written.
    pub fn finish(mut self) -> Result<Recorded, Error> {
        let tick = self.guest()?.tick();
        let interrupted = End { ending: Ending::Interrupted, trap: None };
        let SessionEnd { end, tick, unsaved } =
            self.ended.take().unwrap_or(SessionEnd { end: interrupted, tick, unsaved: false });
        let events = self.guest()?.events().0;
        if self.recording.take().is_none() {
            return Ok(Recorded { end, events, not_saved: None, files: Files::Host });
        }
        let not_saved = match self.guest()?.host().finish(&end.ending, tick) {
            Ok(()) => None,
            Err(Stop::NotSaved { saved, error }) if unsaved => {
                return Err(Error::NotSaved { saved, error });
            }
            Err(Stop::NotSaved { saved, error }) => Some((saved, error)),
            Err(other) => return Err(Error::Host(other.to_string())),
        };
        Ok(Recorded { end, events, not_saved, files: Files::Host })
    }

    /// A replay goes on live from where it is: what the program had open is opened again, its clock
    /// and its randomness are real. Its checkpoints are gone, as they are of the replay.
    ///
    /// # Errors
    /// [`Error::Resume`] with everything that is missing, and nothing has happened; [`Error::NoReplay`].
    pub fn go_live(&mut self, mut live: LiveConfig) -> Result<(), Error> {
        match &self.world {
            World::Live { .. } => return Err(Error::NoReplay),
            World::None => {}
            World::Replay { trace, .. } => {
                let trace = Arc::clone(trace);
                trace.put_layer(&mut live, self.guest()?.events())?;
            }
        }
        let (live, world) = self.opened(live)?;
        self.live_in(live, world)
    }

    /// As [`Session::go_live`], recorded from here on into a new trace that has the old one's history.
    ///
    /// # Errors
    /// As [`Session::go_live`]; [`Error::Trace`] if the file cannot be made.
    pub fn go_live_recorded(
        &mut self,
        live: LiveConfig,
        to: ResumeTo<'_, '_>,
    ) -> Result<(), Error> {
        let World::Replay { trace, .. } = &self.world else { return Err(Error::NoReplay) };
        let trace = Arc::clone(trace);
        trace.record_on(self, live, to)
    }

    pub(crate) fn program(&self) -> (Program, Variant) {
        (self.program.clone(), self.variant)
    }

    /// Whether the program controls its own checkpoints, and can be given data where it branches.
    #[must_use]
    pub fn is_controlling(&self) -> bool {
        self.program.is_controlling()
    }

    /// Opens what the program had open.
    pub(crate) fn opened(&mut self, live: LiveConfig) -> Result<(Live, World), Error> {
        let world = World::of(&live)?;
        let state = self.guest()?.host().state();
        Ok((Live::resume(live, &self.manifest, &state)?, world))
    }

    /// Is live from now on.
    pub(crate) fn live_in(
        &mut self,
        source: impl Source + 'static,
        world: World,
    ) -> Result<(), Error> {
        let guest = self.guest()?;
        guest.host().set_source(source);
        guest.limit_stack();
        self.world = world;
        self.points.clear();
        self.names.clear();
        self.committed = self.taken;
        Ok(())
    }
}

impl World {
    fn of(live: &LiveConfig) -> Result<World, Error> {
        Ok(World::Live { preopens: live.preopens.clone(), sockets: cloned(&live.sockets)? })
    }
}

fn cloned(sockets: &[TcpListener]) -> Result<Vec<TcpListener>, Error> {
    let clones = sockets.iter().map(TcpListener::try_clone);
    clones
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Host(format!("a listening socket cannot be shared: {error}")))
}

/// What a recording of the job says about it.
fn manifest_of(job: &Job<'_>, prepared: &Prepared) -> Manifest {
    Manifest {
        recorder: env!("CARGO_PKG_VERSION").to_owned(),
        name: job.name.clone(),
        module: prepared.id,
        module_bytes: prepared.module.len() as u64,
        args: job.live.args.clone(),
        env: job.live.env.clone(),
        preopens: job.live.preopens.iter().map(|p| p.guest.clone()).collect(),
        sockets: job.live.sockets.len() as u32,
        invoke: job.invoke.clone(),
        deterministic: job.live.deterministic,
        limits: job.limits,
        origin: None,
    }
}
