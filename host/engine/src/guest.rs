//! An instance of a program that can be stopped at any position, and go on from there.
//!
//! ```text
//!            go                    a stop's position is reached
//!   ready ────────▶ running ──────────────────────────────▶ stopped ──go──▶ running …
//!     ▲                │ the entry returned, trapped, exited
//!     └── restore      └────────▶ ended
//! ```
//!
//! Stopping unwinds the guest's stack into frames (see `frames`), so a stopped guest has nothing on the native stack.
//! Invariant: while the guest is stopped, its state is in its memories, globals, tables and frames, and nowhere else.

mod control;
mod poll;

pub(crate) use control::serve_control;
pub use poll::{Beat, Heart};

use crate::accesses::{Accesses, access};
use crate::admit::Refusal;
use crate::compares::{Compares, compare};
use crate::ending::{Ended, How, ended_by};
use crate::entry::Entry;
use crate::images::Images;
use crate::kept::Held;
use crate::limiter::Limiter;
use crate::look::{Lookers, Looking, look_of};
use crate::pieces::Pieces;
use crate::preview1::define_preview1;
use crate::program::{Compiled, Program};
use crate::readiness::Readiness;
use crate::written::Written;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use wasmtime::{Caller, Extern, Func, Global, Instance, Linker, Memory, Store, Table, Trap, Val};
use wrr_trace::{Ending, EventIndex, FrameState, Function, Pause, Phase, Tick};
use wrr_transform::{HOST_FUNCTIONS, HostTrap, Variant};
use wrr_wasi::Host;

/// Native stack for the host's side of a call, on top of the guest's.
const HOST_STACK_BYTES: usize = 2 << 20;

/// What a thread may need besides.
const THREAD_STACK_BYTES: usize = 4 << 20;

/// So often is looked whether the run is to end: some tens of milliseconds.
const INTERRUPT_TICKS: u64 = 10_000_000;

/// A tick that is never reached.
const NEVER: u64 = i64::MAX as u64;

/// Where to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nowhere: run to the end.
    End,
    /// Before the first call of what was asked for (`_start` or an export), behind the module's start function and `_initialize`; at once,
    /// if that was passed.
    Entry,
    /// At the first possible stop at this tick or later. In the inspect variant every tick is one.
    Tick(Tick),
    /// Just before this event, in the host call that it answers.
    Event(EventIndex),
}

/// What [`Guest::go`] came to.
#[derive(Debug)]
pub enum Reached {
    /// A stop.
    Stopped,
    /// The guest's end.
    Ended(Ended),
}

/// What ended a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bound {
    /// It had come to the tick that was to be the last one.
    Ticks,
    /// A memory would have grown beyond its limit.
    Memory,
    /// Somebody wanted it to end: see [`Guest::set_interrupt`].
    Asked,
}

/// What the store holds besides the guest.
pub(crate) struct State {
    pub host: Host,
    pub parts: Option<Parts>,
    pub limiter: Limiter,
    /// The tick at which the counter is zero.
    pub armed: u64,
    stop_tick: u64,
    stop_event: Option<u64>,
    heart: Option<(Box<dyn Heart>, u64)>,
    /// The heart has stopped the guest.
    heart_stopped: bool,
    /// Which stacks can be captured without a wait for the compiler.
    pub ready: Readiness,
    /// Where the native stack was when the guest was entered.
    stack_base: usize,
    /// Set by a stop: what the guest was stopped in.
    pub pause: Option<Pause>,
    /// It was stopped because the host cannot answer yet.
    waits: bool,
    /// The guest makes room for what the host gives, and can do nothing else.
    is_giving: bool,
    /// Where the guest has gone on from a stop: it is not looked at there once more.
    pub looked_up_to: Option<Tick>,
    /// Somebody looks at the guest.
    pub looking: Option<Looking>,
    /// What is read and written, if that is noted.
    pub accesses: Option<Accesses>,
    /// What is compared, if that is noted.
    pub compares: Option<Compares>,
    /// The tick that ends the run.
    deadline: u64,
    /// What ended the run.
    pub bound: Option<Bound>,
    /// Ends the run when it is set, and the tick at which that is looked at next.
    interrupt: Option<(Arc<AtomicBool>, u64)>,
    /// A host call that has not been answered yet.
    pending: Option<(Function, Vec<u64>)>,
}

