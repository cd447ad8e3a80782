//! Looking at a guest while it runs: at each tick, or at each passage of an interpreter's loop, some tests on its memory decide whether
//! somebody is asked, who may stop it there.
//!
//! In the inspect variant every tick calls `wrr.look` if the global `looking` says so. That is a function of a small module, which polls if the counter has run out, and then
//! calls the *looker*: a module that is written for the tests and compiled when they are set, so that a test costs a few instructions and no call
//! of the host. A memory of its own holds what is to be compared:
//!
//! ```text
//! 0 .. TABLE_BYTES   what need not be asked about any more, by hash (see Test::News)
//! from there         for each Test::Changed: one byte that says whether the bytes were there, then the bytes
//! ```
//!
//! Invariant: looking changes nothing that the guest could see.

use crate::admit::Refusal;
use crate::guest::{Guest, State, stop, tick_of};
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, Instruction as I, MemArg, MemorySection, MemoryType, Module, TableSection,
    TableType, TypeSection, ValType,
};
use wasmtime::{Caller, Func, Instance, Memory, Ref, Store, Table, Val};
use crate::program::Program;
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

/// What is tested at a site, on memory 0. Addresses are in bytes; words are little-endian and have 32 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Passes.
    Always,
    /// The bytes are not those that they were when it was last asked, or when the test was set; also if they are only there now, or not any more.
    Changed {
        /// The first one's address.
        at: u64,
        /// How many.
        len: u32,
    },
    /// The word at the end of a path is in one of the ranges, bounds included. The path starts with a word at an address; to each word an offset is added, and
    /// the word at that address is the next. A word outside of the memory is 0.
    Word {
        /// The address, then the offsets.
        path: Vec<u32>,
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

/// A [`Test::Changed`].
#[derive(Clone, Copy, Debug)]
struct Expected {
    at: u64,
    len: u32,
    /// Of the byte that says whether they were there, in the looker's memory.
    place: u32,
}

/// The table of what is known, in bytes, and its entries of 8 bytes.
const TABLE_BYTES: u32 = 1 << 16;
const TABLE_BITS: u32 = 13;

/// Where a pair of words stands in the table.
const HASH_FACTORS: [u32; 2] = [0x9e37_79b1, 0x85eb_ca77];

fn failed(error: wasmtime::Error) -> Refusal {
    Refusal::Engine(format!("{error:#}"))
}

/// The function `wrr.look`, and in the inspect variant where its looker is put and the memory that lookers have.
pub(crate) fn look_of(
    mut store: &mut Store<State>,
    program: &Program,
    variant: Variant,
    poll: Func,
) -> Result<(Func, Option<(Table, Memory)>), Refusal> {
    if variant != Variant::Inspect {
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
    Ok((look, Some((table, own))))
}

/// The module behind `wrr.look`.
pub(crate) fn trampoline() -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([ValType::I64, ValType::I64, ValType::I32, ValType::I32], []);
    types.ty().function([ValType::I64, ValType::I32], []);
    module.section(&types);
    let mut imports = ImportSection::new();
    imports.import("wrr", "poll", EntityType::Function(0));
    module.section(&imports);
    let mut functions = FunctionSection::new();
    functions.function(1);
    module.section(&functions);
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: wasm_encoder::RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: Some(1),
        shared: false,
    });
    module.section(&tables);
    let mut memories = MemorySection::new();
    memories.memory(memory_type(u64::from(TABLE_BYTES >> 16), false));
    module.section(&memories);
    let mut exports = ExportSection::new();
    exports.export("look", ExportKind::Func, 1);
    exports.export("looker", ExportKind::Table, 0);
    exports.export("own", ExportKind::Memory, 0);
    module.section(&exports);
    let mut look = Function::new([]);
    for instruction in [
        I::LocalGet(1),
        I::I64Const(0),
        I::I64LeS,
        I::If(BlockType::Empty),
        I::Call(0),
        I::End,
        I::LocalGet(2),
        I::If(BlockType::Empty),
        I::LocalGet(0),
        I::LocalGet(3),
        I::I32Const(0),
        I::CallIndirect { type_index: 2, table_index: 0 },
        I::End,
        I::End,
    ] {
        look.instruction(&instruction);
    }
    let mut code = CodeSection::new();
    code.function(&look);
    module.section(&code);
    module.finish()
}

