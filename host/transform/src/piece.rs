//! Continuations as modules of their own.
//!
//! A piece is one function, exported as `run`. It imports from the main module (import module `main`, names as
//! exported there) all memories, tables, globals and tags, at the same indices, and the functions that it needs; from other
//! pieces (import module `loop`, name `FUNCTION.SITE`) loop entries; and the stop function, as the main module does.
//! It depends on the original module and the variant alone, not on any stack, so compiled pieces can be kept.

use crate::emit::{Added, Checks as _, Feedback, Form, Helper, Links, emit};
use crate::helper::{helper_name, helper_signature};
use crate::imports::{
    ACCESS, COMPARE, LOOK, POLL, TRAP, access_signature, compare_signature, look_signature,
    trap_signature,
};
use crate::module::{Module, Signature};
use crate::pc::OffsetMap;
use crate::plan::Plan;
use crate::reach::Capturable;
use crate::whole::{hints_section, joined, locals_declaration};
use crate::{SiteKind, TransformError};
use std::collections::HashMap;
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, FunctionSection, GlobalType,
    ImportSection, MemoryType, RawSection, RefType, TableType, TagKind, TagType, TypeSection,
    ValType,
};

/// The import module of a piece's main module.
pub const MAIN: &str = "main";
/// The import module of other pieces.
pub const LOOP: &str = "loop";
/// The export of a piece.
pub const RUN: &str = "run";

/// A continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Piece {
    /// What remains of a function behind a site. Takes nothing: it reads its frame's record.
    Tail {
        /// The function's index in the original module.
        function: u32,
        /// The site.
        site: u32,
    },
    /// A loop and what remains behind it. Takes the values that are saved at the loop's header.
    LoopEntry {
        /// The function's index in the original module.
        function: u32,
        /// The header's site.
        site: u32,
    },
}

impl Piece {
    /// The function.
    #[must_use]
    pub fn function(self) -> u32 {
        let (Piece::Tail { function, .. } | Piece::LoopEntry { function, .. }) = self;
        function
    }

    /// The site.
    #[must_use]
    pub fn site(self) -> u32 {
        let (Piece::Tail { site, .. } | Piece::LoopEntry { site, .. }) = self;
        site
    }
}

/// What a piece imports as a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Import {
    Original(u32),
    Helper(Helper),
    Poll,
    Trap,
    Look,
    Access,
    Compare,
    Loop(u32),
}

struct PieceLinks<'a> {
    module: &'a Module,
    plan: &'a Plan,
    imports: Vec<(Import, u32)>,
    index_of: HashMap<Import, u32>,
    types: Vec<Signature>,
    type_of: HashMap<Signature, u32>,
}

impl PieceLinks<'_> {
    fn import(&mut self, import: Import) -> u32 {
        if let Some(&index) = self.index_of.get(&import) {
            return index;
        }
        let ty = match import {
            Import::Original(function) => self.module.functions[function as usize],
            Import::Helper(helper) => self.add_type(helper_signature(self.module, helper)),
            Import::Poll => self.add_type(Signature::default()),
            Import::Trap => self.add_type(trap_signature()),
            Import::Look => self.add_type(look_signature()),
            Import::Access => self.add_type(access_signature()),
            Import::Compare => self.add_type(compare_signature()),
            Import::Loop(block) => {
                let signature = loop_signature(self.plan, block);
                self.add_type(signature)
            }
        };
        let index = self.imports.len() as u32;
        self.imports.push((import, ty));
        self.index_of.insert(import, index);
        index
    }

    fn add_type(&mut self, signature: Signature) -> u32 {
        if let Some(&index) = self.type_of.get(&signature) {
            return index;
        }
        let index = (self.module.types.len() + self.types.len()) as u32;
        self.types.push(signature.clone());
        self.type_of.insert(signature, index);
        index
    }
}

