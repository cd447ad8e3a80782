//! Puts the transformed module together.
//!
//! ```text
//! types, imports       the original's, and the host's five functions behind the other imports
//! functions            the original's, then the helpers
//! tables               the original's, the continuations' slots, saved references by type
//! memories             the original's, the stack of saved frames, counters of decisions
//! globals              the original's, state, left, sp, room, looking, which segments were dropped, counts of saved references
//! exports              the original's, and everything that continuations and the host need
//! ```
//!
//! The start function becomes an export: the host calls it. Custom sections are left out; names are looked up in
//! the original. Indices of types, tables, memories, globals and tags stay; functions behind the imports move by five.

use crate::FrameLayout;
use crate::emit::{
    Added, Checks as _, Code, Feedback, Form, Helper, Links, STACK_BYTES_MIN, append_body, emit,
    nullable, runs_of,
};
use crate::helper::{helper_name, helper_signature, type_name};
use crate::imports::{
    HOST_FUNCTIONS, access_signature, compare_signature, look_signature, trap_signature,
};
use crate::module::{Module, Signature};
use crate::pc::OffsetMap;
use crate::plan::Plan;
use crate::reach::Capturable;
use crate::{TransformError, Transformed, Variant};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    AbstractHeapType, BlockType, Catch, CodeSection, ConstExpr, DataCountSection, DataSection,
    ElementSection, Elements, Encode as _, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, HeapType, ImportSection, Instruction, MemorySection, MemoryType,
    RawSection, RefType, TableSection, TableType, TagKind, TagSection, TagType, TypeSection,
    ValType,
};
use wasmparser::BinaryReader;

const ADDED_IMPORTS: u32 = HOST_FUNCTIONS.len() as u32;

/// Moves function indices for the imports that are added.
struct Shift {
    imported: u32,
}

impl Shift {
    fn function(&self, original: u32) -> u32 {
        if original >= self.imported { original + ADDED_IMPORTS } else { original }
    }
}

impl Reencode for Shift {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, func: u32) -> Result<u32, reencode::Error<Self::Error>> {
        Ok(self.function(func))
    }
}

fn reencoded(error: reencode::Error<std::convert::Infallible>) -> TransformError {
    match error {
        reencode::Error::ParseError(error) => error.into(),
        _ => TransformError::Unsupported { what: "a section" },
    }
}

/// Names in the main module.
struct MainLinks<'a> {
    shift: Shift,
    poll: u32,
    helpers: &'a BTreeMap<Helper, u32>,
    /// Whether an unknown helper was named.
    missed: bool,
}

impl Links for MainLinks<'_> {
    fn function(&mut self, original: u32) -> u32 {
        self.shift.function(original)
    }
    fn helper(&mut self, helper: Helper) -> u32 {
        self.helpers.get(&helper).copied().unwrap_or_else(|| {
            // The index of these is padded, so its value does not matter to an offset map.
            self.missed |= !matches!(helper, Helper::Header | Helper::Numbers(..));
            0
        })
    }
    fn poll(&mut self) -> u32 {
        self.poll
    }
    fn trap(&mut self) -> u32 {
        self.poll + 1
    }
    fn look(&mut self) -> u32 {
        self.poll + 2
    }
    fn access(&mut self) -> u32 {
        self.poll + 3
    }
    fn compare(&mut self) -> u32 {
        self.poll + 4
    }
    fn loop_entry(&mut self, _block: u32) -> u32 {
        unreachable!("a whole function hands nothing over")
    }
    fn block_type(&mut self, results: &[ValType]) -> BlockType {
        match results {
            [] => BlockType::Empty,
            [one] => BlockType::Result(*one),
            _ => unreachable!("a whole function keeps its blocks"),
        }
    }
    fn continuation_type(&mut self, _results: &[ValType]) -> u32 {
        unreachable!("a whole function calls no continuation")
    }
    fn is_main(&self) -> bool {
        true
    }
}

/// Where the parts of the state are that the helpers keep.
struct Kept {
    dropped_data: BTreeMap<u32, u32>,
    dropped_elements: BTreeMap<u32, u32>,
    /// By nullable type: the table, the count, the cursor.
    references: BTreeMap<RefType, (u32, u32, u32)>,
    globals: Vec<(String, ValType)>,
}