/// What the transform added to the module.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    pub state: Global,
    pub left: Global,
    pub sp: Global,
    pub room: Global,
    pub looking: Global,
    pub stack: Memory,
    /// Counters, in the variant that has them.
    pub counts: Option<Memory>,
    pub continuations: Table,
    /// Memory 0 as exported to the host.
    pub memory: Option<Memory>,
    /// Makes room for what the host gives.
    pub realloc: Option<Func>,
}

/// A running, stopped or ended instance.
pub struct Guest {
    /// Dropped before the store, because trackers look after its memories.
    pub(crate) written: Written,
    /// What a trace has of the memories, if checkpoints are taken.
    pub(crate) images: Option<Images>,
    /// What the memories held when a state was kept.
    pub(crate) held: Held,
    pub(crate) program: Program,
    pub(crate) variant: Variant,
    pub(crate) store: Store<State>,
    pub(crate) main: Instance,
    pub(crate) parts: Parts,
    pub(crate) pieces: Pieces,
    entry: Entry,
    args: Vec<Val>,
    pub(crate) phase: Phase,
    /// The stack of a stopped guest, outermost first; `None` if the phase has not begun.
    pub(crate) frames: Option<Vec<FrameState>>,
    /// What the stopped guest is in.
    pub(crate) pause: Pause,
    /// What frames may take together where they count it.
    stack_room: i32,
    pub(crate) stopped_at: Tick,
    /// What the last export gave.
    pub(crate) results: Vec<Val>,
    /// The tables, if no instruction of the module changes one.
    pub(crate) constant_tables: Option<Vec<wrr_trace::TableState>>,
    /// See `handles`.
    pub(crate) handles: Option<std::sync::Arc<crate::snapshot::Handles>>,
    /// It has come to its end, and has no state to go on from.
    pub(crate) has_ended: bool,
    /// See `function_indices`.
    pub(crate) indices: Option<std::collections::HashMap<usize, u32>>,
    /// In the inspect variant.
    pub(crate) lookers: Option<Lookers>,
}

impl Program {
    /// Does something on a stack that is large enough for the guest's.
    ///
    /// # Errors
    /// [`Refusal::Instantiate`] if the host cannot have such a thread.
    pub fn on_guest_stack<R: Send>(&self, action: impl FnOnce() -> R + Send) -> Result<R, Refusal> {
        on_stack_of(self.needed_stack_bytes(), action)
    }

    /// How much stack a thread must have so that [`Program::on_guest_stack`] need not make one, in bytes.
    #[must_use]
    pub fn thread_stack_bytes(&self) -> usize {
        self.needed_stack_bytes() + THREAD_STACK_BYTES
    }

    fn needed_stack_bytes(&self) -> usize {
        // An interpreter has the guest's stack elsewhere.
        let guest_bytes = if self.engine.is_pulley() { 0 } else { self.stack_bytes };
        guest_bytes + HOST_STACK_BYTES
    }
}

/// The thread's own stack may be too small: that of a main thread, for example.
#[cfg(unix)]
fn on_stack_of<R: Send>(bytes: usize, action: impl FnOnce() -> R + Send) -> Result<R, Refusal> {
    Ok(stacker::maybe_grow(bytes, bytes, action))
}

