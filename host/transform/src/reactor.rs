//! A library that is made to be fuzzed, as a command that reads its input from standard input.
//!
//! libFuzzer's interface (<https://llvm.org/docs/LibFuzzer.html>) is `LLVMFuzzerTestOneInput(data, size)`, and `LLVMFuzzerInitialize(argc, argv)`
//! if it is there. The module gets a `_start` that calls `_initialize` and the latter, reads standard input to its end, and calls the former. So
//! a run of it is one like any other: it can be recorded, replayed and debugged with nothing but the module and the input.
//!
//! ```text
//! memory before    | page for arguments | the input as it is read        ... | input |
//!                  ^ base               ^ base + 64 KiB                              ^ end of the memory
//! ```
//!
//! The input is moved to where it ends with the memory, so that reading beyond it traps unless the library has made its memory larger meanwhile. The
//! library's allocator, if there is one that is known by its name, is called before, because there are some that take all of the memory
//! for theirs when they are first called.

use crate::TransformError;
use crate::module::{Module, Signature};
use crate::names::function_names;
use crate::whole::joined;
use std::sync::Arc;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    BlockType, CodeSection, ElementSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction, MemArg, NameMap,
    NameSection, RawSection, StartSection, TableSection, TypeSection, ValType,
};
use wasmparser::{BinaryReader, ExternalKind, WasmFeatures};

/// The export that takes an input.
pub const TEST_ONE_INPUT: &str = "LLVMFuzzerTestOneInput";
/// The export that is called once before.
pub const FUZZER_INITIALIZE: &str = "LLVMFuzzerInitialize";
/// The exported global that holds what the former returned: -1 if the input is not to be kept.
pub const FUZZER_RESULT: &str = "wrr.fuzzer_result";

const WASM_PAGE_BYTES: u32 = 1 << 16;

/// Why a module is no target of this kind.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReactorError {
    /// It does not have the export.
    #[error("it has no export {TEST_ONE_INPUT}")]
    NoEntry,
    /// An export takes or gives something else.
    #[error("its export {name} is not {expected}")]
    Signature {
        /// The export.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It has no memory to put the input into.
    #[error("it has no memory of 32-bit addresses to put an input into")]
    NoMemory,
    /// Its memory has no room for an input.
    #[error(
        "its memory may have {pages_max} wasm pages at most, of which it starts with {pages}, and an input needs {needed} more; \
         build it with a larger maximum, or give a smaller --max-len"
    )]
    NoRoom {
        /// What it starts with.
        pages: u64,
        /// What it may have.
        pages_max: u64,
        /// What the input needs.
        needed: u64,
    },
    /// It cannot be read.
    #[error(transparent)]
    Transform(#[from] TransformError),
}

/// Whether a module has libFuzzer's interface.
#[must_use]
pub fn is_reactor(module: &[u8]) -> bool {
    exports_function(module, TEST_ONE_INPUT)
}

/// Whether a module has an export of this name that is a function.
#[must_use]
pub fn exports_function(module: &[u8], name: &str) -> bool {
    wasmparser::Parser::new(0).parse_all(module).flatten().any(|payload| match payload {
        wasmparser::Payload::ExportSection(exports) => exports
            .into_iter()
            .flatten()
            .any(|export| export.name == name && export.kind == ExternalKind::Func),
        _ => false,
    })
}

/// Moves the functions behind the imports, if there is one import more.
struct Moved {
    imported: u32,
    by: u32,
}

impl Reencode for Moved {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error<Self::Error>> {
        Ok(self.moved(function))
    }
}

impl Moved {
    fn moved(&self, function: u32) -> u32 {
        if function >= self.imported { function + self.by } else { function }
    }
}

fn reencoded(error: reencode::Error<std::convert::Infallible>) -> TransformError {
    match error {
        reencode::Error::ParseError(error) => error.into(),
        _ => TransformError::Unsupported { what: "a section" },
    }
}

/// What `_start` calls.
struct Calls {
    read: u32,
    initialize: Option<u32>,
    fuzzer_initialize: Option<u32>,
    test: u32,
    allocate: Option<u32>,
    result: u32,
}

/// The command that a library becomes. It takes inputs of up to `input_bytes_max` bytes; of a longer one it takes the beginning.
///
/// # Errors
/// [`ReactorError`].
pub fn command_of(
    module: Arc<[u8]>,
    features: WasmFeatures,
    input_bytes_max: u32,
) -> Result<Vec<u8>, ReactorError> {
    let module = Module::parse(module, features)?;
    module.command(input_bytes_max)
}