impl Module {
    /// Writes a variant of the module.
    ///
    /// # Errors
    /// [`TransformError`]: a body that does not validate, something that wrr does not run.
    pub fn transform(&self, variant: Variant) -> Result<Transformed, TransformError> {
        let scan = self.scan()?;
        let capturable = match variant {
            Variant::Run => self.reaching(&scan),
            Variant::Counted => self.reaching(&scan).counting_stack(),
            Variant::Inspect => Capturable::all(self).looked_at(),
            Variant::Search => self.reaching(&scan).looked_at_passages(),
            Variant::Accesses => Capturable::telling_accesses(self),
            Variant::Covered => {
                self.reaching(&scan).counting_stack().with_feedback(Feedback::Outcomes)
            }
            Variant::Compares => {
                self.reaching(&scan).counting_stack().with_feedback(Feedback::Compares)
            }
        };
        let plans: Vec<Plan> = (0..self.bodies.len() as u32)
            .into_par_iter()
            .map(|defined| self.plan(self.imported_functions + defined))
            .collect::<Result<_, _>>()?;
        let mut helpers: BTreeSet<Helper> = scan.helpers;
        let segments = self.data_segments()?;
        if segments.iter().any(|segment| segment.active.is_some()) {
            helpers.insert(Helper::Data);
        }
        for plan in &plans {
            capture_helpers(plan, &mut helpers);
        }
        let shift = Shift { imported: self.imported_functions };
        let functions = self.functions.len() as u32 + ADDED_IMPORTS;
        let helpers: BTreeMap<Helper, u32> = helpers.into_iter().zip(functions..).collect();
        let mut dummies = Dummies::default();
        let first_dummy = functions + helpers.len() as u32;
        let kept = self.kept(&helpers);
        let codes: Vec<Code> = plans
            .par_iter()
            .map(|plan| {
                let mut links = self.main_links(&helpers);
                let code = emit(self, plan, &mut links, &capturable, Form::Whole);
                debug_assert!(!links.missed);
                code
            })
            .collect::<Result<_, _>>()?;
        let layouts =
            plans.par_iter().map(|plan| FrameLayout::to_bytes(&FrameLayout::of(plan))).collect();
        drop(plans);

        let mut types = TypeSection::new();
        let mut type_count = self.types.len() as u32;
        let mut add_type = |signature: &Signature| {
            types
                .ty()
                .function(signature.params.iter().copied(), signature.results.iter().copied());
            type_count += 1;
            type_count - 1
        };
        let poll_type = add_type(&Signature::default());
        let trap_type = add_type(&trap_signature());
        let look_type = add_type(&look_signature());
        let access_type = add_type(&access_signature());
        let compare_type = add_type(&compare_signature());
        let helper_types: Vec<u32> =
            helpers.keys().map(|&h| add_type(&helper_signature(self, h))).collect();
        let mut helper_bodies = Vec::new();
        for &helper in helpers.keys() {
            helper_bodies.push(match helper {
                Helper::Data => data_body(&segments),
                Helper::Header => append_body(Added::to(self), ValType::I32, 2),
                Helper::Numbers(ty, count) => append_body(Added::to(self), ty, count),
                helper => self.helper_body(helper, &kept, &mut dummies, first_dummy),
            });
        }

        let mut out = wasm_encoder::Module::new();
        out.section(&RawSection {
            id: 1,
            data: &joined(self.section(&self.sections.types), types.len(), &types, 1),
        });
        let mut imports = ImportSection::new();
        for (host, ty) in HOST_FUNCTIONS.into_iter().zip([
            poll_type,
            trap_type,
            look_type,
            access_type,
            compare_type,
        ]) {
            let ty = wasm_encoder::EntityType::Function(ty);
            imports.import(host.0, &self.host_function(host), ty);
        }
        out.section(&RawSection {
            id: 2,
            data: &joined(self.section(&self.sections.imports), ADDED_IMPORTS, &imports, 2),
        });
        let mut more = FunctionSection::new();
        for ty in helper_types.iter().chain(&dummies.types) {
            more.function(*ty);
        }
        let data = joined(self.section(&self.sections.functions), more.len(), &more, 3);
        out.section(&RawSection { id: 3, data: &data });
        out.section(&self.table_section(&kept)?);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: u64::from(STACK_BYTES_MIN >> 16),
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let counts = capturable.feedback() == Some(Feedback::Outcomes);
        if counts {
            let pages = u64::from(self.counter_count()?).div_ceil(1 << 16);
            memories.memory(MemoryType {
                minimum: pages,
                maximum: Some(pages),
                memory64: false,
                shared: false,
                page_size_log2: None,
            });
        }
        let data = joined(self.section(&self.sections.memories), memories.len(), &memories, 5);
        out.section(&RawSection { id: 5, data: &data });
        let mut tags = TagSection::new();
        if helpers.keys().any(|helper| matches!(helper, Helper::Zero(ty) if is_exception(*ty))) {
            tags.tag(TagType { kind: TagKind::Exception, func_type_idx: poll_type });
        }
        if self.sections.tags.is_some() || !tags.is_empty() {
            let data = joined(self.section(&self.sections.tags), tags.len(), &tags, 13);
            out.section(&RawSection { id: 13, data: &data });
        }
        out.section(&self.global_section(&kept)?);
        out.section(&self.export_section(&helpers, &kept, counts)?);
        let elements = self.element_section(&kept, &dummies, first_dummy)?;
        if !elements.is_empty() {
            out.section(&elements);
        }
        if !segments.is_empty() {
            out.section(&DataCountSection { count: segments.len() as u32 });
        }

        let mut code = CodeSection::new();
        let mut hints: Vec<(u32, Vec<(u32, bool)>)> = Vec::new();
        for (index, body) in codes.iter().enumerate() {
            let function = self.imported_functions + index as u32;
            let mut bytes = locals_declaration(&body.locals);
            let start = bytes.len() as u32;
            bytes.extend_from_slice(&body.bytes);
            let own: Vec<_> = body.hints.iter().map(|&(at, taken)| (at + start, taken)).collect();
            code.raw(&bytes);
            if !own.is_empty() {
                hints.push((shift.function(function), own));
            }
        }
        for body in &helper_bodies {
            code.function(body);
        }
        for _ in &dummies.types {
            let mut body = Function::new([]);
            body.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
            code.function(&body);
        }
        hints_section(&mut out, &hints);
        out.section(&code);
        if !segments.is_empty() {
            let mut data = DataSection::new();
            for segment in &segments {
                data.passive(segment.bytes.iter().copied());
            }
            out.section(&data);
        }
        let tables_change = scan.tables_change;
        Ok(Transformed { wasm: out.finish(), capturable, tables_change, layouts })
    }