/// Fibers are not what the engine expects there, so it is a thread's.
#[cfg(not(unix))]
fn on_stack_of<R: Send>(bytes: usize, action: impl FnOnce() -> R + Send) -> Result<R, Refusal> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("wrr guest".to_owned()).stack_size(bytes);
        let running = thread
            .spawn_scoped(scope, action)
            .map_err(|e| Refusal::Instantiate(format!("no stack of {bytes} bytes: {e}")))?;
        Ok(running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

impl Guest {
    /// Instantiates the program. Nothing of it has run then: its start function is the first thing that will.
    ///
    /// # Errors
    /// The reason why it cannot start.
    pub fn new(
        program: &Program,
        variant: Variant,
        entry: &Entry,
        host: Host,
    ) -> Result<Guest, Refusal> {
        let args = program.arguments(entry)?;
        Guest::with_args(program, variant, entry, args, host)
    }

    /// As [`Guest::new`], with arguments of any types.
    pub(crate) fn with_args(
        program: &Program,
        variant: Variant,
        entry: &Entry,
        args: Vec<Val>,
        host: Host,
    ) -> Result<Guest, Refusal> {
        let mut guest = Guest::without_data(program, variant, entry, args, host)?;
        guest.put_data(true)?;
        Ok(guest)
    }

    /// Uses up the active data segments, which fill the memories if they are to be.
    pub(crate) fn put_data(&mut self, fill: bool) -> Result<(), Refusal> {
        let name = format!("{}data", self.prefix());
        let Some(data) = self.main.get_func(&mut self.store, &name) else { return Ok(()) };
        let put = data.call(&mut self.store, &[Val::I32(fill.into())], &mut []);
        put.map_err(|error| match error.downcast_ref::<Trap>() {
            Some(trap) => Refusal::Instantiate(format!("its data does not fit: {trap}")),
            None => Refusal::Instantiate(format!("{error:#}")),
        })
    }

    /// An instance whose memories are all zeros, for [`Guest::put_data`].
    pub(crate) fn without_data(
        program: &Program,
        variant: Variant,
        entry: &Entry,
        args: Vec<Val>,
        host: Host,
    ) -> Result<Guest, Refusal> {
        let compiled = program.compile(variant, &())?;
        let state = State {
            host,
            parts: None,
            limiter: Limiter::new(program.limits),
            armed: NEVER,
            stop_tick: NEVER,
            stop_event: None,
            heart: None,
            heart_stopped: false,
            ready: Readiness::of(program, variant),
            stack_base: 0,
            pause: None,
            waits: false,
            is_giving: false,
            looked_up_to: None,
            looking: None,
            accesses: None,
            compares: None,
            deadline: NEVER,
            bound: None,
            interrupt: None,
            pending: None,
        };
        let mut store = Store::new(&program.engine, state);
        store.limiter(|state| &mut state.limiter);
        let mut linker = Linker::new(&program.engine);
        define_preview1(&mut linker).map_err(|e| Refusal::Engine(format!("{e:#}")))?;
        let poll = Func::wrap(&mut store, poll::poll);
        let (look, lookers) = look_of(&mut store, program, variant, poll)?;
        let access = Func::wrap(&mut store, access);
        let compare = Func::wrap(&mut store, compare);
        let host = [poll, Func::wrap(&mut store, trap), look, access, compare];
        let engine_error = |e: wasmtime::Error| Refusal::Instantiate(format!("{e:#}"));
        let own = compiled.module.imports().len().saturating_sub(HOST_FUNCTIONS.len());
        let added = compiled.module.imports().skip(own);
        for (import, function) in added.zip(host) {
            linker
                .define(&mut store, import.module(), import.name(), function)
                .map_err(engine_error)?;
        }
        let main = linker.instantiate(&mut store, &compiled.module).map_err(engine_error)?;
        let parts = Parts::of(&mut store, main, compiled)?;
        store.data_mut().parts = Some(parts);
        let mut guest = Guest {
            written: Written::default(),
            images: None,
            held: Held::default(),
            handles: None,
            has_ended: false,
            program: program.clone(),
            variant,
            main,
            parts,
            pieces: Pieces::new(host),
            store,
            entry: entry.clone(),
            args,
            phase: Phase::Start,
            frames: None,
            pause: Pause::Tick,
            stack_room: program.stack_room(),
            stopped_at: Tick(0),
            results: Vec::new(),
            constant_tables: None,
            indices: None,
            lookers,
        };
        guest.skip_absent_phases();
        Ok(guest)
    }

    /// Is asked at possible stops from now on, for the first time at the next one.
    pub fn set_heart(&mut self, heart: Option<Box<dyn Heart>>) {
        let now = self.tick().0;
        self.store.data_mut().heart = heart.map(|heart| (heart, now.saturating_add(1)));
        self.arm();
    }

    /// The stack ends where the limits say, also in a replay, if this variant counts it: for a replayed guest that is to run live
    /// from now on, or to do what a live one does.
    pub fn limit_stack(&mut self) {
        self.stack_room = Program::live_stack_room(&self.program.limits);
    }

    /// From now on the guest ends when it arrives at this tick, and, if that is asked for, when a memory would grow beyond its limit: as
    /// [`Ending::Interrupted`], see [`Guest::bound`]. Only in the variants that are made for fuzzing.
    pub fn set_bounds(&mut self, last_tick: Option<Tick>, is_strict: bool) {
        let state = self.store.data_mut();
        state.deadline = last_tick.map_or(NEVER, |tick| tick.0.min(NEVER));
        state.limiter.is_strict = is_strict;
        self.arm();
    }

    /// From now on the guest ends soon after this is set, as [`Guest::set_bounds`] says. In the variants that are made for fuzzing.
    pub fn set_interrupt(&mut self, interrupt: Arc<AtomicBool>) {
        self.store.data_mut().interrupt = Some((interrupt, 0));
        self.arm();
    }

    /// What ended the run, if it was none of the guest's doing.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        self.store.data().bound
    }

    /// The counters of what was executed, one for each outcome of each decision: see [`Variant::Covered`]. None in other variants.
    pub fn counts(&mut self) -> &mut [u8] {
        let count = self.program.counter_count().unwrap_or(0) as usize;
        match self.parts.counts {
            Some(memory) => {
                let counts = memory.data_mut(&mut self.store);
                let len = counts.len().min(count);
                &mut counts[..len]
            }
            None => &mut [],
        }
    }

    /// The value of an exported global of 32 bits.
    pub fn exported_number(&mut self, name: &str) -> Option<i32> {
        self.main.get_global(&mut self.store, name)?.get(&mut self.store).i32()
    }

    /// The tick that the guest has come to.
    pub fn tick(&mut self) -> Tick {
        let left = self.parts.left.get(&mut self.store).unwrap_i64();
        Tick(self.store.data().armed.wrapping_sub(left as u64))
    }

    /// Whether the guest was stopped because the host cannot answer its call yet. When it goes on it makes the call again.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.store.data().waits
    }

    /// Whether it was the [`Heart`] that stopped the guest, rather than what [`Guest::go`] was to
    /// stop at.
    #[must_use]
    pub fn stopped_by_heart(&self) -> bool {
        self.store.data().heart_stopped
    }

    /// Whether the guest has come to its end, and has no state to go on from.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The tick of a stopped guest.
    #[must_use]
    pub fn stopped_tick(&self) -> Tick {
        self.stopped_at
    }

    /// How many events there have been, counted from the recording's start.
    #[must_use]
    pub fn events(&self) -> EventIndex {
        EventIndex(self.store.data().host.events())
    }

    /// The host.
    pub fn host(&mut self) -> &mut Host {
        &mut self.store.data_mut().host
    }

    /// The host, when the guest is not needed any more.
    #[must_use]
    pub fn into_host(self) -> Host {
        self.store.into_data().host
    }

    /// Runs on until a stop or the end. Not to be called after the end; to be called on a thread that
    /// [`Program::on_guest_stack`] made, because the guest's stack is the thread's.
    ///
    /// # Errors
    /// The guest cannot go on for a reason that is not its own: a continuation that does not compile.
    pub fn go(&mut self, until: Until) -> Result<Reached, Refusal> {
        let here = match until {
            Until::End => false,
            Until::Entry => self.phase == Phase::Main,
            Until::Tick(tick) => self.tick() >= tick,
            Until::Event(event) => {
                matches!(self.pause, Pause::Call { .. })
                    && self.frames.is_some()
                    && self.events() == event
            }
        };
        self.set_stop(until);
        let here_tick = self.frames.is_some().then(|| self.tick());
        self.store.data_mut().looked_up_to = here_tick;
        if here {
            return Ok(Reached::Stopped);
        }
        loop {
            self.arm();
            let called = match self.frames.take() {
                Some(frames) => self.resume(&frames)?,
                None => self.begin_phase(),
            };
            let values = match called {
                Ok(values) => values,
                Err(error) if self.store.data_mut().pause.take().is_some() => {
                    let what = format!("the guest's stack cannot be taken apart: {error:#}");
                    return Err(Refusal::Engine(what));
                }
                Err(error) => {
                    self.pause = Pause::Tick;
                    self.has_ended = true;
                    return Ok(Reached::Ended(self.ended(error)?));
                }
            };
            if let Some(pause) = self.store.data_mut().pause.take() {
                self.pause = pause;
                self.frames = Some(self.read_frames()?);
                self.stopped_at = self.tick();
                return Ok(Reached::Stopped);
            }
            self.pause = Pause::Tick;
            match self.phase {
                Phase::Start => self.phase = Phase::Initialize,
                Phase::Initialize => self.phase = Phase::Main,
                Phase::Main => {
                    let ending = match self.entry {
                        Entry::Command => Ending::Exited { code: 0 },
                        Entry::Export { .. } => {
                            let numbers = values.iter().filter_map(crate::ending::value).collect();
                            self.results = values;
                            Ending::Returned { values: numbers }
                        }
                    };
                    let tick = self.tick();
                    self.has_ended = true;
                    return Ok(Reached::Ended(Ended { how: How::Ended(ending), tick, trap: None }));
                }
            }
            self.skip_absent_phases();
            if until == Until::Entry && self.phase == Phase::Main {
                self.stopped_at = self.tick();
                return Ok(Reached::Stopped);
            }
        }
    }

    /// Where to stop next.
    pub(crate) fn set_stop(&mut self, until: Until) {
        let state = self.store.data_mut();
        state.waits = false;
        state.heart_stopped = false;
        state.bound = None;
        (state.stop_tick, state.stop_event) = match until {
            Until::End | Until::Entry => (NEVER, None),
            Until::Tick(tick) => (tick.0, None),
            Until::Event(event) => (NEVER, Some(event.0)),
        };
        self.arm();
    }

    /// The name of the export that a phase calls, if there is something to call.
    fn phase_export(&self, phase: Phase) -> Option<String> {
        let original = |name: &str| Some(name.to_owned());
        match (phase, &self.entry) {
            (Phase::Start, _) => {
                let start = self.program.compile(self.variant, &()).ok()?.start?;
                Some(format!("{}f{start}", self.prefix()))
            }
            (Phase::Initialize, Entry::Command) => None,
            (Phase::Initialize, Entry::Export { .. }) => original("_initialize"),
            (Phase::Main, Entry::Command) => original("_start"),
            (Phase::Main, Entry::Export { name, .. }) => original(name),
        }
    }

    fn skip_absent_phases(&mut self) {
        loop {
            let next = match self.phase {
                Phase::Start => Phase::Initialize,
                Phase::Initialize => Phase::Main,
                Phase::Main => return,
            };
            let export = self.phase_export(self.phase);
            if export.is_some_and(|name| self.main.get_func(&mut self.store, &name).is_some()) {
                return;
            }
            self.phase = next;
        }
    }

    pub(crate) fn prefix(&self) -> String {
        self.program
            .compile(self.variant, &())
            .map_or_else(|_| String::new(), |compiled| compiled.prefix.clone())
    }

    fn begin_phase(&mut self) -> wasmtime::Result<Vec<Val>> {
        let Some(function) = self
            .phase_export(self.phase)
            .and_then(|name| self.main.get_func(&mut self.store, &name))
        else {
            return Ok(Vec::new());
        };
        let args = if self.phase == Phase::Main { self.args.clone() } else { Vec::new() };
        self.call(function, &args)
    }

    pub(crate) fn call(&mut self, function: Func, args: &[Val]) -> wasmtime::Result<Vec<Val>> {
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        self.store.data_mut().stack_base = here();
        self.parts.room.set(&mut self.store, Val::I32(self.stack_room))?;
        function.call(&mut self.store, args, &mut results)?;
        Ok(results)
    }

    /// After the end: another export is what the guest runs now, in the state that it is in.
    #[cfg(test)]
    pub(crate) fn call_next(&mut self, name: &str, args: Vec<Val>) {
        self.entry = Entry::Export { name: name.to_owned(), args: Vec::new() };
        (self.args, self.phase, self.frames) = (args, Phase::Main, None);
        self.has_ended = false;
    }

    /// Goes on from the frames of a stop and stops in the very same place. `false` if nothing had begun.
    #[cfg(test)]
    pub(crate) fn capture_again(&mut self) -> Result<bool, Refusal> {
        let Some(frames) = self.frames.take() else { return Ok(false) };
        let tick = self.tick().0;
        let state = self.store.data_mut();
        (state.stop_tick, state.stop_event, state.armed) = (tick, None, tick);
        self.parts.left.set(&mut self.store, Val::I64(0)).expect("the counter is a mutable i64");
        self.resume(&frames)?.map_err(|e| Refusal::Engine(format!("{e:#}")))?;
        let pause = self.store.data_mut().pause.take();
        self.pause = pause.ok_or_else(|| Refusal::Engine("it went on".to_owned()))?;
        self.frames = Some(self.read_frames()?);
        Ok(true)
    }

    /// The host call that the guest is stopped in, to be answered when it goes on.
    pub(crate) fn set_pending(&mut self, pending: Option<(Function, Vec<u64>)>) {
        self.store.data_mut().pending = pending;
    }

    fn ended(&mut self, error: wasmtime::Error) -> Result<Ended, Refusal> {
        let tick = self.tick();
        ended_by(self, error, tick)
    }

    /// Sets the counter so that it is zero at the next tick that somebody waits for.
    fn arm(&mut self) {
        let tick = self.tick().0;
        arm(self.parts.left, &mut self.store, tick);
    }

    /// The counter stands at this tick.
    pub(crate) fn set_tick(&mut self, tick: Tick) {
        // Going back must not let somebody wait for a beat until the guest is where it was.
        if let Some((_, at)) = &mut self.store.data_mut().heart {
            *at = tick.0.saturating_add(1);
        }
        arm(self.parts.left, &mut self.store, tick.0);
    }
}

