//! Lookers: small modules that make the tests at a site, and the trampoline that calls them.
//!
//! Only the *shape* of the tests is in a module. Addresses, bounds and lists are constants in a
//! memory of the lookers' own, so tests of one shape share a module:
//!
//! ```text
//! 0 ..         known pairs of words, by hash (see Test::News)
//! ARMED ..     the tick at which the guest's counter is zero
//! AFTER ..     noted are only ticks after this one,
//! BEFORE ..    and before this one
//! NOTED ..     the last tick that was noted
//! CONSTANTS .. one after the other, as the tests need them
//! ```
//!
//! A list of words that are compared:
//!
//! ```text
//! length, end of the last word           u32 each
//! the words' addresses                   u32 each
//! what they are compared with            u32 each
//! ```
//!
//! Lists have one of a few lengths, so that the code fits other lists too: they are filled up with
//! repetitions of an item. Up to [`UNROLLED_MAX`] words are compared without a loop: first pairs of
//! words that lie side by side, then single words.

use super::Test;
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalType, ImportSection, Instruction as I, MemArg, MemorySection, MemoryType, Module,
    TableSection, TableType, TypeSection, ValType,
};

/// The table of what is known, in bytes, and its entries of 8 bytes.
pub(super) const TABLE_BYTES: u32 = 1 << 16;
const TABLE_BITS: u32 = 13;

/// Where things stand in the memory: see above.
pub(super) const ARMED: u32 = TABLE_BYTES;
pub(super) const AFTER: u32 = ARMED + 8;
pub(super) const BEFORE: u32 = AFTER + 8;
pub(super) const NOTED: u32 = BEFORE + 8;
const CONSTANTS: u32 = NOTED + 8;

/// What stands before a list's addresses, in bytes.
const HEAD_BYTES: u32 = 8;

/// Up to so many items are compared one after the other, more in a loop.
const UNROLLED_MAX: usize = 1 << 10;

/// Up to so many ranges are tested one after the other, more in a loop.
const RANGES_UNROLLED_MAX: usize = 4;

/// Where a pair of words stands in the table.
const HASH_FACTORS: [u32; 2] = [0x9e37_79b1, 0x85eb_ca77];

/// A list of words in a looker's memory whose contents are those of the last time somebody was
/// asked.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The words' addresses, in the order of the list.
    pub words: Vec<u32>,
    /// Where their contents stand in the looker's memory.
    pub place: u32,
}

/// A looker.
pub(super) struct Looker {
    /// Its module.
    pub wasm: Vec<u8>,
    /// What stands at [`CONSTANTS`].
    pub constants: Vec<u8>,
    pub expected: Vec<Expected>,
}

impl Looker {
    /// The size of the memory that it needs, in bytes.
    pub fn own_bytes(&self) -> u64 {
        u64::from(CONSTANTS) + self.constants.len() as u64
    }

    /// Where its constants stand.
    pub fn constants_at(&self) -> std::ops::Range<usize> {
        CONSTANTS as usize..CONSTANTS as usize + self.constants.len()
    }
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
    memories.memory(memory_type(u64::from(CONSTANTS).div_ceil(1 << 16), false));
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
    constants: Vec<u8>,
    expected: Vec<Expected>,
    is_64: bool,
}

/// The guest's memory and the looker's own, in the looker.
const GUEST: u32 = 0;
const OWN: u32 = 1;
/// The guest's counter.
const LEFT: u32 = 0;
/// Functions of the looker.
const ASK: u32 = 0;
const WORD: u32 = 1;
const CHANGED: u32 = 2;
const AMONG: u32 = 3;
const MAIN: u32 = 4;
/// Locals of its main function: the site, the passage's local, the words of [`Test::News`], that of
/// [`Test::Word`], and the tick.
const SITE: u32 = 0;
const VALUE: u32 = 1;
const WORDS: [u32; 2] = [2, 3];
const PATH_END: u32 = 4;
const TICK: u32 = 5;

fn memarg(offset: u64, memory_index: u32) -> MemArg {
    MemArg { offset, align: 0, memory_index }
}

/// The next length that lists may have, for code that fits more than one.
fn padded(len: usize) -> usize {
    if len == 0 { 0 } else { len.next_power_of_two().max(4) }
}

impl Writer {
    fn put(&mut self, instruction: I<'static>) {
        self.body.push(instruction);
    }

    fn immediate(&mut self, value: u32) {
        self.put(I::I32Const(value as i32));
    }

