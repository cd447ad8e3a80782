//! Looking at a guest while it runs: tests on its memory are made at each tick, or at each passage
//! of an interpreter's loop. Where one passes, the tick is noted, or the host is asked, which may
//! stop the guest there.
//!
//! In the inspect variant every tick calls `wrr.look` if the global `looking` says so. That is a
//! function of a small module, the trampoline, which polls if the counter has run out, and then
//! calls the *looker*: a module that is written for the tests (see `module`). So a test costs a few
//! instructions and no call of the host.
//!
//! Invariant: looking changes nothing that the guest could see.

mod module;

pub(crate) use module::trampoline;

use crate::admit::Refusal;
use crate::guest::{Guest, State, stop, tick_of};
use crate::program::Program;
use module::{AFTER, ARMED, BEFORE, Expected, NOTED, TABLE_BYTES};
use std::collections::HashMap;
use wasmtime::{Caller, Func, Instance, Memory, Ref, Store, Table, Val};
use wrr_trace::{Pause, Tick};
use wrr_transform::{LOOK_PASSAGES, LOOK_TICKS, Place, Variant};

/// Which sites are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAt {
    /// The headers that the module names as passages (see [`wrr_transform::PASSAGES`]).
    Passages,
    /// Every tick.
    Ticks,
}

/// Where a guest is looked at, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// At which sites.
    pub at: LookAt,
    /// Where it passes, the tick is noted: see [`Guest::look_away`].
    pub note: Option<Test>,
    /// Only ticks before this one are noted.
    pub before: Option<Tick>,
    /// Where it passes, the [`Looker`] is asked.
    pub ask: Option<Test>,
}

/// What is tested at a site, on memory 0. Addresses are in bytes; words are little-endian and have 32 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Passes.
    Always,
    /// One of these words is not what it was when somebody was last asked, or when the test was set; also if the memory does not have it any more.
    Changed {
        /// Their addresses.
        words: Vec<u32>,
    },
    /// One of these words is not what is held here; also if the memory does not have it.
    Differ {
        /// Their addresses.
        words: Vec<u32>,
        /// What each of them is compared with.
        held: Vec<u32>,
    },
    /// It is the entry of one of these functions, as the original module numbers them.
    Entry {
        /// The functions.
        functions: Vec<u32>,
    },
    /// The word at the end of a path is in one of the ranges, bounds included. The path starts with a word at an address; to each word an offset is added, and
    /// the word at that address is the next. A word outside of the memory is 0.
    Word {
        /// The address, then the offsets.
        path: Vec<u32>,
        /// The ranges.
        among: Vec<(u32, u32)>,
    },
    /// The first byte of an element is in one of the ranges, bounds included. The elements lie at
    /// the address to which a path leads, see [`Test::Word`], and the local that the passage shows
    /// is the element's number. A byte outside of the memory is 0.
    Element {
        /// The path to the address.
        path: Vec<u32>,
        /// The size of an element, in bytes.
        bytes: u32,
        /// The ranges.
        among: Vec<(u32, u32)>,
    },
    /// The local that the passage shows is in one of the ranges, bounds included.
    Shown {
        /// The ranges.
        among: Vec<(u32, u32)>,
    },
    /// The words at the ends of two paths, together, have not been asked about; see [`Test::Word`]. Some may be asked about again.
    News {
        /// The paths.
        paths: [Vec<u32>; 2],
    },
    /// All of them pass.
    All(Vec<Test>),
    /// One of them passes.
    Any(Vec<Test>),
    /// It does not pass.
    Not(Box<Test>),
}

/// What is shown to a [`Looker`].
#[derive(Debug)]
pub struct View<'a> {
    /// Memory 0.
    pub memory: &'a [u8],
    /// The tick that was counted last.
    pub tick: Tick,
    /// The function, as the original module numbers them.
    pub function: u32,
    /// The site in it.
    pub site: u32,
    /// The local that the passage shows.
    pub shown: u32,
}

/// What a [`Looker`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Go on.
    On,
    /// Go on, and what [`Test::News`] has asked about is no news any more.
    Known,
    /// Stop here.
    Stop,
    /// Go on. For who notes the last place where the answer was [`Looked::Stop`]: that place was none, the one at this tick is the last.
    Instead(Option<Tick>),
}

