//! Writes the code of one function: whole with its checks, or as a continuation.
//!
//! A continuation is what remains of a function. A *tail* starts right behind a call: blocks around it become their
//! own rests (an `if` the rest of the arm), a loop the rest of its current iteration. Where a tail branches to the header of such a
//! loop it hands its locals to the *loop entry*: the loop as it is, and the function's rest behind it. So loops stay loops, and a
//! large one is compiled once for all sites in it. Code that only other arms of a `switch` reach is left out.
//!
//! Invariant: whatever the form, a site saves the same values in the same order, and arrivals count the same ticks.

mod accesses;
mod atomics;
mod checks;
mod continuation;
mod feedback;

use self::accesses::access;
use self::atomics::atomic;
pub(crate) use self::checks::{append_body, runs_of};
use crate::coverage::Counters;
use crate::module::Module;
use crate::plan::{Block, BlockKind, Plan, Site};
use crate::{SiteKind, TransformError};
use std::collections::HashMap;
use wasm_encoder::{BlockType, Encode as _, Instruction, RefType, ValType};
use wasmparser::{BinaryReader, Operator, OperatorsReader};

/// A function that the main module has besides the original ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Helper {
    /// `data.drop`, which also notes that it was done.
    DropData(u32),
    /// `elem.drop`, likewise.
    DropElements(u32),
    /// `memory.init` of a segment into a memory.
    InitMemory { segment: u32, memory: u32 },
    /// `table.init` of a segment into a table.
    InitTable { segment: u32, table: u32 },
    /// `ref.func`.
    Reference(u32),
    /// Appends a reference of this type to those that are saved.
    Save(RefType),
    /// Begins the record of a frame: its function and its site.
    Header,
    /// Appends this many numbers of one type to the last record, at most `RUN_MAX`.
    Numbers(ValType, u32),
    /// Takes the next saved reference of this type.
    Load(RefType),
    /// Some value of a type that has no null.
    Zero(RefType),
    /// Fills the memories with what the active data segments hold if its argument is not 0, and drops these segments. Called once, before
    /// anything else: a guest that shows another one's memory needs no contents of its own. (Last, so that the others' indices do not depend on it.)
    Data,
}

/// How the code that is being written names things.
pub(crate) trait Links {
    /// An original function.
    fn function(&mut self, original: u32) -> u32;
    /// A helper.
    fn helper(&mut self, helper: Helper) -> u32;
    /// The host function that is called at a stop.
    fn poll(&mut self) -> u32;
    /// The host function that traps.
    fn trap(&mut self) -> u32;
    /// The function that looks at a site.
    fn look(&mut self) -> u32;
    /// The function that is told of accesses to memory.
    fn access(&mut self) -> u32;
    /// The function that is told of comparisons.
    fn compare(&mut self) -> u32;
    /// The loop entry of this block of the function.
    fn loop_entry(&mut self, block: u32) -> u32;
    /// A block type that takes nothing and gives these.
    fn block_type(&mut self, results: &[ValType]) -> BlockType;
    /// The index of a function type that takes nothing and gives these.
    fn continuation_type(&mut self, results: &[ValType]) -> u32;
    /// Whether the code stands in the module with the original's segments and functions.
    fn is_main(&self) -> bool;
}

/// Indices of what is added, the same in the main module and in continuations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    pub state: u32,
    pub left: u32,
    pub sp: u32,
    pub room: u32,
    pub looking: u32,
    pub stack: u32,
    /// The memory of counters, in code that has them.
    pub counts: u32,
    pub continuations: u32,
}

impl Added {
    pub fn to(module: &Module) -> Added {
        let globals = module.globals.len() as u32;
        Added {
            state: globals,
            left: globals + 1,
            sp: globals + 2,
            room: globals + 3,
            looking: globals + 4,
            stack: module.memory_is_64.len() as u32,
            counts: module.memory_is_64.len() as u32 + 1,
            continuations: module.tables.len() as u32,
        }
    }
}

/// What code tells a fuzzer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// How often each decision went which way.
    Outcomes,
    /// What is compared with what.
    Compares,
}