impl Module {
    fn exported(&self, name: &str) -> Option<u32> {
        let found = self
            .exports
            .iter()
            .find(|(export, kind, _)| export == name && *kind == ExternalKind::Func);
        found.map(|(.., function)| *function)
    }

    /// An export, which must take and give so many numbers of 32 bits.
    fn checked_export(
        &self,
        name: &'static str,
        (params, results): (usize, usize),
        expected: &'static str,
    ) -> Result<Option<u32>, ReactorError> {
        let Some(function) = self.exported(name) else { return Ok(None) };
        let numbers = |count| vec![ValType::I32; count];
        let signature = Signature { params: numbers(params), results: numbers(results) };
        match *self.signature(function) == signature {
            true => Ok(Some(function)),
            false => Err(ReactorError::Signature { name, expected }),
        }
    }

    /// What makes room in memory: an export or a function of that name.
    fn allocator(&self) -> Option<u32> {
        let takes_a_size = |function: &u32| {
            let signature = self.signature(*function);
            signature.params == [ValType::I32] && signature.results == [ValType::I32]
        };
        let named = || {
            let names = function_names(&self.bytes);
            let mut found: Vec<u32> = names
                .iter()
                .filter(|(_, name)| matches!(name.as_str(), "malloc" | "dlmalloc"))
                .map(|(function, _)| *function)
                .filter(|function| *function < self.function_count())
                .collect();
            found.sort_unstable();
            found.into_iter().find(takes_a_size)
        };
        self.exported("malloc").filter(takes_a_size).or_else(named)
    }

    fn imported_function(&self, module: &str, name: &str) -> Result<Option<u32>, TransformError> {
        let Some(range) = self.sections.imports.clone() else { return Ok(None) };
        let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
        let mut index = 0;
        for import in wasmparser::ImportSectionReader::new(reader)?.into_imports() {
            let import = import?;
            if matches!(import.ty, wasmparser::TypeRef::Func(_) | wasmparser::TypeRef::FuncExact(_))
            {
                if (import.module, import.name) == (module, name) {
                    return Ok(Some(index));
                }
                index += 1;
            }
        }
        Ok(None)
    }

