//! A parsed original module: what the other parts look up.
//!
//! Owns the module's bytes. Bodies are not decoded here; see `plan`.
//! Invariant: the module was valid when it was parsed; its sections were read by the validator in order.

use crate::coverage::Comparer;
use crate::{OrigPc, TransformError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use wasm_encoder::reencode::{Reencode as _, RoundtripReencoder};
use wasm_encoder::{HeapType, RefType, ValType};
use wasmparser::types::CoreTypeId;
use wasmparser::{
    BinaryReader, ElementItems, ExternalKind, FuncToValidate, FuncValidator, FunctionBody,
    Operator, Parser, Payload, TypeRef, UnpackedIndex, ValidPayload, Validator, ValidatorResources,
    WasmFeatures, WasmModuleResources as _,
};

/// A function type with types that can be encoded again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Signature {
    pub params: Vec<ValType>,
    pub results: Vec<ValType>,
}

/// The payload ranges of the sections that are copied as they are, or nearly.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub types: Option<Range<usize>>,
    pub imports: Option<Range<usize>>,
    pub functions: Option<Range<usize>>,
    pub tables: Option<Range<usize>>,
    pub memories: Option<Range<usize>>,
    pub tags: Option<Range<usize>>,
    pub globals: Option<Range<usize>>,
    pub exports: Option<Range<usize>>,
    pub elements: Option<Range<usize>>,
    pub data: Option<Range<usize>>,
}

/// The custom section in which an interpreter names its *passages*: the headers of loops that it passes once for each instruction of the
/// program that it runs. A vector of triples, all unsigned LEB128 numbers: a function's index, the offset of the `loop` instruction from the start of the function's
/// body, and a local of type `i32` that is shown to who looks: the instruction's number, for example.
pub const PASSAGES: &str = "wrr.passages";

/// Whether a module names passages; see [`PASSAGES`].
#[must_use]
pub fn has_passages(module: &[u8]) -> bool {
    Parser::new(0).parse_all(module).any(|payload| {
        matches!(payload, Ok(Payload::CustomSection(section)) if section.name() == PASSAGES)
    })
}

fn passages(data: &[u8]) -> wasmparser::Result<BTreeMap<(u32, u32), u32>> {
    let mut reader = BinaryReader::new(data, 0);
    let count = reader.read_var_u32()?;
    let mut next = || reader.read_var_u32();
    (0..count).map(|_| Ok(((next()?, next()?), next()?))).collect()
}

/// An imported or defined global.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Global {
    pub ty: ValType,
    pub mutable: bool,
}

/// A module, ready to be transformed.
pub struct Module {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) sections: Sections,
    resources: Option<(ValidatorResources, WasmFeatures)>,
    type_ids: HashMap<CoreTypeId, u32>,
    /// By type index.
    pub(crate) types: Vec<Signature>,
    /// The first type index with an equal type, by type index.
    pub(crate) canonical_types: Vec<u32>,
    /// Type indices of all functions, imported ones first.
    pub(crate) functions: Vec<u32>,
    pub(crate) imported_functions: u32,
    pub(crate) bodies: Vec<Range<usize>>,
    pub(crate) tables: Vec<RefType>,
    pub(crate) table_is_64: Vec<bool>,
    pub(crate) memory_is_64: Vec<bool>,
    pub(crate) globals: Vec<Global>,
    pub(crate) tags: Vec<u32>,
    pub(crate) start: Option<u32>,
    /// Functions that a reference can be made to, ascending.
    pub(crate) referenceable: Vec<u32>,
    /// What the names of everything added start with.
    pub(crate) prefix: String,
    pub(crate) exports: Vec<(String, ExternalKind, u32)>,
    /// By function and offset in the module, the local: see [`PASSAGES`].
    pub(crate) passages: BTreeMap<(u32, u32), u32>,
    /// See [`Module::counters`]: where each function's begin, and how many there are.
    pub(crate) counter_starts: OnceLock<Vec<u32>>,
    /// See [`Module::comparer`].
    pub(crate) comparers: OnceLock<BTreeMap<u32, Comparer>>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("functions", &self.functions.len()).finish_non_exhaustive()
    }
}