/// Which sites are checked in a variant.
pub(crate) trait Checks: Sync {
    /// Whether frames of this function can be captured at all.
    fn function(&self, function: u32) -> bool;
    /// Whether a capture can happen at this site of a function that can be captured.
    fn site(&self, kind: SiteKind) -> bool;
    /// Whether frames count what they take of the stack.
    fn stack(&self) -> bool;
    /// Whether the run can be looked at at a tick, which is a passage or not.
    fn looks(&self, is_passage: bool) -> bool;
    /// Whether accesses to memory are told.
    fn tells_accesses(&self) -> bool;
    /// What is told to a fuzzer.
    fn feedback(&self) -> Option<Feedback>;
}

/// Written code, without the declarations of its locals.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pub bytes: Vec<u8>,
    /// Offsets in `bytes` with the original's offsets; ascending.
    pub map: Vec<(u32, u32, Origin)>,
    /// Offsets in `bytes` of conditional branches whose outcome is known as a rule, and whether it is to be taken.
    pub hints: Vec<(u32, bool)>,
    /// Types of the locals behind the parameters.
    pub locals: Vec<ValType>,
}

/// How bytes that were written belong to an original offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They are the bytes from there on.
    Copied,
    /// They are what the instruction there became.
    Instruction,
    /// They were added for the instruction there.
    Added,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// From behind this site on.
    Tail(u32),
    /// From this loop on.
    LoopEntry(u32),
}

/// A block that is open where the writer is.
struct Open {
    block: u32,
    /// How many blocks were open in the written code when its label was, itself included.
    level: u32,
    /// Whether it began before what is written.
    around: bool,
    targeted: bool,
    /// Whether the end of the first arm was reached; for an `if`.
    then_falls: bool,
    in_else: bool,
    /// A loop that stands in blocks of ours; see [`Emitter::open_poll_outside`].
    wrapped: bool,
}

struct Emitter<'a, L> {
    module: &'a Module,
    plan: &'a Plan,
    links: &'a mut L,
    checks: &'a dyn Checks,
    added: Added,
    out: Vec<u8>,
    map: Vec<(u32, u32, Origin)>,
    hints: Vec<(u32, bool)>,
    /// From the plan's locals (slots included) to those of the code.
    local_of: Option<Vec<u32>>,
    /// Locals of the code that could not be declared without a null.
    weakened: Vec<bool>,
    params: usize,
    /// Types of the code's locals behind its parameters.
    locals: Vec<ValType>,
    pointer: Option<u32>,
    left: Option<u32>,
    /// What is left of the stack below this frame, and what the frame takes.
    room: Option<(u32, u32)>,
    temps: HashMap<(usize, ValType), u32>,
    open: Vec<Open>,
    height: u32,
    reachable: bool,
    /// Go on at this offset, with what is on the stack.
    skip: Option<u32>,
    /// Whether the innermost loops hold the counter in a local.
    hot: Option<u32>,
    capturable: bool,
    /// What is counted in this function, if anything.
    counters: Counters,
}

/// Writes a function in a form.
pub(crate) fn emit<L: Links>(
    module: &Module,
    plan: &Plan,
    links: &mut L,
    checks: &dyn Checks,
    form: Form,
) -> Result<Code, TransformError> {
    let mut emitter = Emitter {
        module,
        plan,
        links,
        checks,
        added: Added::to(module),
        out: Vec::new(),
        map: Vec::new(),
        hints: Vec::new(),
        local_of: None,
        weakened: Vec::new(),
        params: 0,
        locals: Vec::new(),
        pointer: None,
        left: None,
        room: None,
        temps: HashMap::new(),
        open: Vec::new(),
        height: 0,
        reachable: true,
        skip: None,
        hot: None,
        capturable: checks.function(plan.function),
        counters: match checks.feedback() {
            Some(_) => module.counters(plan.function)?,
            None => Counters::default(),
        },
    };
    emitter.declare(form);
    match form {
        Form::Whole => {
            emitter.push_open(0, false);
            emitter.open[0].level = 0;
            emitter.map_to(plan.sites[0].at, Origin::Added);
            emitter.take_room();
            emitter.check_room();
            emitter.tick(&plan.sites[0], None);
            emitter.feed_back_entry();
            emitter.walk(plan.code_start)?;
        }
        Form::Tail(site) => emitter.tail(&plan.sites[site as usize])?,
        Form::LoopEntry(block) => emitter.loop_entry(block)?,
    }
    Ok(Code { bytes: emitter.out, map: emitter.map, hints: emitter.hints, locals: emitter.locals })
}