    fn command(&self, input_bytes_max: u32) -> Result<Vec<u8>, ReactorError> {
        const PREVIEW1: &str = "wasi_snapshot_preview1";
        let takes_two = "a function that takes two numbers of 32 bits and gives one";
        let test =
            self.checked_export(TEST_ONE_INPUT, (2, 1), takes_two)?.ok_or(ReactorError::NoEntry)?;
        let fuzzer_initialize = self.checked_export(FUZZER_INITIALIZE, (2, 1), takes_two)?;
        let takes_none = "a function that takes and gives nothing";
        let initialize = self.checked_export("_initialize", (0, 0), takes_none)?;
        if self.memory_is_64.first() != Some(&false) {
            return Err(ReactorError::NoMemory);
        }
        if let Some((pages, Some(pages_max))) = self.first_memory()? {
            let needed = u64::from(input_pages(input_bytes_max));
            if pages + needed > pages_max {
                return Err(ReactorError::NoRoom { pages, pages_max, needed });
            }
        }
        let read = self.imported_function(PREVIEW1, "fd_read")?;
        let mut moved = Moved { imported: self.imported_functions, by: u32::from(read.is_none()) };
        let at = |function: u32| moved.moved(function);
        let calls = Calls {
            read: read.unwrap_or(self.imported_functions),
            initialize: initialize.map(at),
            fuzzer_initialize: fuzzer_initialize.map(at),
            test: at(test),
            allocate: self.allocator().map(at),
            result: self.globals.len() as u32,
        };
        let start = self.functions.len() as u32 + moved.by;

        let mut out = wasm_encoder::Module::new();
        let section = |range: &Option<std::ops::Range<usize>>| {
            range.as_ref().map(|range| &self.bytes[range.clone()])
        };
        let raw = |out: &mut wasm_encoder::Module, id, data: &[u8]| {
            out.section(&RawSection { id, data });
        };
        let mut types = TypeSection::new();
        let read_type = self.types.len() as u32;
        types.ty().function([ValType::I32; 4], [ValType::I32]);
        types.ty().function([], []);
        raw(&mut out, 1, &joined(section(&self.sections.types), 2, &types, 1));
        let mut imports = ImportSection::new();
        if read.is_none() {
            imports.import(PREVIEW1, "fd_read", EntityType::Function(read_type));
        }
        if self.sections.imports.is_some() || !imports.is_empty() {
            let data = joined(section(&self.sections.imports), moved.by, &imports, 2);
            raw(&mut out, 2, &data);
        }
        let mut functions = FunctionSection::new();
        functions.function(read_type + 1);
        raw(&mut out, 3, &joined(section(&self.sections.functions), 1, &functions, 3));
        let reader = |range: &std::ops::Range<usize>| {
            BinaryReader::new(&self.bytes[range.clone()], range.start)
        };
        if let Some(range) = &self.sections.tables {
            let mut tables = TableSection::new();
            let section =
                wasmparser::TableSectionReader::new(reader(range)).map_err(TransformError::from)?;
            moved.parse_table_section(&mut tables, section).map_err(reencoded)?;
            out.section(&tables);
        }
        if let Some(memories) = section(&self.sections.memories) {
            raw(&mut out, 5, memories);
        }
        if let Some(tags) = section(&self.sections.tags) {
            raw(&mut out, 13, tags);
        }
        let mut globals = GlobalSection::new();
        if let Some(range) = &self.sections.globals {
            let section = wasmparser::GlobalSectionReader::new(reader(range))
                .map_err(TransformError::from)?;
            moved.parse_global_section(&mut globals, section).map_err(reencoded)?;
        }
        let result = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(result, &wasm_encoder::ConstExpr::i32_const(0));
        out.section(&globals);
        out.section(&self.command_exports(&mut moved, start, calls.result)?);
        if let Some(function) = self.start {
            out.section(&StartSection { function_index: moved.moved(function) });
        }
        if let Some(range) = &self.sections.elements {
            let mut elements = ElementSection::new();
            let section = wasmparser::ElementSectionReader::new(reader(range))
                .map_err(TransformError::from)?;
            moved.parse_element_section(&mut elements, section).map_err(reencoded)?;
            out.section(&elements);
        }
        let data = self.data_segment_count()?;
        if let Some(count) = data {
            out.section(&wasm_encoder::DataCountSection { count });
        }
        let mut code = CodeSection::new();
        for index in 0..self.bodies.len() as u32 {
            let body = self.body(self.imported_functions + index)?;
            if moved.by == 0 {
                code.raw(body.as_bytes());
            } else {
                moved.parse_function_body(&mut code, body).map_err(reencoded)?;
            }
        }
        code.function(&start_body(&calls, input_bytes_max));
        out.section(&code);
        if let Some(data) = section(&self.sections.data) {
            raw(&mut out, 11, data);
        }
        let mut named: Vec<(u32, String)> = function_names(&self.bytes).into_iter().collect();
        named.retain(|(function, _)| *function < self.function_count());
        named.sort_unstable();
        let mut names = NameMap::new();
        for (function, name) in &named {
            names.append(moved.moved(*function), name);
        }
        names.append(start, "_start");
        let mut section = NameSection::new();
        section.functions(&names);
        out.section(&section);
        Ok(out.finish())
    }

    /// The least and the most pages of the first memory, if it is the module's own.
    fn first_memory(&self) -> Result<Option<(u64, Option<u64>)>, TransformError> {
        let Some(range) = self.sections.memories.clone() else { return Ok(None) };
        let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
        let memory =
            wasmparser::MemorySectionReader::new(reader)?.into_iter().next().transpose()?;
        Ok(memory.map(|memory| (memory.initial, memory.maximum)))
    }

    fn data_segment_count(&self) -> Result<Option<u32>, TransformError> {
        let Some(range) = self.sections.data.clone() else { return Ok(None) };
        let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
        Ok(Some(wasmparser::DataSectionReader::new(reader)?.count()))
    }

    fn command_exports(
        &self,
        moved: &mut Moved,
        start: u32,
        result: u32,
    ) -> Result<ExportSection, TransformError> {
        let mut exports = ExportSection::new();
        let mut has_memory = false;
        for (name, kind, index) in &self.exports {
            // The new one takes the place of what it calls.
            if matches!(name.as_str(), "_start" | "_initialize" | FUZZER_RESULT) {
                continue;
            }
            has_memory |= name == "memory";
            let (kind, index) = match kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    (ExportKind::Func, moved.moved(*index))
                }
                ExternalKind::Table => (ExportKind::Table, *index),
                ExternalKind::Memory => (ExportKind::Memory, *index),
                ExternalKind::Global => (ExportKind::Global, *index),
                ExternalKind::Tag => (ExportKind::Tag, *index),
            };
            exports.export(name, kind, index);
        }
        if !has_memory {
            exports.export("memory", ExportKind::Memory, 0);
        }
        exports.export("_start", ExportKind::Func, start);
        exports.export(FUZZER_RESULT, ExportKind::Global, result);
        Ok(exports)
    }
}