impl Module {
    /// Parses a module in binary form.
    ///
    /// # Errors
    /// [`TransformError::Invalid`] if a section does not validate; function bodies are only looked at when
    /// they are transformed.
    pub fn parse(bytes: Arc<[u8]>, features: WasmFeatures) -> Result<Module, TransformError> {
        let mut module = Module {
            bytes: Arc::clone(&bytes),
            sections: Sections::default(),
            resources: None,
            type_ids: HashMap::new(),
            types: Vec::new(),
            canonical_types: Vec::new(),
            functions: Vec::new(),
            imported_functions: 0,
            bodies: Vec::new(),
            tables: Vec::new(),
            table_is_64: Vec::new(),
            memory_is_64: Vec::new(),
            globals: Vec::new(),
            tags: Vec::new(),
            start: None,
            referenceable: Vec::new(),
            prefix: "wrr.".to_owned(),
            exports: Vec::new(),
            passages: BTreeMap::new(),
            counter_starts: OnceLock::new(),
            comparers: OnceLock::new(),
        };
        let mut names = Vec::new();
        let mut referenceable = BTreeSet::new();
        let mut validator = Validator::new_with_features(features);
        for payload in Parser::new(0).parse_all(&bytes) {
            let payload = payload?;
            if let ValidPayload::Func(func, body) = validator.payload(&payload)? {
                if module.resources.is_none() {
                    module.resources = Some((func.resources.clone(), func.features));
                }
                module.bodies.push(body.range());
            }
            module.take(payload, &mut names, &mut referenceable)?;
        }
        module.read_types()?;
        module.place_passages();
        module.referenceable = referenceable.into_iter().collect();
        let mut salt = 1;
        while names.iter().any(|name| name.starts_with(&module.prefix)) {
            salt += 1;
            module.prefix = format!("wrr.{salt}.");
        }
        Ok(module)
    }