/// Is asked where the tests pass.
pub trait Looker: Send {
    /// The guest is there.
    fn look(&mut self, view: &View<'_>) -> Looked;
}

impl<F: FnMut(&View<'_>) -> Looked + Send> Looker for F {
    fn look(&mut self, view: &View<'_>) -> Looked {
        self(view)
    }
}

/// Who is asked, and what the looker's module has.
pub(crate) struct Looking {
    looker: Box<dyn Looker>,
    guest: Option<Memory>,
    own: Memory,
    expected: Vec<Expected>,
    /// It said stop.
    stopped: bool,
}

/// What lookers need of a guest.
pub(crate) struct Lookers {
    /// Where the looker is put.
    table: Table,
    /// The memory that they have.
    own: Memory,
    ask: Func,
    /// Those that were made, by their modules.
    made: HashMap<Vec<u8>, Func>,
}

fn failed(error: wasmtime::Error) -> Refusal {
    Refusal::Engine(format!("{error:#}"))
}

/// The function `wrr.look`, and in the variants that can be looked at where its looker is put and
/// the memory that lookers have.
pub(crate) fn look_of(
    mut store: &mut Store<State>,
    program: &Program,
    variant: Variant,
    poll: Func,
) -> Result<(Func, Option<Lookers>), Refusal> {
    if !matches!(variant, Variant::Inspect | Variant::Search) {
        return Ok((Func::wrap(&mut store, |_: i64, _: i64, _: i32, _: i32| {}), None));
    }
    let module = program.trampoline()?;
    store.data_mut().limiter.own = true;
    let made = Instance::new(&mut store, &module, &[poll.into()]);
    store.data_mut().limiter.own = false;
    let made = made.map_err(failed)?;
    let missing = || Refusal::Engine("the trampoline lacks a part".to_owned());
    let look = made.get_func(&mut store, "look").ok_or_else(missing)?;
    let table = made.get_table(&mut store, "looker").ok_or_else(missing)?;
    let own = made.get_memory(&mut store, "own").ok_or_else(missing)?;
    let ask = Func::wrap(&mut store, ask);
    Ok((look, Some(Lookers { table, own, ask, made: HashMap::new() })))
}

impl Guest {
    /// Looks at the guest from now on while it runs. A guest that goes on from a stop is not looked
    /// at where it stands.
    ///
    /// # Errors
    /// The variant cannot be looked at there; the tests cannot be compiled.
    pub fn look(&mut self, look: &Look, looker_of: Box<dyn Looker>) -> Result<(), Refusal> {
        let at = look.at;
        let can_be = match at {
            LookAt::Passages => matches!(self.variant, Variant::Inspect | Variant::Search),
            LookAt::Ticks => self.variant == Variant::Inspect,
        };
        if !can_be {
            let what = format!("{at:?} cannot be looked at in the variant {:?}", self.variant);
            return Err(Refusal::Engine(what));
        }
        let missing = || Refusal::Engine("the transformed module lacks a part".to_owned());
        let Lookers { table, own, ask, .. } = *self.lookers.as_ref().ok_or_else(missing)?;
        let guest = self.memories()?.first().copied();
        let is_64 = guest.is_some_and(|memory| memory.ty(&self.store).is_64());
        let made = module::looker(look.note.as_ref(), look.ask.as_ref(), is_64);
        let more = made.own_bytes().div_ceil(1 << 16).saturating_sub(own.size(&self.store));
        self.store.data_mut().limiter.own = true;
        let grown = own.grow(&mut self.store, more);
        self.store.data_mut().limiter.own = false;
        grown.map_err(failed)?;
        let known = self.lookers.as_ref().and_then(|lookers| lookers.made.get(&made.wasm).copied());
        let function = match known {
            Some(function) => function,
            None => {
                let module = self.program.looker(&made.wasm)?;
                // A guest without a memory has no words: the looker's own stands for it, where
                // nothing has been written.
                let memory = guest.unwrap_or(own);
                let imports = [ask.into(), memory.into(), own.into(), self.parts.left.into()];
                self.store.data_mut().limiter.own = true;
                let instance = Instance::new(&mut self.store, &module, &imports);
                self.store.data_mut().limiter.own = false;
                let function = instance.map_err(failed)?.get_func(&mut self.store, "looker");
                let function = function.ok_or_else(missing)?;
                if let Some(lookers) = &mut self.lookers {
                    lookers.made.insert(made.wasm.clone(), function);
                }
                function
            }
        };
        table.set(&mut self.store, 0, Ref::Func(Some(function))).map_err(failed)?;
        let after = match self.frames {
            Some(_) => self.tick().0 as i64,
            None => NOTHING,
        };
        let before = look.before.map_or(i64::MAX, |tick| tick.0.min(i64::MAX as u64) as i64);
        let armed = self.store.data().armed as i64;
        let memory = own.data_mut(&mut self.store);
        memory[..TABLE_BYTES as usize].fill(0);
        memory[made.constants_at()].copy_from_slice(&made.constants);
        let numbers = [(ARMED, armed), (AFTER, after), (BEFORE, before), (NOTED, NOTHING)];
        numbers.into_iter().for_each(|(place, number)| put_number(memory, place, number));
        let expected = made.expected;
        let looking = Looking { looker: looker_of, guest, own, expected, stopped: false };
        refresh(&mut self.store, &looking);
        self.store.data_mut().looking = Some(looking);
        let value = match at {
            LookAt::Passages => LOOK_PASSAGES,
            LookAt::Ticks => LOOK_TICKS,
        };
        self.parts.looking.set(&mut self.store, Val::I32(value)).map_err(failed)
    }