/// Addresses behind the base.
const ARGC: u32 = 0;
const ARGV: u32 = 4;
const ARGUMENTS: u32 = 8;
const NAME: u32 = 16;
const IOVEC: u32 = 32;
const READ_BYTES: u32 = 40;
const INPUT: u32 = WASM_PAGE_BYTES;

/// A page for arguments, and those for an input.
fn input_pages(input_bytes_max: u32) -> u32 {
    1 + input_bytes_max.div_ceil(WASM_PAGE_BYTES).max(1)
}

fn start_body(calls: &Calls, input_bytes_max: u32) -> Function {
    use Instruction as I;
    const BASE: u32 = 0;
    const LEN: u32 = 1;
    const END: u32 = 2;
    let mut body = Function::new([(3, ValType::I32)]);
    let at = |offset: u32| MemArg { offset: u64::from(offset), align: 2, memory_index: 0 };
    let pages = input_pages(input_bytes_max);
    let mut put = |instructions: &[I<'_>]| {
        for instruction in instructions {
            body.instruction(instruction);
        }
    };
    if let Some(initialize) = calls.initialize {
        put(&[I::Call(initialize)]);
    }
    if let Some(allocate) = calls.allocate {
        put(&[I::I32Const(1), I::Call(allocate), I::Drop]);
    }
    put(&[
        I::I32Const(pages as i32),
        I::MemoryGrow(0),
        I::LocalTee(BASE),
        I::I32Const(-1),
        I::I32Eq,
        I::If(BlockType::Empty),
        I::Unreachable,
        I::End,
        I::LocalGet(BASE),
        I::I32Const(16),
        I::I32Shl,
        I::LocalTee(BASE),
        I::I32Const((pages * WASM_PAGE_BYTES) as i32),
        I::I32Add,
        I::LocalSet(END),
    ]);
    let pointer = |into: u32, to: u32| {
        [
            I::LocalGet(BASE),
            I::LocalGet(BASE),
            I::I32Const(to as i32),
            I::I32Add,
            I::I32Store(at(into)),
        ]
    };
    if let Some(initialize) = calls.fuzzer_initialize {
        put(&[I::LocalGet(BASE), I::I32Const(1), I::I32Store(at(ARGC))]);
        put(&pointer(ARGV, ARGUMENTS));
        put(&pointer(ARGUMENTS, NAME));
        put(&[I::LocalGet(BASE), I::I32Const(i32::from_le_bytes(*b"fuzz")), I::I32Store(at(NAME))]);
        put(&[I::LocalGet(BASE), I::LocalGet(BASE), I::I32Const(ARGV as i32), I::I32Add]);
        put(&[I::Call(initialize), I::Drop]);
    }
    put(&[
        I::Loop(BlockType::Empty),
        I::LocalGet(BASE),
        I::LocalGet(BASE),
        I::I32Const(INPUT as i32),
        I::I32Add,
        I::LocalGet(LEN),
        I::I32Add,
        I::I32Store(at(IOVEC)),
        I::LocalGet(BASE),
        I::I32Const(input_bytes_max as i32),
        I::LocalGet(LEN),
        I::I32Sub,
        I::I32Store(at(IOVEC + 4)),
        I::I32Const(0),
        I::LocalGet(BASE),
        I::I32Const(IOVEC as i32),
        I::I32Add,
        I::I32Const(1),
        I::LocalGet(BASE),
        I::I32Const(READ_BYTES as i32),
        I::I32Add,
        I::Call(calls.read),
        I::If(BlockType::Empty),
        I::Unreachable,
        I::End,
        I::LocalGet(LEN),
        I::LocalGet(BASE),
        I::I32Load(at(READ_BYTES)),
        I::I32Add,
        I::LocalSet(LEN),
        // Again, unless that was the end or all that there is room for.
        I::LocalGet(BASE),
        I::I32Load(at(READ_BYTES)),
        I::I32Const(0),
        I::I32Ne,
        I::LocalGet(LEN),
        I::I32Const(input_bytes_max as i32),
        I::I32LtU,
        I::I32And,
        I::BrIf(0),
        I::End,
        I::LocalGet(END),
        I::LocalGet(LEN),
        I::I32Sub,
        I::LocalTee(END),
        I::LocalGet(BASE),
        I::I32Const(INPUT as i32),
        I::I32Add,
        I::LocalGet(LEN),
        I::MemoryCopy { src_mem: 0, dst_mem: 0 },
        I::LocalGet(END),
        I::LocalGet(LEN),
        I::Call(calls.test),
        I::GlobalSet(calls.result),
        I::End,
    ]);
    body
}
