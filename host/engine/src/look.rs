//! Looking at a guest while it runs: at each tick, or at each passage of an interpreter's loop, some tests on its memory decide whether
//! somebody is asked, who may stop it there.
//!
//! In the inspect variant every tick calls `wrr.look` if the global `looking` says so. That is a function of a small module, which polls if the counter has run out, and then
//! calls the *looker*: a module that is written for the tests and compiled when they are set, so that a test costs a few instructions and no call
//! of the host. A memory of its own holds what is to be compared:
//!
//! ```text
//! 0 .. TABLE_BYTES   what need not be asked about any more, by hash (see Test::News)
//! from there         for each Test::Changed: the length of a list, where the last word ends, the words' addresses, what they were (all u32)
//! ```
//!
//! Invariant: looking changes nothing that the guest could see.

use crate::admit::Refusal;
use crate::guest::{Guest, State, stop, tick_of};
use crate::program::Program;
use std::collections::HashMap;
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, Instruction as I, MemArg, MemorySection, MemoryType, Module, TableSection,
    TableType, TypeSection, ValType,
};
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

/// A [`Test::Changed`].
#[derive(Clone, Debug)]
struct Expected {
    words: Vec<u32>,
    /// Where it stands in the looker's memory.
    place: u32,
}

/// What stands before a test's addresses, in bytes.
const HEAD_BYTES: u64 = 8;

/// Up to so many words are compared one after the other, more in a loop.
const UNROLLED_MAX: usize = 1 << 10;

/// So many lookers are made for a guest; the ones behind are of a form that fits more than one list of words.
const SPECIAL_MAX: usize = 512;

impl Expected {
    fn bytes(&self) -> u32 {
        HEAD_BYTES as u32 + 8 * self.words.len() as u32
    }

    /// Where the last word ends.
    fn end(&self) -> u32 {
        self.words.iter().max().map_or(0, |last| last.saturating_add(4))
    }
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
    /// The module is to fit other words as well.
    is_general: bool,
}

/// The guest's memory and the looker's own, in the looker.
const GUEST: u32 = 0;
const OWN: u32 = 1;
/// Functions of the looker.
const ASK: u32 = 0;
const WORD: u32 = 1;
const CHANGED: u32 = 2;
/// Locals of its main function: the site, the passage's local, the words of [`Test::News`], and that of [`Test::Word`].
const SITE: u32 = 0;
const VALUE: u32 = 1;
const WORDS: [u32; 2] = [2, 3];
const PATH_END: u32 = 4;

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
            Test::Changed { words } => self.changed(words),
            Test::Entry { functions } => self.entry(functions),
            Test::Word { path, among } => {
                self.path(path);
                self.put(I::LocalSet(PATH_END));
                self.among(PATH_END, among);
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

    fn changed(&mut self, words: &[u32]) {
        let expected = Expected { words: words.to_vec(), place: self.place };
        self.place += expected.bytes();
        if words.len() > UNROLLED_MAX || self.is_general {
            self.constant(expected.place);
            self.put(I::Call(CHANGED));
        } else {
            self.changed_unrolled(&expected);
        }
        self.expected.push(expected);
    }

    /// All words one after the other, without a branch, two at a time where they lie side by side.
    fn changed_unrolled(&mut self, expected: &Expected) {
        self.memory_bytes();
        self.put(I::I64Const(i64::from(expected.end())));
        self.put(I::I64LtU);
        self.put(I::If(BlockType::Result(ValType::I32)));
        self.constant(1);
        self.put(I::Else);
        self.put(I::I64Const(0));
        let mut was = u64::from(expected.place) + HEAD_BYTES + 4 * expected.words.len() as u64;
        let mut words = expected.words.iter().copied().peekable();
        while let Some(at) = words.next() {
            let is_pair = words.next_if(|next| at.checked_add(4) == Some(*next)).is_some();
            for (address, memory) in [(u64::from(at), GUEST), (was, OWN)] {
                match self.is_64 && memory == GUEST {
                    true => self.put(I::I64Const(0)),
                    false => self.put(I::I32Const(0)),
                }
                let place = memarg(address, memory);
                self.put(if is_pair { I::I64Load(place) } else { I::I64Load32U(place) });
            }
            self.put(I::I64Xor);
            self.put(I::I64Or);
            was += if is_pair { 8 } else { 4 };
        }
        self.put(I::I64Const(0));
        self.put(I::I64Ne);
        self.put(I::End);
    }

    /// The size of the guest's memory.
    fn memory_bytes(&mut self) {
        self.put(I::MemorySize(GUEST));
        if !self.is_64 {
            self.put(I::I64ExtendI32U);
        }
        self.put(I::I64Const(16));
        self.put(I::I64Shl);
    }

    /// A site's number is above 32 bits; that of an entry is 0.
    fn entry(&mut self, functions: &[u32]) {
        self.constant(0);
        for &function in functions {
            self.put(I::LocalGet(SITE));
            self.put(I::I64Const(i64::from(function)));
            self.put(I::I64Eq);
            self.put(I::I32Or);
        }
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
        Test::Always
        | Test::Changed { .. }
        | Test::Entry { .. }
        | Test::Word { .. }
        | Test::Shown { .. } => false,
    }
}