    /// Looks no more. Gives the last tick that was noted.
    pub fn look_away(&mut self) -> Option<Tick> {
        let looking = self.store.data_mut().looking.take()?;
        self.parts.looking.set(&mut self.store, Val::I32(0)).expect("it is a mutable i32");
        let place = NOTED as usize;
        let noted = looking.own.data(&self.store)[place..place + 8].try_into().expect("8 bytes");
        u64::try_from(i64::from_le_bytes(noted)).ok().map(Tick)
    }

    /// How many modules of lookers were compiled for the guest's program. Tests that differ only in
    /// addresses and bounds share one.
    #[must_use]
    pub fn looker_modules(&self) -> usize {
        self.program.looker_count()
    }

    /// Whether it was a [`Looker`] that stopped the guest last. Is `false` again afterwards.
    pub fn was_stopped_by_looker(&mut self) -> bool {
        let looking = self.store.data_mut().looking.as_mut();
        looking.is_some_and(|looking| std::mem::take(&mut looking.stopped))
    }

    /// The local that the passage shows at which the stopped guest stands; `None` if it stands elsewhere.
    pub fn shown_here(&mut self) -> Option<u32> {
        let frame = self.frames.as_ref()?.last().filter(|_| self.pause == Pause::Tick)?;
        let layouts = self.program.layouts(frame.function).ok()?;
        let layout = layouts.get(frame.site as usize)?;
        let local = self.program.original().ok()?.passage(frame.function, layout.at)?;
        let shown = layout.values.iter().position(|(place, _)| *place == Place::Local(local))?;
        match frame.values.get(shown)? {
            wrr_trace::Datum::I32(shown) => Some(*shown as u32),
            _ => None,
        }
    }

    /// Whether the module names passages.
    ///
    /// # Errors
    /// The module cannot be parsed.
    pub fn has_passages(&self) -> Result<bool, Refusal> {
        Ok(self.program.original()?.has_passages())
    }
}

/// A tick that is none.
const NOTHING: i64 = -1;

fn put_number(memory: &mut [u8], place: u32, number: i64) {
    let place = place as usize;
    memory[place..place + 8].copy_from_slice(&number.to_le_bytes());
}

/// The guest's counter was set so that it is zero at this tick: lookers must know it.
pub(crate) fn was_armed(mut store: impl wasmtime::AsContextMut<Data = State>, tick: u64) {
    let own = store.as_context().data().looking.as_ref().map(|looking| looking.own);
    if let Some(own) = own {
        put_number(own.data_mut(store.as_context_mut()), ARMED, tick as i64);
    }
}

/// What the guest's memory holds is what [`Test::Changed`] compares with from now on.
fn refresh(mut store: impl wasmtime::AsContextMut, looking: &Looking) {
    let Some(guest) = looking.guest else { return };
    for expected in &looking.expected {
        let memory = guest.data(store.as_context());
        let mut bytes = Vec::with_capacity(4 * expected.words.len());
        for &word in &expected.words {
            let at = word as usize;
            bytes.extend_from_slice(memory.get(at..at.saturating_add(4)).unwrap_or(&[0; 4]));
        }
        let place = expected.place as usize;
        let own = looking.own.data_mut(store.as_context_mut());
        own[place..place + bytes.len()].copy_from_slice(&bytes);
    }
}

/// The tests have passed. Gives 1 if what is new is known from now on.
fn ask(mut caller: Caller<'_, State>, site: i64, shown: i32) -> wasmtime::Result<i32> {
    let tick = tick_of(&mut caller);
    if caller.data().looked_up_to.is_some_and(|seen| tick <= seen) {
        return Ok(0);
    }
    let Some(mut looking) = caller.data_mut().looking.take() else { return Ok(0) };
    let view = View {
        memory: looking.guest.map_or(&[][..], |memory| memory.data(&caller)),
        tick,
        function: site as u32,
        site: (site >> 32) as u32,
        shown: shown as u32,
    };
    let looked = looking.looker.look(&view);
    refresh(&mut caller, &looking);
    looking.stopped |= looked == Looked::Stop;
    caller.data_mut().looking = Some(looking);
    if looked == Looked::Stop {
        stop(&mut caller, Pause::Tick)?;
    }
    Ok(i32::from(looked == Looked::Known))
}