    /// Where the next constant will stand in the looker's memory.
    fn place(&self) -> u32 {
        CONSTANTS + self.constants.len() as u32
    }

    /// Puts a number into the looker's memory, and a load of it into the code.
    fn constant(&mut self, value: u32) {
        let place = self.place();
        self.constants.extend(value.to_le_bytes());
        self.put(I::I32Const(0));
        self.put(I::I32Load(memarg(u64::from(place), OWN)));
    }

    /// Leaves 1 if the test passes, otherwise 0.
    fn test(&mut self, test: &Test) {
        match test {
            Test::Always => self.immediate(1),
            Test::Changed { words } => self.differ(words, None),
            Test::Differ { words, held } => self.differ(words, Some(held)),
            Test::Entry { functions } => self.entry(functions),
            Test::Word { path, among } => {
                self.path(path);
                self.put(I::LocalSet(PATH_END));
                self.among(PATH_END, among);
            }
            Test::Element { path, bytes, among } => {
                self.path(path);
                self.put(I::LocalGet(VALUE));
                self.immediate(*bytes);
                self.put(I::I32Mul);
                self.put(I::I32Add);
                self.put(I::Call(WORD));
                self.immediate(0xff);
                self.put(I::I32And);
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
        if ranges.len() > RANGES_UNROLLED_MAX {
            let place = self.place();
            let len = padded(ranges.len());
            self.constants.extend((len as u32).to_le_bytes());
            for &(low, high) in ranges.iter().cycle().take(len) {
                self.constants.extend(low.to_le_bytes());
                self.constants.extend(high.wrapping_sub(low).to_le_bytes());
            }
            self.put(I::LocalGet(local));
            self.immediate(place);
            self.put(I::Call(AMONG));
            return;
        }
        self.immediate(0);
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
            return self.immediate(u32::from(!any));
        };
        self.test(first);
        if rest.is_empty() {
            return;
        }
        self.put(I::If(BlockType::Result(ValType::I32)));
        match any {
            true => self.immediate(1),
            false => self.joined(rest, any),
        }
        self.put(I::Else);
        match any {
            true => self.joined(rest, any),
            false => self.immediate(0),
        }
        self.put(I::End);
    }

    /// A path's address is a constant; its offsets say how structures look, and stand in the code.
    fn path(&mut self, path: &[u32]) {
        let Some((address, offsets)) = path.split_first() else { return self.immediate(0) };
        self.constant(*address);
        self.put(I::Call(WORD));
        for &offset in offsets {
            self.immediate(offset);
            self.put(I::I32Add);
            self.put(I::Call(WORD));
        }
    }

    /// Compares words with what is held, or else with what they were when somebody was last asked.
    fn differ(&mut self, words: &[u32], held: Option<&[u32]>) {
        let of = |at: usize| held.and_then(|held| held.get(at)).copied().unwrap_or(0);
        let mut items: Vec<(u32, u32)> =
            words.iter().enumerate().map(|(at, word)| (*word, of(at))).collect();
        let end = words.iter().max().map_or(0, |last| last.saturating_add(4));
        let mut pairs = 0;
        let is_unrolled = words.len() <= UNROLLED_MAX;
        if is_unrolled {
            (pairs, items) = in_pairs(&items);
        } else {
            items.resize(padded(items.len()), items[0]);
        }
        let place = self.place();
        self.constants.extend((items.len() as u32).to_le_bytes());
        // If a word is not there, that counts as a change.
        self.constants.extend(end.to_le_bytes());
        self.constants.extend(items.iter().flat_map(|(word, _)| word.to_le_bytes()));
        let contents = self.place();
        self.constants.extend(items.iter().flat_map(|(_, held)| held.to_le_bytes()));
        if is_unrolled {
            self.differ_unrolled(place, pairs, items.len());
        } else {
            self.immediate(place);
            self.put(I::Call(CHANGED));
        }
        if held.is_none() {
            let words = items.into_iter().map(|(word, _)| word).collect();
            self.expected.push(Expected { words, place: contents });
        }
    }

    /// All items of a list one after the other, without a branch; the first ones are pairs of
    /// words.
    fn differ_unrolled(&mut self, place: u32, pairs: usize, words: usize) {
        self.memory_bytes();
        self.put(I::I32Const(0));
        self.put(I::I64Load32U(memarg(u64::from(place) + 4, OWN)));
        self.put(I::I64LtU);
        self.put(I::If(BlockType::Result(ValType::I32)));
        self.immediate(1);
        self.put(I::Else);
        self.put(I::I64Const(0));
        let addresses = u64::from(place + HEAD_BYTES);
        let contents = addresses + 4 * words as u64;
        let mut at = 0;
        while at < words {
            let is_pair = at < 2 * pairs;
            let load = |place| if is_pair { I::I64Load(place) } else { I::I64Load32U(place) };
            self.put(I::I32Const(0));
            let address = memarg(addresses + 4 * at as u64, OWN);
            self.put(if self.is_64 { I::I64Load32U(address) } else { I::I32Load(address) });
            self.put(load(memarg(0, GUEST)));
            self.put(I::I32Const(0));
            self.put(load(memarg(contents + 4 * at as u64, OWN)));
            self.put(I::I64Xor);
            self.put(I::I64Or);
            at += if is_pair { 2 } else { 1 };
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
        self.put(I::LocalGet(SITE));
        self.put(I::I64Const(32));
        self.put(I::I64ShrU);
        self.put(I::I64Eqz);
        self.put(I::LocalGet(SITE));
        self.put(I::I32WrapI64);
        self.put(I::LocalSet(PATH_END));
        let ranges: Vec<_> = functions.iter().map(|&function| (function, function)).collect();
        self.among(PATH_END, &ranges);
        self.put(I::I32And);
    }

    /// Compares the pair with what stands in its place of the table, and puts it there: it is taken
    /// out again if the looker says so.
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
            self.immediate(factor);
            self.put(I::I32Mul);
        }
        self.put(I::I32Xor);
        self.immediate(32 - TABLE_BITS);
        self.put(I::I32ShrU);
        self.immediate(3);
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

    /// Where the test passes the looker remembers the tick, if it is between two others.
    fn note(&mut self, test: &Test) {
        self.test(test);
        self.put(I::If(BlockType::Empty));
        self.put(I::I32Const(0));
        self.put(I::I64Load(memarg(ARMED.into(), OWN)));
        self.put(I::GlobalGet(LEFT));
        self.put(I::I64Sub);
        self.put(I::LocalTee(TICK));
        for (bound, compare) in [(AFTER, I::I64GtS), (BEFORE, I::I64LtS)] {
            self.put(I::I32Const(0));
            self.put(I::I64Load(memarg(bound.into(), OWN)));
            self.put(compare);
            if bound == AFTER {
                self.put(I::LocalGet(TICK));
            }
        }
        self.put(I::I32And);
        self.put(I::If(BlockType::Empty));
        self.put(I::I32Const(0));
        self.put(I::LocalGet(TICK));
        self.put(I::I64Store(memarg(NOTED.into(), OWN)));
        self.put(I::End);
        self.put(I::End);
    }

    /// Where the test passes somebody is asked.
    fn ask(&mut self, test: &Test) {
        self.test(test);
        self.put(I::If(BlockType::Empty));
        self.put(I::LocalGet(SITE));
        self.put(I::LocalGet(VALUE));
        self.put(I::Call(ASK));
        if wants_news(test) {
            // What is known stays so.
            self.put(I::If(BlockType::Empty));
            self.slot();
            self.pair();
            self.put(I::I64Store(memarg(0, OWN)));
            self.put(I::End);
        } else {
            self.put(I::Drop);
        }
        self.put(I::End);
    }
}

/// Words and what they are compared with: first pairs of words that lie side by side, then the
/// others, each part as long as lists are. Gives how many pairs there are, too.
fn in_pairs(items: &[(u32, u32)]) -> (usize, Vec<(u32, u32)>) {
    let (mut pairs, mut single) = (Vec::new(), Vec::new());
    let mut items = items.iter().copied().peekable();
    while let Some(item) = items.next() {
        match items.next_if(|next| item.0.checked_add(4) == Some(next.0)) {
            Some(next) => pairs.push([item, next]),
            None => single.push(item),
        }
    }
    if let Some(&first) = pairs.first() {
        pairs.resize(padded(pairs.len()), first);
    }
    if let Some(&first) = single.first() {
        single.resize(padded(single.len()), first);
    }
    let count = pairs.len();
    (count, pairs.into_iter().flatten().chain(single).collect())
}

/// Whether a test asks for what is new anywhere.
fn wants_news(test: &Test) -> bool {
    match test {
        Test::News { .. } => true,
        Test::All(tests) | Test::Any(tests) => tests.iter().any(wants_news),
        Test::Not(test) => wants_news(test),
        Test::Always
        | Test::Changed { .. }
        | Test::Differ { .. }
        | Test::Entry { .. }
        | Test::Word { .. }
        | Test::Element { .. }
        | Test::Shown { .. } => false,
    }
}

/// A looker that notes where one test passes and asks where another one does.
pub(super) fn looker(note: Option<&Test>, ask: Option<&Test>, is_64: bool) -> Looker {
    let (body, constants, expected) = (Vec::new(), Vec::new(), Vec::new());
    let mut writer = Writer { body, constants, expected, is_64 };
    if let Some(test) = note {
        writer.note(test);
    }
    if let Some(test) = ask {
        writer.ask(test);
    }
    writer.put(I::End);

    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64, ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I64, ValType::I32], []);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I32]);
    module.section(&types);
    let mut imports = ImportSection::new();
    imports.import("wrr", "ask", EntityType::Function(0));
    imports.import("main", "memory", EntityType::Memory(memory_type(0, is_64)));
    imports.import("main", "own", EntityType::Memory(memory_type(0, false)));
    let left = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
    imports.import("main", "left", EntityType::Global(left));
    module.section(&imports);
    let mut functions = FunctionSection::new();
    functions.function(1).function(1).function(3).function(2);
    module.section(&functions);
    let mut exports = ExportSection::new();
    exports.export("looker", ExportKind::Func, MAIN);
    module.section(&exports);
    let mut code = CodeSection::new();
    code.function(&word(is_64));
    code.function(&changed(is_64));
    code.function(&among());
    let mut body = Function::new([(3, ValType::I32), (1, ValType::I64)]);
    for instruction in &writer.body {
        body.instruction(instruction);
    }
    code.function(&body);
    module.section(&code);
    Looker { wasm: module.finish(), constants: writer.constants, expected: writer.expected }
}