    fn data_segments(&self) -> Result<Vec<DataSegment<'_>>, TransformError> {
        let Some(range) = self.sections.data.clone() else { return Ok(Vec::new()) };
        let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
        let mut segments = Vec::new();
        for data in wasmparser::DataSectionReader::new(reader)? {
            let data = data?;
            let active = match data.kind {
                wasmparser::DataKind::Passive => None,
                wasmparser::DataKind::Active { memory_index, offset_expr } => {
                    let mut expression = offset_expr.get_binary_reader();
                    let bytes = expression.read_bytes(expression.bytes_remaining())?;
                    // Without its `end`. It names globals only, whose indices stay.
                    let (_, offset) = bytes.split_last().ok_or(TransformError::Unsupported {
                        what: "an offset without an expression",
                    })?;
                    Some((memory_index, offset))
                }
            };
            segments.push(DataSegment { active, bytes: data.data });
        }
        Ok(segments)
    }

    fn section(&self, range: &Option<std::ops::Range<usize>>) -> Option<&[u8]> {
        range.as_ref().map(|range| &self.bytes[range.clone()])
    }

    /// Where the code of a whole function comes from: offsets from the start of its body.
    ///
    /// # Errors
    /// As [`Module::transform`], for this function.
    pub fn function_map(
        &self,
        function: u32,
        capturable: &Capturable,
    ) -> Result<OffsetMap, TransformError> {
        let plan = self.plan(function)?;
        let none = BTreeMap::new();
        let mut links = self.main_links(&none);
        let mut code = emit(self, &plan, &mut links, capturable, Form::Whole)?;
        if links.missed {
            // Which index a helper has does not matter here, but how many bytes it takes does.
            let mut helpers: BTreeSet<Helper> = self.scan()?.helpers;
            for defined in 0..self.bodies.len() as u32 {
                capture_helpers(&self.plan(self.imported_functions + defined)?, &mut helpers);
            }
            let first = self.functions.len() as u32 + ADDED_IMPORTS;
            let indices = helpers.into_iter().zip(first..).collect();
            code = emit(self, &plan, &mut self.main_links(&indices), capturable, Form::Whole)?;
        }
        Ok(OffsetMap::of(&code, self.body_start(function)))
    }

    /// Which function of the original a function of a variant is; `None` for one that was added.
    #[must_use]
    pub fn original_function(&self, transformed: u32) -> Option<u32> {
        let original = if transformed < self.imported_functions {
            transformed
        } else {
            transformed.checked_sub(ADDED_IMPORTS).filter(|&f| f >= self.imported_functions)?
        };
        (original < self.function_count()).then_some(original)
    }

    /// The name that a function of the host is imported by.
    pub(crate) fn host_function(&self, host: (&str, &str)) -> String {
        format!("{}{}", &self.prefix[4..], host.1)
    }

    fn main_links<'a>(&self, helpers: &'a BTreeMap<Helper, u32>) -> MainLinks<'a> {
        MainLinks {
            shift: Shift { imported: self.imported_functions },
            poll: self.imported_functions,
            helpers,
            missed: false,
        }
    }

    fn kept(&self, helpers: &BTreeMap<Helper, u32>) -> Kept {
        let mut kept = Kept {
            dropped_data: BTreeMap::new(),
            dropped_elements: BTreeMap::new(),
            references: BTreeMap::new(),
            globals: Vec::new(),
        };
        let first = Added::to(self).looking + 1;
        let mut tables = Added::to(self).continuations + 1;
        for &helper in helpers.keys() {
            let next = first + kept.globals.len() as u32;
            match helper {
                Helper::DropData(segment) => {
                    kept.dropped_data.insert(segment, next);
                    kept.globals.push((format!("dropped_data.{segment}"), ValType::I32));
                }
                Helper::DropElements(segment) => {
                    kept.dropped_elements.insert(segment, next);
                    kept.globals.push((format!("dropped_elements.{segment}"), ValType::I32));
                }
                Helper::Save(ty) => {
                    kept.references.insert(ty, (tables, next, next + 1));
                    tables += 1;
                    let name = type_name(ty);
                    kept.globals.push((format!("saved_count.{name}"), ValType::I32));
                    kept.globals.push((format!("saved_next.{name}"), ValType::I32));
                }
                _ => {}
            }
        }
        kept
    }

    fn table_section(&self, kept: &Kept) -> Result<TableSection, TransformError> {
        let mut tables = TableSection::new();
        if let Some(range) = self.sections.tables.clone() {
            let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
            let reader = wasmparser::TableSectionReader::new(reader)?;
            Shift { imported: self.imported_functions }
                .parse_table_section(&mut tables, reader)
                .map_err(reencoded)?;
        }
        let table = |element_type: RefType| TableType {
            element_type,
            table64: false,
            minimum: 0,
            maximum: None,
            shared: false,
        };
        tables.table(table(RefType::FUNCREF));
        for &ty in kept.references.keys() {
            tables.table(table(ty));
        }
        // Everything that a reference can be made to, so that the host can tell which one it is.
        let count = self.referenceable.len() as u64;
        tables.table(TableType { minimum: count, ..table(RefType::FUNCREF) });
        Ok(tables)
    }

    /// The table of everything that a reference can be made to.
    fn functions_table(&self, kept: &Kept) -> u32 {
        Added::to(self).continuations + 1 + kept.references.len() as u32
    }

    fn global_section(&self, kept: &Kept) -> Result<GlobalSection, TransformError> {
        let mut globals = GlobalSection::new();
        if let Some(range) = self.sections.globals.clone() {
            let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
            let reader = wasmparser::GlobalSectionReader::new(reader)?;
            Shift { imported: self.imported_functions }
                .parse_global_section(&mut globals, reader)
                .map_err(reencoded)?;
        }
        let mut add = |val_type: ValType, init: &ConstExpr| {
            globals.global(GlobalType { val_type, mutable: true, shared: false }, init);
        };
        add(ValType::I32, &ConstExpr::i32_const(0));
        add(ValType::I64, &ConstExpr::i64_const(i64::MAX));
        add(ValType::I32, &ConstExpr::i32_const(0));
        add(ValType::I32, &ConstExpr::i32_const(i32::MAX));
        add(ValType::I32, &ConstExpr::i32_const(0));
        for (_, ty) in &kept.globals {
            add(*ty, &ConstExpr::i32_const(0));
        }
        Ok(globals)
    }

    fn export_section(
        &self,
        helpers: &BTreeMap<Helper, u32>,
        kept: &Kept,
        counts: bool,
    ) -> Result<ExportSection, TransformError> {
        let mut exports = ExportSection::new();
        let shift = Shift { imported: self.imported_functions };
        let added = Added::to(self);
        let mut add = |name: String, kind, index| {
            exports.export(&format!("{}{name}", self.prefix), kind, index);
        };
        // What is no function comes first: whenever an instruction names a memory, a table or a global, the engine looks through the exports for it.
        for table in 0..self.tables.len() as u32 {
            add(format!("t{table}"), ExportKind::Table, table);
        }
        for memory in 0..self.memory_is_64.len() as u32 {
            add(format!("m{memory}"), ExportKind::Memory, memory);
        }
        for global in 0..self.globals.len() as u32 {
            add(format!("g{global}"), ExportKind::Global, global);
        }
        for tag in 0..self.tags.len() as u32 {
            add(format!("e{tag}"), ExportKind::Tag, tag);
        }
        add("state".to_owned(), ExportKind::Global, added.state);
        add("left".to_owned(), ExportKind::Global, added.left);
        add("sp".to_owned(), ExportKind::Global, added.sp);
        add("room".to_owned(), ExportKind::Global, added.room);
        add("looking".to_owned(), ExportKind::Global, added.looking);
        add("stack".to_owned(), ExportKind::Memory, added.stack);
        if counts {
            add("counts".to_owned(), ExportKind::Memory, added.counts);
        }
        add("continuations".to_owned(), ExportKind::Table, added.continuations);
        add("functions".to_owned(), ExportKind::Table, self.functions_table(kept));
        for (index, (name, _)) in kept.globals.iter().enumerate() {
            add(name.clone(), ExportKind::Global, added.looking + 1 + index as u32);
        }
        for (ty, (table, ..)) in &kept.references {
            add(format!("saved.{}", type_name(*ty)), ExportKind::Table, *table);
        }
        if let Some(range) = self.sections.exports.clone() {
            let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
            let reader = wasmparser::ExportSectionReader::new(reader)?;
            Shift { imported: self.imported_functions }
                .parse_export_section(&mut exports, reader)
                .map_err(reencoded)?;
        }
        let mut add = |name: String, index| {
            exports.export(&format!("{}{name}", self.prefix), ExportKind::Func, index);
        };
        for function in 0..self.functions.len() as u32 {
            add(format!("f{function}"), shift.function(function));
        }
        for (helper, index) in helpers {
            add(helper_name(*helper), *index);
        }
        Ok(exports)
    }

    fn element_section(
        &self,
        kept: &Kept,
        dummies: &Dummies,
        first_dummy: u32,
    ) -> Result<ElementSection, TransformError> {
        let mut elements = ElementSection::new();
        if let Some(range) = self.sections.elements.clone() {
            let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
            let reader = wasmparser::ElementSectionReader::new(reader)?;
            Shift { imported: self.imported_functions }
                .parse_element_section(&mut elements, reader)
                .map_err(reencoded)?;
        }
        if !self.referenceable.is_empty() {
            let shift = Shift { imported: self.imported_functions };
            let all: Vec<u32> = self.referenceable.iter().map(|&f| shift.function(f)).collect();
            let table = Some(self.functions_table(kept));
            elements.active(table, &ConstExpr::i32_const(0), Elements::Functions(all.into()));
        }
        if !dummies.types.is_empty() {
            let all: Vec<u32> = (first_dummy..).take(dummies.types.len()).collect();
            elements.declared(Elements::Functions(all.into()));
        }
        Ok(elements)
    }

    fn helper_body(
        &self,
        helper: Helper,
        kept: &Kept,
        dummies: &mut Dummies,
        first_dummy: u32,
    ) -> Function {
        use Instruction as I;
        let shift = Shift { imported: self.imported_functions };
        let mut body = Function::new([]);
        let mut put = |instruction: I<'_>| {
            body.instruction(&instruction);
        };
        match helper {
            Helper::DropData(segment) => {
                put(I::I32Const(1));
                put(I::GlobalSet(kept.dropped_data[&segment]));
                put(I::DataDrop(segment));
            }
            Helper::DropElements(segment) => {
                put(I::I32Const(1));
                put(I::GlobalSet(kept.dropped_elements[&segment]));
                put(I::ElemDrop(segment));
            }
            Helper::InitMemory { segment, memory } => {
                (0..3).for_each(|param| put(I::LocalGet(param)));
                put(I::MemoryInit { mem: memory, data_index: segment });
            }
            Helper::InitTable { segment, table } => {
                (0..3).for_each(|param| put(I::LocalGet(param)));
                put(I::TableInit { elem_index: segment, table });
            }
            Helper::Reference(function) => put(I::RefFunc(shift.function(function))),
            Helper::Save(ty) => {
                let (table, count, _) = kept.references[&ty];
                // Grow when it is full; a failure shows as an access out of bounds in the next line.
                put(I::GlobalGet(count));
                put(I::TableSize(table));
                put(I::I32GeU);
                put(I::If(BlockType::Empty));
                put(I::RefNull(ty.heap_type));
                put(I::GlobalGet(count));
                put(I::I32Const(64));
                put(I::I32Add);
                put(I::TableGrow(table));
                put(I::Drop);
                put(I::End);
                put(I::GlobalGet(count));
                put(I::LocalGet(0));
                put(I::TableSet(table));
                put(I::GlobalGet(count));
                put(I::I32Const(1));
                put(I::I32Add);
                put(I::GlobalSet(count));
            }
            Helper::Load(ty) => {
                let (table, _, next) = kept.references[&ty];
                put(I::GlobalGet(next));
                put(I::TableGet(table));
                put(I::GlobalGet(next));
                put(I::I32Const(1));
                put(I::I32Add);
                put(I::GlobalSet(next));
            }
            Helper::Data | Helper::Header | Helper::Numbers(..) => {
                unreachable!("it has a body of its own")
            }
            Helper::Zero(ty) => match ty.heap_type {
                HeapType::Concrete(index) => {
                    put(I::RefFunc(first_dummy + dummies.of_type(index)));
                }
                HeapType::Abstract { ty: AbstractHeapType::Func, .. } if !self.types.is_empty() => {
                    put(I::RefFunc(first_dummy + dummies.of_type(0)));
                }
                _ if is_exception(ty) => {
                    put(I::Block(BlockType::Result(ValType::Ref(ty))));
                    put(I::TryTable(BlockType::Empty, vec![Catch::AllRef { label: 0 }].into()));
                    put(I::Throw(self.tags.len() as u32));
                    put(I::End);
                    put(I::Unreachable);
                    put(I::End);
                }
                // No host function of preview1 makes such a value, so a function of this type never returns.
                _ => put(I::Unreachable),
            },
        }
        put(I::End);
        body
    }
}