impl Links for PieceLinks<'_> {
    fn function(&mut self, original: u32) -> u32 {
        self.import(Import::Original(original))
    }
    fn helper(&mut self, helper: Helper) -> u32 {
        self.import(Import::Helper(helper))
    }
    fn poll(&mut self) -> u32 {
        self.import(Import::Poll)
    }
    fn trap(&mut self) -> u32 {
        self.import(Import::Trap)
    }
    fn look(&mut self) -> u32 {
        self.import(Import::Look)
    }
    fn access(&mut self) -> u32 {
        self.import(Import::Access)
    }
    fn compare(&mut self) -> u32 {
        self.import(Import::Compare)
    }
    fn loop_entry(&mut self, block: u32) -> u32 {
        self.import(Import::Loop(block))
    }
    fn block_type(&mut self, results: &[ValType]) -> BlockType {
        match results {
            [] => BlockType::Empty,
            [one] => BlockType::Result(*one),
            many => BlockType::FunctionType(
                self.add_type(Signature { params: Vec::new(), results: many.to_vec() }),
            ),
        }
    }
    fn continuation_type(&mut self, results: &[ValType]) -> u32 {
        self.add_type(Signature { params: Vec::new(), results: results.to_vec() })
    }
    fn is_main(&self) -> bool {
        false
    }
}

fn loop_signature(plan: &Plan, block: u32) -> Signature {
    let header = &plan.sites[plan.blocks[block as usize].header as usize];
    Signature {
        params: plan.saved(header).map(|(_, ty)| ty).collect(),
        results: plan.signature.results.clone(),
    }
}

impl Module {
    /// Writes a piece for a variant, given by what can be captured in it.
    ///
    /// # Errors
    /// [`TransformError::NoSuchFunction`], [`TransformError::NoSuchSite`], or what planning the function gives.
    pub fn piece(&self, piece: Piece, capturable: &Capturable) -> Result<Vec<u8>, TransformError> {
        let plan = self.plan(piece.function())?;
        let (form, own) = form_of(&plan, piece)?;
        let mut links = self.links(&plan);
        let code = emit(self, &plan, &mut links, capturable, form)?;
        let own = links.add_type(own);
        let PieceLinks { imports: functions, types: more_types, .. } = links;
        let own_index = functions.len() as u32;

        let mut out = wasm_encoder::Module::new();
        let mut types = TypeSection::new();
        for ty in &more_types {
            types.ty().function(ty.params.iter().copied(), ty.results.iter().copied());
        }
        let original = self.sections.types.as_ref().map(|range| &self.bytes[range.clone()]);
        let data = joined(original, types.len(), &types, 1);
        out.section(&RawSection { id: 1, data: &data });
        let mut imports = ImportSection::new();
        for (import, ty) in functions {
            let (module, name) = match import {
                Import::Original(function) => (MAIN, format!("{}f{function}", self.prefix)),
                Import::Helper(helper) => (MAIN, format!("{}{}", self.prefix, helper_name(helper))),
                Import::Poll => (POLL.0, self.host_function(POLL)),
                Import::Trap => (TRAP.0, self.host_function(TRAP)),
                Import::Look => (LOOK.0, self.host_function(LOOK)),
                Import::Access => (ACCESS.0, self.host_function(ACCESS)),
                Import::Compare => (COMPARE.0, self.host_function(COMPARE)),
                Import::Loop(block) => {
                    let header = plan.blocks[block as usize].header;
                    (LOOP, format!("{}.{header}", plan.function))
                }
            };
            imports.import(module, &name, EntityType::Function(ty));
        }
        self.import_state(&mut imports, capturable.feedback() == Some(Feedback::Outcomes));
        out.section(&imports);
        let mut function = FunctionSection::new();
        function.function(own);
        out.section(&function);
        let mut exports = ExportSection::new();
        exports.export(RUN, ExportKind::Func, own_index);
        out.section(&exports);
        let mut bytes = locals_declaration(&code.locals);
        let start = bytes.len() as u32;
        bytes.extend_from_slice(&code.bytes);
        let hints: Vec<_> = code.hints.iter().map(|&(at, taken)| (at + start, taken)).collect();
        if !hints.is_empty() {
            hints_section(&mut out, &[(own_index, hints)]);
        }
        let mut section = CodeSection::new();
        section.raw(&bytes);
        out.section(&section);
        Ok(out.finish())
    }