/// Sets the counter for a guest that is at this tick.
fn arm(left: Global, mut store: impl wasmtime::AsContextMut<Data = State>, tick: u64) {
    let mut context = store.as_context_mut();
    let state = context.data_mut();
    let beat = state.heart.as_ref().map_or(NEVER, |(_, at)| *at);
    // A stop that was passed already is due at the next chance.
    let look = state.interrupt.as_mut().map_or(NEVER, |(_, at)| {
        *at = tick.saturating_add(INTERRUPT_TICKS);
        *at
    });
    let due = state.stop_tick.min(beat).min(state.deadline).min(look);
    state.armed = due.max(tick.saturating_add(1));
    let value = Val::I64(state.armed.wrapping_sub(tick) as i64);
    left.set(&mut context, value).expect("the counter is a mutable i64");
    let armed = context.data().armed;
    crate::look::was_armed(&mut context, armed);
}

impl Parts {
    fn of(store: &mut Store<State>, main: Instance, compiled: &Compiled) -> Result<Parts, Refusal> {
        let missing = || Refusal::Engine("the transformed module lacks a part".to_owned());
        let mut export = |name: &str| {
            main.get_export(&mut *store, &format!("{}{name}", compiled.prefix)).ok_or_else(missing)
        };
        Ok(Parts {
            state: export("state")?.into_global().ok_or_else(missing)?,
            left: export("left")?.into_global().ok_or_else(missing)?,
            sp: export("sp")?.into_global().ok_or_else(missing)?,
            room: export("room")?.into_global().ok_or_else(missing)?,
            looking: export("looking")?.into_global().ok_or_else(missing)?,
            stack: export("stack")?.into_memory().ok_or_else(missing)?,
            counts: export("counts").ok().and_then(Extern::into_memory),
            continuations: export("continuations")?.into_table().ok_or_else(missing)?,
            memory: main.get_memory(&mut *store, "memory"),
            realloc: main.get_func(&mut *store, "cabi_realloc"),
        })
    }
}