impl<'a, L: Links> Emitter<'a, L> {
    /// Decides on the locals of the code.
    fn declare(&mut self, form: Form) {
        let plan = self.plan;
        let all = plan.locals.iter().chain(&plan.slots);
        match form {
            Form::Whole => {
                self.params = plan.signature.params.len();
                self.locals = all.skip(self.params).copied().collect();
            }
            Form::Tail(_) => {
                self.locals = all.copied().collect();
                self.weaken(0);
                self.local_of = Some((0..self.locals.len() as u32).collect());
            }
            Form::LoopEntry(block) => {
                let header = &plan.sites[plan.blocks[block as usize].header as usize];
                let mut local_of = vec![u32::MAX; plan.locals.len() + plan.slots.len()];
                for (index, (local, _)) in plan.saved(header).enumerate() {
                    local_of[local as usize] = index as u32;
                    self.params += 1;
                }
                for (local, &ty) in all.enumerate() {
                    if local_of[local] == u32::MAX {
                        local_of[local] = (self.params + self.locals.len()) as u32;
                        self.locals.push(ty);
                    }
                }
                self.weaken(self.params);
                self.local_of = Some(local_of);
            }
        }
    }

    /// Locals without a null cannot be declared where nothing assigns them first.
    fn weaken(&mut self, params: usize) {
        self.weakened = vec![false; params];
        for ty in &mut self.locals {
            let strict = matches!(ty, ValType::Ref(r) if !r.nullable);
            self.weakened.push(strict);
            if let (ValType::Ref(r), true) = (ty, strict) {
                r.nullable = true;
            }
        }
    }