    fn take(
        &mut self,
        payload: Payload<'_>,
        names: &mut Vec<String>,
        referenceable: &mut BTreeSet<u32>,
    ) -> Result<(), TransformError> {
        match payload {
            Payload::TypeSection(reader) => self.sections.types = Some(reader.range()),
            Payload::ImportSection(reader) => {
                self.sections.imports = Some(reader.range());
                for import in reader.into_imports() {
                    let import = import?;
                    names.push(import.name.to_owned());
                    match import.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            self.functions.push(ty);
                            self.imported_functions += 1;
                        }
                        TypeRef::Table(ty) => self.add_table(ty)?,
                        TypeRef::Memory(ty) => self.memory_is_64.push(ty.memory64),
                        TypeRef::Global(ty) => self.add_global(ty)?,
                        TypeRef::Tag(ty) => self.tags.push(ty.func_type_idx),
                    }
                }
            }
            Payload::FunctionSection(reader) => {
                self.sections.functions = Some(reader.range());
                for ty in reader {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(reader) => {
                self.sections.tables = Some(reader.range());
                for table in reader {
                    let table = table?;
                    self.add_table(table.ty)?;
                    if let wasmparser::TableInit::Expr(expr) = table.init {
                        references(&expr, referenceable)?;
                    }
                }
            }
            Payload::MemorySection(reader) => {
                self.sections.memories = Some(reader.range());
                for memory in reader {
                    self.memory_is_64.push(memory?.memory64);
                }
            }
            Payload::TagSection(reader) => {
                self.sections.tags = Some(reader.range());
                for tag in reader {
                    self.tags.push(tag?.func_type_idx);
                }
            }
            Payload::GlobalSection(reader) => {
                self.sections.globals = Some(reader.range());
                for global in reader {
                    let global = global?;
                    self.add_global(global.ty)?;
                    references(&global.init_expr, referenceable)?;
                }
            }
            Payload::ExportSection(reader) => {
                self.sections.exports = Some(reader.range());
                for export in reader {
                    let export = export?;
                    names.push(export.name.to_owned());
                    if export.kind == ExternalKind::Func {
                        referenceable.insert(export.index);
                    }
                    self.exports.push((export.name.to_owned(), export.kind, export.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(reader) => {
                self.sections.elements = Some(reader.range());
                for element in reader {
                    match element?.items {
                        ElementItems::Functions(items) => {
                            for function in items {
                                referenceable.insert(function?);
                            }
                        }
                        ElementItems::Expressions(_, items) => {
                            for expr in items {
                                references(&expr?, referenceable)?;
                            }
                        }
                    }
                }
            }
            Payload::DataSection(reader) => self.sections.data = Some(reader.range()),
            Payload::CustomSection(section) if section.name() == PASSAGES => {
                // Whoever made it wrong has none: it changes nothing of what the module does.
                self.passages = passages(section.data()).unwrap_or_default();
            }
            _ => {}
        }
        Ok(())
    }

    fn add_table(&mut self, ty: wasmparser::TableType) -> Result<(), TransformError> {
        let ValType::Ref(element) = self.val_type(wasmparser::ValType::Ref(ty.element_type))?
        else {
            unreachable!("a reference type stays one")
        };
        self.tables.push(element);
        self.table_is_64.push(ty.table64);
        Ok(())
    }

    fn add_global(&mut self, ty: wasmparser::GlobalType) -> Result<(), TransformError> {
        let global = Global { ty: self.val_type(ty.content_type)?, mutable: ty.mutable };
        self.globals.push(global);
        Ok(())
    }

    /// From offsets in bodies to offsets in the module.
    fn place_passages(&mut self) {
        let placed = std::mem::take(&mut self.passages).into_iter().filter_map(|(place, local)| {
            let (function, offset) = place;
            let defined = function.checked_sub(self.imported_functions)?;
            let start = self.bodies.get(defined as usize)?.start as u32;
            Some(((function, start.checked_add(offset)?), local))
        });
        self.passages = placed.collect();
    }

    /// Types are read once the validator knows them all.
    fn read_types(&mut self) -> Result<(), TransformError> {
        let Some(range) = self.sections.types.clone() else { return Ok(()) };
        let reader = BinaryReader::new(&self.bytes[range.clone()], range.start);
        let mut types = Vec::new();
        for group in wasmparser::TypeSectionReader::new(reader)? {
            for ty in group?.into_types() {
                let wasmparser::CompositeInnerType::Func(ty) = ty.composite_type.inner else {
                    return Err(TransformError::Unsupported { what: "a type that is no function" });
                };
                let all = |list: &[wasmparser::ValType]| {
                    list.iter().map(|&ty| self.val_type(ty)).collect::<Result<Vec<_>, _>>()
                };
                types.push(Signature { params: all(ty.params())?, results: all(ty.results())? });
            }
        }
        let mut first = HashMap::new();
        for (index, ty) in types.iter().enumerate() {
            let canonical = *first.entry(ty).or_insert(index as u32);
            self.canonical_types.push(canonical);
        }
        if let Some((resources, _)) = &self.resources {
            for index in 0..types.len() as u32 {
                let mut heap = wasmparser::HeapType::Concrete(UnpackedIndex::Module(index));
                resources.check_heap_type(&mut heap, 0)?;
                if let wasmparser::HeapType::Concrete(UnpackedIndex::Id(id)) = heap {
                    // Types that refer to equal types under other indices are equal: only the validator knows.
                    let canonical = *self.type_ids.entry(id).or_insert(index);
                    self.canonical_types[index as usize] = canonical;
                }
            }
        }
        self.types = types;
        Ok(())
    }

    /// A type as it is encoded: indices instead of the validator's ids.
    pub(crate) fn val_type(&self, ty: wasmparser::ValType) -> Result<ValType, TransformError> {
        Ok(match ty {
            wasmparser::ValType::I32 => ValType::I32,
            wasmparser::ValType::I64 => ValType::I64,
            wasmparser::ValType::F32 => ValType::F32,
            wasmparser::ValType::F64 => ValType::F64,
            wasmparser::ValType::V128 => ValType::V128,
            wasmparser::ValType::Ref(ty) => ValType::Ref(RefType {
                nullable: ty.is_nullable(),
                heap_type: match ty.heap_type() {
                    wasmparser::HeapType::Abstract { shared, ty } => HeapType::Abstract {
                        shared,
                        ty: RoundtripReencoder
                            .abstract_heap_type(ty)
                            .map_err(|_| TransformError::Unsupported { what: "a heap type" })?,
                    },
                    wasmparser::HeapType::Concrete(UnpackedIndex::Module(index)) => {
                        HeapType::Concrete(index)
                    }
                    wasmparser::HeapType::Concrete(UnpackedIndex::Id(id)) => {
                        let index = self.type_ids.get(&id);
                        HeapType::Concrete(
                            *index.ok_or(TransformError::Unsupported { what: "a type's id" })?,
                        )
                    }
                    _ => return Err(TransformError::Unsupported { what: "a heap type" }),
                },
            }),
        })
    }

    /// The signature of a function, imported or defined.
    pub(crate) fn signature(&self, function: u32) -> &Signature {
        &self.types[self.functions[function as usize] as usize]
    }

    /// Parameters and results of a block.
    pub(crate) fn block_signature(
        &self,
        ty: wasmparser::BlockType,
    ) -> Result<Signature, TransformError> {
        Ok(match ty {
            wasmparser::BlockType::Empty => Signature::default(),
            wasmparser::BlockType::Type(ty) => {
                Signature { params: Vec::new(), results: vec![self.val_type(ty)?] }
            }
            wasmparser::BlockType::FuncType(index) => self
                .types
                .get(index as usize)
                .cloned()
                .ok_or(TransformError::Unsupported { what: "a block type" })?,
        })
    }

    /// A defined function's body.
    ///
    /// # Errors
    /// [`TransformError::NoSuchFunction`] for imports and indices out of range.
    pub(crate) fn body(&self, function: u32) -> Result<FunctionBody<'_>, TransformError> {
        let range = function
            .checked_sub(self.imported_functions)
            .and_then(|defined| self.bodies.get(defined as usize))
            .ok_or(TransformError::NoSuchFunction { function })?;
        Ok(FunctionBody::new(BinaryReader::new(&self.bytes[range.clone()], range.start)))
    }

    /// Whether it names passages: see [`PASSAGES`].
    #[must_use]
    pub fn has_passages(&self) -> bool {
        !self.passages.is_empty()
    }

    /// The local that a loop of a function shows, if it is a passage.
    #[must_use]
    pub fn passage(&self, function: u32, at: OrigPc) -> Option<u32> {
        self.passages.get(&(function, at.0)).copied()
    }

    /// Offset of a defined function's body in the original module.
    pub(crate) fn body_start(&self, function: u32) -> u32 {
        self.bodies[(function - self.imported_functions) as usize].start as u32
    }

    /// A validator for a defined function.
    pub(crate) fn validator(
        &self,
        function: u32,
    ) -> Result<FuncValidator<ValidatorResources>, TransformError> {
        let (resources, features) =
            self.resources.as_ref().ok_or(TransformError::NoSuchFunction { function })?;
        let ty = self.functions[function as usize];
        let func = FuncToValidate {
            resources: resources.clone(),
            index: function,
            ty,
            features: *features,
        };
        Ok(func.into_validator(Default::default()))
    }

    /// How many functions there are, imported ones included.
    #[must_use]
    pub fn function_count(&self) -> u32 {
        self.functions.len() as u32
    }

    /// How many functions are imported.
    #[must_use]
    pub fn imported_function_count(&self) -> u32 {
        self.imported_functions
    }

    /// The start function.
    #[must_use]
    pub fn start(&self) -> Option<u32> {
        self.start
    }
}

/// Functions that a constant expression refers to.
fn references(
    expr: &wasmparser::ConstExpr<'_>,
    into: &mut BTreeSet<u32>,
) -> Result<(), TransformError> {
    for op in expr.get_operators_reader() {
        if let Operator::RefFunc { function_index } = op? {
            into.insert(function_index);
        }
    }
    Ok(())
}