/// A looker's module, and what it compares.
fn looker(test: &Test, is_64: bool, is_general: bool) -> (Vec<u8>, Vec<Expected>, u32) {
    let (body, expected) = (Vec::new(), Vec::new());
    let mut writer = Writer { body, expected, place: TABLE_BYTES, is_64, is_general };
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
    functions.function(1).function(1).function(2);
    module.section(&functions);
    let mut exports = ExportSection::new();
    exports.export("looker", ExportKind::Func, 3);
    module.section(&exports);
    let mut code = CodeSection::new();
    code.function(&word(is_64));
    code.function(&changed(is_64));
    let mut body = Function::new([(3, ValType::I32)]);
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

/// The function that says whether one of the words of a [`Test::Changed`] has changed. It is given where the test's part of the looker's memory is.
fn changed(is_64: bool) -> Function {
    const AT: u32 = 0;
    /// How many bytes the addresses take, and where they end.
    const LIST: u32 = 1;
    const END: u32 = 2;
    let mut changed = Function::new([(2, ValType::I32)]);
    let instructions = [
        // Whether they are all there.
        I::MemorySize(GUEST),
        if is_64 { I::Nop } else { I::I64ExtendI32U },
        I::I64Const(16),
        I::I64Shl,
        I::LocalGet(AT),
        I::I64Load32U(memarg(4, OWN)),
        I::I64LtU,
        I::If(BlockType::Empty),
        I::I32Const(1),
        I::Return,
        I::End,
        I::LocalGet(AT),
        I::I32Load(memarg(0, OWN)),
        I::I32Const(2),
        I::I32Shl,
        I::LocalTee(LIST),
        I::LocalGet(AT),
        I::I32Const(HEAD_BYTES as i32),
        I::I32Add,
        I::LocalTee(AT),
        I::I32Add,
        I::LocalSet(END),
        I::Block(BlockType::Empty),
        I::Loop(BlockType::Empty),
        I::LocalGet(AT),
        I::LocalGet(END),
        I::I32Eq,
        I::BrIf(1),
        I::LocalGet(AT),
        I::I32Load(memarg(0, OWN)),
        if is_64 { I::I64ExtendI32U } else { I::Nop },
        I::I32Load(memarg(0, GUEST)),
        I::LocalGet(AT),
        I::LocalGet(LIST),
        I::I32Add,
        I::I32Load(memarg(0, OWN)),
        I::LocalGet(AT),
        I::I32Const(4),
        I::I32Add,
        I::LocalSet(AT),
        I::I32Eq,
        I::BrIf(0),
        I::I32Const(1),
        I::Return,
        I::End,
        I::End,
        I::I32Const(0),
        I::End,
    ];
    for instruction in &instructions {
        changed.instruction(instruction);
    }
    changed
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
        let is_general = self.lookers.as_ref().is_some_and(|l| l.made.len() >= SPECIAL_MAX);
        let guest = self.memories()?.first().copied();
        let is_64 = guest.is_some_and(|memory| memory.ty(&self.store).is_64());
        let (wasm, expected, own_bytes) = looker(test, is_64, is_general);
        let more = u64::from(own_bytes).div_ceil(1 << 16).saturating_sub(own.size(&self.store));
        self.store.data_mut().limiter.own = true;
        let grown = own.grow(&mut self.store, more);
        self.store.data_mut().limiter.own = false;
        grown.map_err(failed)?;
        let known = self.lookers.as_ref().and_then(|lookers| lookers.made.get(&wasm).copied());
        let function = match known {
            Some(function) => function,
            None => {
                let module = self.program.looker(&wasm)?;
                // A guest without a memory has no words: its own stands for it, where nothing has been written.
                let imports = [ask.into(), guest.unwrap_or(own).into(), own.into()];
                self.store.data_mut().limiter.own = true;
                let made = Instance::new(&mut self.store, &module, &imports);
                self.store.data_mut().limiter.own = false;
                let function = made.map_err(failed)?.get_func(&mut self.store, "looker");
                let function = function.ok_or_else(missing)?;
                self.lookers.as_mut().map(|lookers| lookers.made.insert(wasm, function));
                function
            }
        };
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
        let memory = guest.data(store.as_context());
        let mut bytes = Vec::with_capacity(expected.bytes() as usize);
        bytes.extend_from_slice(&(expected.words.len() as u32).to_le_bytes());
        // If a word is not there, that counts as a change.
        bytes.extend_from_slice(&expected.end().to_le_bytes());
        bytes.extend(expected.words.iter().flat_map(|word| word.to_le_bytes()));
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