fn function(locals: &[(u32, ValType)], instructions: &[I<'_>]) -> Function {
    let mut function = Function::new(locals.iter().copied());
    for instruction in instructions {
        function.instruction(instruction);
    }
    function
}

/// The function that loads a word of the guest's, or 0.
fn word(is_64: bool) -> Function {
    let or_nop = |is_so, instruction| if is_so { instruction } else { I::Nop };
    function(
        &[],
        &[
            I::LocalGet(0),
            I::I64ExtendI32U,
            I::I64Const(4),
            I::I64Add,
            I::MemorySize(GUEST),
            or_nop(!is_64, I::I64ExtendI32U),
            I::I64Const(16),
            I::I64Shl,
            I::I64LeU,
            I::If(BlockType::Result(ValType::I32)),
            I::LocalGet(0),
            or_nop(is_64, I::I64ExtendI32U),
            I::I32Load(memarg(0, GUEST)),
            I::Else,
            I::I32Const(0),
            I::End,
            I::End,
        ],
    )
}

/// The function that says whether a number is in one of the ranges of a list: how many there are,
/// then for each its lower bound and the distance of the upper one.
fn among() -> Function {
    const NUMBER: u32 = 0;
    const AT: u32 = 1;
    const END: u32 = 2;
    function(
        &[(1, ValType::I32)],
        &[
            I::LocalGet(AT),
            I::I32Load(memarg(0, OWN)),
            I::I32Const(3),
            I::I32Shl,
            I::LocalGet(AT),
            I::I32Const(4),
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
            I::LocalGet(NUMBER),
            I::LocalGet(AT),
            I::I32Load(memarg(0, OWN)),
            I::I32Sub,
            I::LocalGet(AT),
            I::I32Load(memarg(4, OWN)),
            I::LocalGet(AT),
            I::I32Const(8),
            I::I32Add,
            I::LocalSet(AT),
            I::I32GtU,
            I::BrIf(0),
            I::I32Const(1),
            I::Return,
            I::End,
            I::End,
            I::I32Const(0),
            I::End,
        ],
    )
}

/// The function that says whether one of the words of a list differs. It is given where the list
/// is.
fn changed(is_64: bool) -> Function {
    const AT: u32 = 0;
    /// How many bytes the addresses take, and where they end.
    const LIST: u32 = 1;
    const END: u32 = 2;
    let or_nop = |is_so, instruction| if is_so { instruction } else { I::Nop };
    function(
        &[(2, ValType::I32)],
        &[
            // Whether they are all there.
            I::MemorySize(GUEST),
            or_nop(!is_64, I::I64ExtendI32U),
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
            or_nop(is_64, I::I64ExtendI32U),
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
        ],
    )
}