/// About where the native stack has come to; it grows downwards.
#[inline(never)]
fn here() -> usize {
    let local = 0u8;
    std::ptr::from_ref(&local).addr()
}

/// Starts to unwind the guest's stack: every frame saves itself and returns.
pub(crate) fn stop(caller: &mut Caller<'_, State>, pause: Pause) -> wasmtime::Result<()> {
    let parts = caller.data().parts.expect("a guest runs");
    // An interpreted guest's stack is elsewhere, and can be as large as it may be.
    let native_bytes = match caller.engine().is_pulley() {
        true => u64::MAX,
        false => caller.data().stack_base.saturating_sub(here()) as u64,
    };
    crate::frames::make_room(&mut *caller, parts.stack, native_bytes)?;
    parts.sp.set(&mut *caller, Val::I32(0))?;
    parts.state.set(&mut *caller, Val::I32(1))?;
    caller.data_mut().pause = Some(pause);
    Ok(())
}

/// The tick that the running guest has come to.
pub(crate) fn tick_of(caller: &mut Caller<'_, State>) -> Tick {
    let left = caller.data().parts.expect("a guest runs").left;
    let left = left.get(&mut *caller).unwrap_i64();
    Tick(caller.data().armed.wrapping_sub(left as u64))
}

/// The guest traps in a way that it has no instruction for.
pub(crate) fn trap(why: i32) -> wasmtime::Result<()> {
    Err(match HostTrap::of_code(why) {
        Some(HostTrap::StackExhausted) => Trap::StackOverflow,
        Some(HostTrap::Misaligned) => Trap::HeapMisaligned,
        Some(HostTrap::WaitOnUnsharedMemory) => Trap::AtomicWaitNonSharedMemory,
        None => Trap::UnreachableCodeReached,
    }
    .into())
}