fn memory_type(minimum: u64, memory64: bool) -> MemoryType {
    MemoryType { minimum, maximum: None, memory64, shared: false, page_size_log2: None }
}

/// Writes a looker.
struct Writer {
    body: Vec<I<'static>>,
    expected: Vec<Expected>,
    /// Where the next one's bytes stand.
    place: u32,
    is_64: bool,
}

/// The guest's memory and the looker's own, in the looker.
const GUEST: u32 = 0;
const OWN: u32 = 1;
/// Functions of the looker.
const ASK: u32 = 0;
const WORD: u32 = 1;
/// Locals of its main function: the site, the passage's local, and the words of [`Test::News`].
const SITE: u32 = 0;
const VALUE: u32 = 1;
const WORDS: [u32; 2] = [2, 3];

fn memarg(offset: u64, memory_index: u32) -> MemArg {
    MemArg { offset, align: 0, memory_index }
}

impl Writer {
    fn put(&mut self, instruction: I<'static>) {
        self.body.push(instruction);
    }

    fn constant(&mut self, value: u32) {
        self.put(I::I32Const(value as i32));
    }

    /// Leaves 1 if the test passes, otherwise 0.
    fn test(&mut self, test: &Test) {
        match test {
            Test::Always => self.constant(1),
            Test::Changed { at, len } => self.changed(*at, *len),
            Test::Word { path, among } => {
                self.path(path);
                self.put(I::LocalSet(WORDS[0]));
                self.among(WORDS[0], among);
            }
            Test::Shown { among } => self.among(VALUE, among),
            Test::News { paths } => self.news(paths),
            Test::All(tests) => self.joined(tests, false),
            Test::Any(tests) => self.joined(tests, true),
            Test::Not(test) => {
                self.test(test);
                self.put(I::I32Eqz);
            }
        }
    }

    fn among(&mut self, local: u32, ranges: &[(u32, u32)]) {
        self.constant(0);
        for &(low, high) in ranges {
            // One comparison: what is below `low` wraps around.
            self.put(I::LocalGet(local));
            self.constant(low);
            self.put(I::I32Sub);
            self.constant(high.wrapping_sub(low));
            self.put(I::I32LeU);
            self.put(I::I32Or);
        }
    }

    /// Tests one after the other until one decides: an `or` if `any`, otherwise an `and`.
    fn joined(&mut self, tests: &[Test], any: bool) {
        let Some((first, rest)) = tests.split_first() else {
            return self.constant(u32::from(!any));
        };
        self.test(first);
        if rest.is_empty() {
            return;
        }
        self.put(I::If(BlockType::Result(ValType::I32)));
        match any {
            true => self.constant(1),
            false => self.joined(rest, any),
        }
        self.put(I::Else);
        match any {
            true => self.joined(rest, any),
            false => self.constant(0),
        }
        self.put(I::End);
    }

    fn path(&mut self, path: &[u32]) {
        self.constant(0);
        for &offset in path {
            self.constant(offset);
            self.put(I::I32Add);
            self.put(I::Call(WORD));
        }
    }

    /// The size of the guest's memory in bytes, as 64 bits.
    fn size(&mut self) {
        self.put(I::MemorySize(GUEST));
        if !self.is_64 {
            self.put(I::I64ExtendI32U);
        }
        self.put(I::I64Const(16));
        self.put(I::I64Shl);
    }

    fn changed(&mut self, at: u64, len: u32) {
        let place = self.place;
        self.place += 1 + len;
        self.expected.push(Expected { at, len, place });
        // Whether they are there.
        self.size();
        self.put(I::I64Const(at.saturating_add(u64::from(len)) as i64));
        self.put(I::I64GeU);
        self.put(I::LocalTee(WORDS[0]));
        self.constant(place);
        self.put(I::I32Load8U(memarg(0, OWN)));
        self.put(I::I32Ne);
        self.put(I::If(BlockType::Result(ValType::I32)));
        self.constant(1);
        self.put(I::Else);
        self.put(I::LocalGet(WORDS[0]));
        self.put(I::If(BlockType::Result(ValType::I32)));
        self.constant(0);
        let mut done = 0;
        while done < len {
            let bytes = match len - done {
                8.. => 8,
                4.. => 4,
                _ => 1,
            };
            let theirs = at + u64::from(done);
            match self.is_64 {
                true => self.put(I::I64Const(theirs as i64)),
                false => self.put(I::I32Const(theirs as u32 as i32)),
            }
            self.load(bytes, GUEST);
            self.constant(place + 1 + done);
            self.load(bytes, OWN);
            self.put(if bytes == 8 { I::I64Ne } else { I::I32Ne });
            self.put(I::I32Or);
            done += bytes;
        }
        self.put(I::Else);
        self.constant(0);
        self.put(I::End);
        self.put(I::End);
    }