/// A data segment of the original.
struct DataSegment<'a> {
    /// The memory, and the offset's expression without its end.
    active: Option<(u32, &'a [u8])>,
    bytes: &'a [u8],
}

/// The body of [`Helper::Data`].
fn data_body(segments: &[DataSegment<'_>]) -> Function {
    let mut body = Function::new([]);
    let active = || {
        (0..).zip(segments).filter_map(|(index, segment)| Some((index, segment.active?, segment)))
    };
    body.instruction(&Instruction::LocalGet(0));
    body.instruction(&Instruction::If(BlockType::Empty));
    for (data_index, (mem, offset), segment) in active() {
        body.raw(offset.iter().copied());
        body.instruction(&Instruction::I32Const(0));
        body.instruction(&Instruction::I32Const(segment.bytes.len() as u32 as i32));
        body.instruction(&Instruction::MemoryInit { mem, data_index });
    }
    body.instruction(&Instruction::End);
    for (data_index, ..) in active() {
        body.instruction(&Instruction::DataDrop(data_index));
    }
    body.instruction(&Instruction::End);
    body
}

fn is_exception(ty: RefType) -> bool {
    matches!(ty.heap_type, HeapType::Abstract { ty: AbstractHeapType::Exn, .. })
}

/// Functions that exist to be referred to.
#[derive(Default)]
struct Dummies {
    types: Vec<u32>,
}

impl Dummies {
    fn of_type(&mut self, ty: u32) -> u32 {
        let known = self.types.iter().position(|&t| t == ty);
        known.unwrap_or_else(|| {
            self.types.push(ty);
            self.types.len() - 1
        }) as u32
    }
}

/// The helpers that captures of a function need.
fn capture_helpers(plan: &Plan, helpers: &mut BTreeSet<Helper>) {
    let mut saved = Vec::new();
    for site in &plan.sites {
        helpers.insert(Helper::Header);
        saved.clear();
        saved.extend(plan.saved(site));
        for (ty, run) in runs_of(&saved) {
            match ty {
                ValType::Ref(ty) => {
                    helpers.insert(Helper::Save(nullable(ty)));
                    helpers.insert(Helper::Load(nullable(ty)));
                }
                ty => drop(helpers.insert(Helper::Numbers(ty, run.len() as u32))),
            }
        }
    }
    for ty in &plan.signature.results {
        if let ValType::Ref(ty) = ty
            && !ty.nullable
        {
            helpers.insert(Helper::Zero(*ty));
        }
    }
}

/// A section's payload with more entries behind those that it has.
pub(crate) fn joined(
    original: Option<&[u8]>,
    more: u32,
    added: &impl wasm_encoder::Encode,
    _id: u8,
) -> Vec<u8> {
    let mut encoded = Vec::new();
    added.encode(&mut encoded);
    // The encoded form is the section's size, the count, the entries.
    let mut reader = BinaryReader::new(&encoded, 0);
    let parse = "the encoder wrote a section";
    reader.read_var_u32().expect(parse);
    reader.read_var_u32().expect(parse);
    let entries = &encoded[reader.original_position()..];
    let (count, rest) = match original {
        None => (0, &[][..]),
        Some(bytes) => {
            let mut reader = BinaryReader::new(bytes, 0);
            let count = reader.read_var_u32().expect("the section was read before");
            (count, &bytes[reader.original_position()..])
        }
    };
    let mut out = Vec::with_capacity(rest.len() + entries.len() + 5);
    (count + more).encode(&mut out);
    out.extend_from_slice(rest);
    out.extend_from_slice(entries);
    out
}

/// Declarations of locals, equal neighbours together.
pub(crate) fn locals_declaration(locals: &[ValType]) -> Vec<u8> {
    let mut groups: Vec<(u32, ValType)> = Vec::new();
    for &ty in locals {
        match groups.last_mut() {
            Some((count, last)) if *last == ty => *count += 1,
            _ => groups.push((1, ty)),
        }
    }
    let mut bytes = Vec::new();
    groups.len().encode(&mut bytes);
    for (count, ty) in groups {
        count.encode(&mut bytes);
        ty.encode(&mut bytes);
    }
    bytes
}

/// The custom section `metadata.code.branch_hint` (branch hinting proposal), which stands before the code.
pub(crate) fn hints_section(out: &mut wasm_encoder::Module, hints: &[(u32, Vec<(u32, bool)>)]) {
    if hints.is_empty() {
        return;
    }
    let mut data = Vec::new();
    hints.len().encode(&mut data);
    for (function, offsets) in hints {
        function.encode(&mut data);
        offsets.len().encode(&mut data);
        for (offset, taken) in offsets {
            offset.encode(&mut data);
            // One byte.
            data.extend_from_slice(&[1, u8::from(*taken)]);
        }
    }
    out.section(&wasm_encoder::CustomSection {
        name: "metadata.code.branch_hint".into(),
        data: data.into(),
    });
}