/// Serves a host call of the guest.
#[inline]
pub(crate) fn serve(
    mut caller: Caller<'_, State>,
    function: Function,
    args: &[u64],
) -> wasmtime::Result<i32> {
    let parts = caller.data().parts.expect("a guest runs");
    let left = parts.left.get(&mut caller).unwrap_i64();
    let state = caller.data_mut();
    if state.is_giving {
        return Err(Trap::UnreachableCodeReached.into());
    }
    let tick = state.armed.wrapping_sub(left as u64);
    if tick >= state.stop_tick || state.stop_event == Some(state.host.events()) {
        stop(&mut caller, Pause::Call { function, args: args.to_vec() })?;
        return Ok(0);
    }
    let (memory, state): (&mut [u8], &mut State) = match parts.memory {
        Some(memory) => memory.data_and_store_mut(&mut caller),
        None => (&mut [], caller.data_mut()),
    };
    match state.host.call(function, args, memory, Tick(tick)) {
        Ok(errno) => Ok(i32::from(errno.number())),
        Err(wait) if wait.is_waiting() => {
            caller.data_mut().waits = true;
            stop(&mut caller, Pause::Call { function, args: args.to_vec() })?;
            Ok(0)
        }
        Err(stop) => Err(stop.into()),
    }
}

/// Answers the host call that a stopped guest was in.
pub(crate) fn serve_pending(mut caller: Caller<'_, State>) -> wasmtime::Result<i32> {
    let (function, args) = caller.data_mut().pending.take().ok_or_else(|| {
        wasmtime::Error::msg("the guest's stack goes on with a host call that it was not in")
    })?;
    match function.is_control() {
        true => serve_control(caller, function, &args),
        false => serve(caller, function, &args),
    }
}

/// An export of the main instance by its full name.
pub(crate) fn export(guest: &mut Guest, name: &str) -> Option<Extern> {
    guest.main.get_export(&mut guest.store, name)
}