    fn load(&mut self, bytes: u32, memory: u32) {
        let at = memarg(0, memory);
        self.put(match bytes {
            8 => I::I64Load(at),
            4 => I::I32Load(at),
            _ => I::I32Load8U(at),
        });
    }

    /// Compares the pair with what stands in its place of the table, and puts it there: it is taken out again if the looker says so.
    fn news(&mut self, paths: &[Vec<u32>; 2]) {
        for (path, local) in paths.iter().zip(WORDS) {
            self.path(path);
            self.put(I::LocalSet(local));
        }
        self.slot();
        self.put(I::I64Load(memarg(0, OWN)));
        self.pair();
        self.put(I::I64Ne);
    }

    /// The address of the place of the words in the table.
    fn slot(&mut self) {
        for (local, factor) in WORDS.into_iter().zip(HASH_FACTORS) {
            self.put(I::LocalGet(local));
            self.constant(factor);
            self.put(I::I32Mul);
        }
        self.put(I::I32Xor);
        self.constant(32 - TABLE_BITS);
        self.put(I::I32ShrU);
        self.constant(3);
        self.put(I::I32Shl);
    }

    fn pair(&mut self) {
        self.put(I::LocalGet(WORDS[0]));
        self.put(I::I64ExtendI32U);
        self.put(I::LocalGet(WORDS[1]));
        self.put(I::I64ExtendI32U);
        self.put(I::I64Const(32));
        self.put(I::I64Shl);
        self.put(I::I64Or);
    }
}

/// Whether a test asks for what is new anywhere.
fn wants_news(test: &Test) -> bool {
    match test {
        Test::News { .. } => true,
        Test::All(tests) | Test::Any(tests) => tests.iter().any(wants_news),
        Test::Not(test) => wants_news(test),
        Test::Always | Test::Changed { .. } | Test::Word { .. } | Test::Shown { .. } => false,
    }
}

/// A looker's module, and what it compares.
fn looker(test: &Test, is_64: bool) -> (Vec<u8>, Vec<Expected>, u32) {
    let mut writer = Writer { body: Vec::new(), expected: Vec::new(), place: TABLE_BYTES, is_64 };
    writer.test(test);
    writer.put(I::If(BlockType::Empty));
    writer.put(I::LocalGet(SITE));
    writer.put(I::LocalGet(VALUE));
    writer.put(I::Call(ASK));
    if wants_news(test) {
        // What is known stays so.
        writer.put(I::If(BlockType::Empty));
        writer.slot();
        writer.pair();
        writer.put(I::I64Store(memarg(0, OWN)));
        writer.put(I::End);
    } else {
        writer.put(I::Drop);
    }
    writer.put(I::End);
    writer.put(I::End);

    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64, ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I64, ValType::I32], []);
    module.section(&types);
    let mut imports = ImportSection::new();
    imports.import("wrr", "ask", EntityType::Function(0));
    imports.import("main", "memory", EntityType::Memory(memory_type(0, is_64)));
    imports.import("main", "own", EntityType::Memory(memory_type(0, false)));
    module.section(&imports);
    let mut functions = FunctionSection::new();
    functions.function(1).function(2);
    module.section(&functions);
    let mut exports = ExportSection::new();
    exports.export("looker", ExportKind::Func, 2);
    module.section(&exports);
    let mut code = CodeSection::new();
    code.function(&word(is_64));
    let mut body = Function::new([(2, ValType::I32)]);
    for instruction in &writer.body {
        body.instruction(instruction);
    }
    code.function(&body);
    module.section(&code);
    (module.finish(), writer.expected, writer.place)
}