    fn put(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.out);
    }

    fn new_local(&mut self, ty: ValType) -> u32 {
        self.locals.push(ty);
        (self.params + self.locals.len()) as u32 - 1
    }

    fn pointer(&mut self) -> u32 {
        match self.pointer {
            Some(local) => local,
            None => {
                let local = self.new_local(ValType::I32);
                self.pointer = Some(local);
                local
            }
        }
    }

    fn left(&mut self) -> u32 {
        match self.left {
            Some(local) => local,
            None => {
                let local = self.new_local(ValType::I64);
                self.left = Some(local);
                local
            }
        }
    }

    fn local(&self, original: u32) -> u32 {
        self.local_of.as_ref().map_or(original, |map| map[original as usize])
    }

    fn get(&mut self, original: u32) {
        let local = self.local(original);
        self.put(&Instruction::LocalGet(local));
        if self.weakened.get(local as usize) == Some(&true) {
            self.put(&Instruction::RefAsNonNull);
        }
    }

    fn set(&mut self, original: u32) {
        let local = self.local(original);
        self.put(&Instruction::LocalSet(local));
    }

    // --- blocks ---

    fn push_open(&mut self, block: u32, around: bool) {
        self.open.push(Open {
            block,
            level: self.height,
            around,
            targeted: false,
            then_falls: false,
            in_else: false,
            wrapped: false,
        });
    }

    fn block(&self, block: u32) -> &'a Block {
        &self.plan.blocks[block as usize]
    }

    /// The depth to write for an original one. Notes that its block is branched to.
    fn target(&mut self, depth: u32) -> u32 {
        let index = self.open.len() - 1 - depth as usize;
        let open = &mut self.open[index];
        open.targeted = true;
        self.height - open.level
    }

    /// The block that starts at this offset; there is one in reachable code.
    fn block_at(&self, at: u32) -> u32 {
        let blocks = &self.plan.blocks[1..];
        let index = blocks.partition_point(|block| block.start < at);
        index as u32 + 1
    }

    // --- original code ---

    /// What is written from here on belongs there.
    fn map_to(&mut self, original: u32, origin: Origin) {
        let here = self.out.len() as u32;
        if self.map.last().is_some_and(|&(xform, ..)| xform == here) {
            self.map.pop();
        }
        if let Some(&(xform, orig, Origin::Copied)) = self.map.last()
            && origin == Origin::Copied
            && here.wrapping_sub(xform) == original.wrapping_sub(orig)
        {
            return;
        }
        self.map.push((here, original, origin));
    }

    /// Writes the function's code from this offset on, to its end.
    fn walk(&mut self, from: u32) -> Result<(), TransformError> {
        let bytes = &self.module.bytes;
        let body_end = self.block(0).end as usize + 1;
        let start = self.plan.code_start as usize;
        let mut reader = OperatorsReader::new(BinaryReader::new(&bytes[start..body_end], start));
        let mut next_site = self.plan.sites.partition_point(|site| site.at < from);
        let mut next_spill = self.plan.spills.partition_point(|spill| spill.at < from);
        // Bytes from here on are still to be copied.
        let mut copied = from as usize;
        let mut skip_to = Some(from);
        while !reader.eof() {
            let at = reader.original_position() as u32;
            let op = reader.read()?;
            let after = reader.original_position();
            if let Some(target) = skip_to {
                if at < target {
                    continue;
                }
                skip_to = None;
                copied = at as usize;
                self.map_to(at, Origin::Copied);
            }
            while self
                .plan
                .sites
                .get(next_site)
                .is_some_and(|site| site.at < at || matches!(site.kind, SiteKind::Entry))
            {
                next_site += 1;
            }
            while self.plan.spills.get(next_spill).is_some_and(|spill| spill.at < at) {
                next_spill += 1;
            }
            let spill = self.plan.spills.get(next_spill).filter(|spill| spill.at == at);
            let canonical = self.plan.canonical.after.get(&at).copied();
            let access = self.checks.tells_accesses().then(|| access(&op)).flatten();
            let feedback = self.feedback_at(&op, at);
            if self.is_plain(&op)
                && spill.is_none()
                && canonical.is_none()
                && access.is_none()
                && feedback.is_none()
            {
                self.note_plain(&op);
            } else {
                self.out.extend_from_slice(&bytes[copied..at as usize]);
                self.map_to(at, Origin::Instruction);
                let site = self.plan.sites.get(next_site).filter(|site| site.at == at);
                if let Some(access) = access {
                    self.tell(access);
                }
                if let Some(feedback) = feedback {
                    self.feed_back(feedback, at);
                }
                self.instruction(&op, at, after, site)?;
                if let (Some(shape), true) = (canonical, self.reachable) {
                    match op {
                        Operator::LocalGet { local_index } => {
                            self.make_local_canonical(local_index, shape);
                        }
                        _ => self.make_canonical(shape),
                    }
                }
                if let (Some(spill), true) = (spill, self.reachable) {
                    // A loop's are copied before its header's check; see `instruction`.
                    if !matches!(op, Operator::Loop { .. }) {
                        self.spill(spill);
                    }
                }
                copied = after;
                self.map_to(after as u32, Origin::Copied);
            }
            if let Some(target) = self.skip.take() {
                skip_to = Some(target);
            } else if !self.reachable && !self.open.is_empty() {
                self.out.extend_from_slice(&bytes[copied..after]);
                let open = self.open.last().expect("it is not empty");
                let block = self.block(open.block);
                let target = match block.middle {
                    Some(middle) if !open.in_else && !open.around => middle,
                    _ => block.end,
                };
                // What follows would not validate where only we know that it is unreachable.
                self.map_to(at, Origin::Added);
                self.put(&Instruction::Unreachable);
                skip_to = Some(target);
                copied = after;
            }
        }
        self.out.extend_from_slice(&bytes[copied..body_end]);
        Ok(())
    }

    /// Whether an instruction is copied as it is.
    fn is_plain(&self, op: &Operator<'_>) -> bool {
        match op {
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::RefFunc { .. }
            | Operator::Loop { .. }
            | Operator::Else
            | Operator::End
            | Operator::Block { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::DataDrop { .. }
            | Operator::ElemDrop { .. }
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::AtomicFence => false,
            Operator::MemoryInit { .. } | Operator::TableInit { .. } => self.links.is_main(),
            Operator::LocalGet { .. } | Operator::LocalSet { .. } | Operator::LocalTee { .. } => {
                self.local_of.is_none()
            }
            _ => atomic(op).is_none(),
        }
    }

    /// What a plain instruction does to reachability.
    fn note_plain(&mut self, op: &Operator<'_>) {
        if matches!(
            op,
            Operator::Unreachable | Operator::Return | Operator::Throw { .. } | Operator::ThrowRef
        ) {
            self.reachable = false;
        }
    }

    /// Writes an instruction that is not copied as it is.
    fn instruction(
        &mut self,
        op: &Operator<'_>,
        at: u32,
        after: usize,
        site: Option<&Site>,
    ) -> Result<(), TransformError> {
        if let Some(atomic) = atomic(op) {
            self.atomic(atomic);
            return Ok(());
        }
        let raw = &self.module.bytes[at as usize..after];
        match *op {
            Operator::Call { function_index } => {
                let function = self.links.function(function_index);
                if function_index >= self.module.imported_functions {
                    self.show_room();
                }
                self.put(&Instruction::Call(function));
                self.check_at(site);
            }
            Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                self.show_room();
                self.out.extend_from_slice(raw);
                self.check_at(site);
            }
            Operator::ReturnCall { function_index } => {
                let function = self.links.function(function_index);
                self.give_room_back();
                self.put(&Instruction::ReturnCall(function));
                self.reachable = false;
            }
            Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. } => {
                self.give_room_back();
                self.out.extend_from_slice(raw);
                self.reachable = false;
            }
            Operator::RefFunc { function_index } => {
                if self.links.is_main() {
                    let function = self.links.function(function_index);
                    self.put(&Instruction::RefFunc(function));
                } else {
                    self.help(Helper::Reference(function_index));
                }
            }
            Operator::DataDrop { data_index } => self.help(Helper::DropData(data_index)),
            Operator::ElemDrop { elem_index } => self.help(Helper::DropElements(elem_index)),
            Operator::MemoryInit { data_index, mem } => {
                self.help(Helper::InitMemory { segment: data_index, memory: mem });
            }
            Operator::TableInit { elem_index, table } => {
                self.help(Helper::InitTable { segment: elem_index, table });
            }
            // There is nobody to fence off.
            Operator::AtomicFence => {}
            Operator::LocalGet { local_index } => self.get(local_index),
            Operator::LocalSet { local_index } => self.set(local_index),
            Operator::LocalTee { local_index } => {
                let local = self.local(local_index);
                self.put(&Instruction::LocalTee(local));
                if self.weakened.get(local as usize) == Some(&true) {
                    self.put(&Instruction::RefAsNonNull);
                }
            }
            Operator::Block { .. } | Operator::If { .. } => {
                self.out.extend_from_slice(raw);
                self.height += 1;
                self.push_open(self.block_at(at), false);
            }
            Operator::TryTable { ref try_table } => {
                // Its labels count from outside of it.
                let catches = self.catches(&try_table.catches);
                let ty = match try_table.ty {
                    wasmparser::BlockType::Empty => BlockType::Empty,
                    wasmparser::BlockType::Type(ty) => BlockType::Result(self.module.val_type(ty)?),
                    wasmparser::BlockType::FuncType(index) => BlockType::FunctionType(index),
                };
                self.put(&Instruction::TryTable(ty, catches.into()));
                self.height += 1;
                self.push_open(self.block_at(at), false);
            }
            Operator::Loop { .. } => self.loop_start(at, raw)?,
            Operator::Else => self.middle(raw),
            Operator::End => self.end(raw),
            Operator::Br { relative_depth } => {
                let depth = self.target(relative_depth);
                self.put(&Instruction::Br(depth));
                self.reachable = false;
            }
            Operator::BrIf { relative_depth } => {
                let depth = self.target(relative_depth);
                self.put(&Instruction::BrIf(depth));
            }
            Operator::BrOnNull { relative_depth } => {
                let depth = self.target(relative_depth);
                self.put(&Instruction::BrOnNull(depth));
            }
            Operator::BrOnNonNull { relative_depth } => {
                let depth = self.target(relative_depth);
                self.put(&Instruction::BrOnNonNull(depth));
            }
            Operator::BrTable { ref targets } => {
                let mut depths = Vec::with_capacity(targets.len() as usize);
                for depth in targets.targets() {
                    depths.push(self.target(depth?));
                }
                let default = self.target(targets.default());
                self.put(&Instruction::BrTable(depths.into(), default));
                self.reachable = false;
            }
            // Plain, but with a value to be copied.
            _ => {
                self.out.extend_from_slice(raw);
                self.note_plain(op);
            }
        }
        Ok(())
    }

    fn check_at(&mut self, site: Option<&Site>) {
        if let Some(site) = site {
            self.check(site);
        }
    }

    fn help(&mut self, helper: Helper) {
        let function = self.links.helper(helper);
        self.put(&Instruction::Call(function));
    }

    fn loop_start(&mut self, at: u32, raw: &[u8]) -> Result<(), TransformError> {
        let index = self.block_at(at);
        // In loops without calls nobody else counts, so the counter may stay in a local; it is stored, but not loaded.
        let calls = self.block(index).calls;
        let outermost = !calls && self.hot.is_none();
        if outermost {
            let local = self.left();
            self.put(&Instruction::GlobalGet(self.added.left));
            self.put(&Instruction::LocalSet(local));
            self.hot = Some(index);
        }
        let hot = (!calls).then(|| self.left());
        let header = self.block(index).header;
        let plan = self.plan;
        let site = &plan.sites[header as usize];
        let wrapped = match (hot, &self.block(index).signature) {
            (Some(_), signature)
                if (self.is_checked(site) || self.checks.feedback().is_some())
                    && !self.is_looked_at(site)
                    && self.can_be_put_away(site) =>
            {
                signature.params.is_empty() && signature.results.len() <= 1
            }
            _ => false,
        };
        if wrapped {
            self.open_poll_outside(index);
        }
        self.out.extend_from_slice(raw);
        self.height += 1;
        self.push_open(index, false);
        match hot {
            Some(local) if wrapped => {
                self.open.last_mut().expect("it was just pushed").wrapped = true;
                self.tick_inside(site, local);
            }
            _ => {
                self.spill_at(at);
                self.tick(site, hot);
            }
        }
        Ok(())
    }

    fn middle(&mut self, raw: &[u8]) {
        let reachable = self.reachable;
        let open = self.open.last_mut().expect("the module is valid");
        if open.around {
            // The rest of the first arm ends here; the other one is not part of this.
            let block = open.block;
            self.skip = Some(self.block(block).end);
            return;
        }
        open.then_falls = reachable;
        open.in_else = true;
        self.out.extend_from_slice(raw);
        self.reachable = true;
    }

    fn end(&mut self, raw: &[u8]) {
        let open = self.open.pop().expect("the module is valid");
        let (kind, has_else) = {
            let block = self.block(open.block);
            (block.kind, block.middle.is_some())
        };
        if self.hot == Some(open.block) && kind == BlockKind::Loop {
            self.hot = None;
        }
        if open.around && kind == BlockKind::Loop {
            self.close_around_loop(&open);
            return;
        }
        self.out.extend_from_slice(raw);
        if open.block == 0 {
            return;
        }
        self.height -= 1;
        if open.wrapped {
            self.close_poll_outside(open.block);
        }
        self.reachable |= match kind {
            BlockKind::Loop => false,
            BlockKind::If if open.around => open.targeted,
            BlockKind::If => open.targeted || open.then_falls || !has_else,
            BlockKind::Block | BlockKind::TryTable => open.targeted,
        };
    }
}

/// Bytes of a record before its values: the function and the site; when it is read again the next continuation's slot.
pub(crate) const RECORD_HEADER_BYTES: u32 = 8;

/// What the memory of records has from the start, in bytes: one page.
pub(crate) const STACK_BYTES_MIN: u32 = 1 << 16;

/// How many bytes a number takes in a record.
pub(crate) fn bytes_of(ty: ValType) -> u32 {
    match ty {
        ValType::I32 | ValType::F32 => 4,
        ValType::I64 | ValType::F64 => 8,
        ValType::V128 => 16,
        ValType::Ref(_) => 0,
    }
}

/// The same reference type with null.
pub(crate) fn nullable(ty: RefType) -> RefType {
    RefType { nullable: true, heap_type: ty.heap_type }
}