    /// Where the code of a piece comes from: offsets from the start of its only body.
    ///
    /// # Errors
    /// As [`Module::piece`].
    pub fn piece_map(
        &self,
        piece: Piece,
        capturable: &Capturable,
    ) -> Result<OffsetMap, TransformError> {
        let plan = self.plan(piece.function())?;
        let (form, _) = form_of(&plan, piece)?;
        let code = emit(self, &plan, &mut self.links(&plan), capturable, form)?;
        Ok(OffsetMap::of(&code, self.body_start(piece.function())))
    }

    fn links<'a>(&'a self, plan: &'a Plan) -> PieceLinks<'a> {
        PieceLinks {
            module: self,
            plan,
            imports: Vec::new(),
            index_of: HashMap::new(),
            types: Vec::new(),
            type_of: HashMap::new(),
        }
    }

    /// Imports everything that instructions name by its index, at the same index.
    fn import_state(&self, imports: &mut ImportSection, counts: bool) {
        let mut add = |name: String, ty: EntityType| {
            imports.import(MAIN, &format!("{}{name}", self.prefix), ty);
        };
        let table = |element_type: RefType, table64: bool| {
            EntityType::Table(TableType {
                element_type,
                table64,
                minimum: 0,
                maximum: None,
                shared: false,
            })
        };
        for (index, &ty) in self.tables.iter().enumerate() {
            add(format!("t{index}"), table(ty, self.table_is_64[index]));
        }
        add("continuations".to_owned(), table(RefType::FUNCREF, false));
        let memory = |memory64: bool| {
            EntityType::Memory(MemoryType {
                minimum: 0,
                maximum: None,
                memory64,
                shared: false,
                page_size_log2: None,
            })
        };
        for (index, &is_64) in self.memory_is_64.iter().enumerate() {
            add(format!("m{index}"), memory(is_64));
        }
        add("stack".to_owned(), memory(false));
        if counts {
            add("counts".to_owned(), memory(false));
        }
        for (index, &func_type_idx) in self.tags.iter().enumerate() {
            let tag = TagType { kind: TagKind::Exception, func_type_idx };
            add(format!("e{index}"), EntityType::Tag(tag));
        }
        let global = |val_type: ValType, mutable: bool| {
            EntityType::Global(GlobalType { val_type, mutable, shared: false })
        };
        for (index, original) in self.globals.iter().enumerate() {
            add(format!("g{index}"), global(original.ty, original.mutable));
        }
        add("state".to_owned(), global(ValType::I32, true));
        add("left".to_owned(), global(ValType::I64, true));
        add("sp".to_owned(), global(ValType::I32, true));
        add("room".to_owned(), global(ValType::I32, true));
        add("looking".to_owned(), global(ValType::I32, true));
        debug_assert_eq!(Added::to(self).looking as usize, self.globals.len() + 4);
    }
}

fn form_of(plan: &Plan, piece: Piece) -> Result<(Form, Signature), TransformError> {
    let number = piece.site();
    let none = TransformError::NoSuchSite { function: plan.function, site: number };
    let site = plan.sites.get(number as usize).ok_or(none.clone())?;
    match piece {
        Piece::Tail { .. } => {
            let results = plan.signature.results.clone();
            Ok((Form::Tail(number), Signature { params: Vec::new(), results }))
        }
        Piece::LoopEntry { .. } if site.kind == SiteKind::Header => {
            Ok((Form::LoopEntry(site.block), loop_signature(plan, site.block)))
        }
        Piece::LoopEntry { .. } => Err(none),
    }
}