/// The function that loads a word of the guest's, or 0.
fn word(is_64: bool) -> Function {
    let mut word = Function::new([]);
    let mut put = |instruction: I<'_>| {
        word.instruction(&instruction);
    };
    put(I::LocalGet(0));
    put(I::I64ExtendI32U);
    put(I::I64Const(4));
    put(I::I64Add);
    put(I::MemorySize(GUEST));
    if !is_64 {
        put(I::I64ExtendI32U);
    }
    put(I::I64Const(16));
    put(I::I64Shl);
    put(I::I64LeU);
    put(I::If(BlockType::Result(ValType::I32)));
    put(I::LocalGet(0));
    if is_64 {
        put(I::I64ExtendI32U);
    }
    put(I::I32Load(memarg(0, GUEST)));
    put(I::Else);
    put(I::I32Const(0));
    put(I::End);
    put(I::End);
    word
}

impl Guest {
    /// Looks at the guest from now on while it runs, or not any more. Where the test passes, `looker` is asked. Only the inspect variant can be looked
    /// at. A guest that goes on from a stop is not looked at where it stands.
    ///
    /// # Errors
    /// Another variant runs; the tests cannot be compiled.
    pub fn look(
        &mut self,
        at: LookAt,
        test: &Test,
        looker_of: Box<dyn Looker>,
    ) -> Result<(), Refusal> {
        if self.variant != Variant::Inspect {
            return Err(Refusal::Engine("only the inspect variant can be looked at".to_owned()));
        }
        let missing = || Refusal::Engine("the transformed module lacks a part".to_owned());
        let (table, own) = self.lookers.ok_or_else(missing)?;
        let guest = self.memories()?.first().copied();
        let is_64 = guest.is_some_and(|memory| memory.ty(&self.store).is_64());
        // A guest without a memory has no words: its own stands for it, where nothing has been written.
        let (wasm, expected, own_bytes) = looker(test, is_64);
        let module = wasmtime::Module::from_binary(&self.program.engine, &wasm).map_err(failed)?;
        let more = u64::from(own_bytes).div_ceil(1 << 16).saturating_sub(own.size(&self.store));
        let ask = Func::wrap(&mut self.store, ask);
        let imports = [ask.into(), guest.unwrap_or(own).into(), own.into()];
        self.store.data_mut().limiter.own = true;
        let made = own
            .grow(&mut self.store, more)
            .and_then(|_| Instance::new(&mut self.store, &module, &imports));
        self.store.data_mut().limiter.own = false;
        let function = made.map_err(failed)?.get_func(&mut self.store, "looker");
        let function = function.ok_or_else(missing)?;
        table.set(&mut self.store, 0, Ref::Func(Some(function))).map_err(failed)?;
        own.data_mut(&mut self.store)[..TABLE_BYTES as usize].fill(0);
        let looking = Looking { looker: looker_of, guest, own, expected, stopped: false };
        refresh(&mut self.store, &looking);
        self.store.data_mut().looking = Some(looking);
        let value = match at {
            LookAt::Passages => LOOK_PASSAGES,
            LookAt::Ticks => LOOK_TICKS,
        };
        self.parts.looking.set(&mut self.store, Val::I32(value)).map_err(failed)
    }

    /// Looks no more.
    pub fn look_away(&mut self) {
        self.store.data_mut().looking = None;
        self.parts.looking.set(&mut self.store, Val::I32(0)).expect("it is a mutable i32");
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

/// What the guest's memory holds is what the tests compare with from now on.
fn refresh(mut store: impl wasmtime::AsContextMut, looking: &Looking) {
    let Some(guest) = looking.guest else { return };
    for expected in &looking.expected {
        let len = expected.len as usize;
        let there = usize::try_from(expected.at).ok().and_then(|at| {
            guest.data(store.as_context()).get(at..at.checked_add(len)?).map(<[u8]>::to_vec)
        });
        let own = &mut looking.own.data_mut(store.as_context_mut())[expected.place as usize..];
        own[0] = u8::from(there.is_some());
        if let Some(bytes) = there {
            own[1..=len].copy_from_slice(&bytes);
        }
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
