//! What has to be known about one function before it can be rewritten: its blocks, its sites, which waiting
//! operands need a local of their own (a *slot*), which locals are live at each site, where NaNs are made canonical, what
//! a frame takes of the stack, what is dead code.
//!
//! A plan depends on the original module alone, so both variants and all continuations agree on it.
//! Invariant: sites are numbered in the order of the code: 0 is the function's entry, then calls and loop headers
//! as they come. Code that cannot be reached has no sites and is left out of everything that is emitted.

use crate::live::{Event, Label, Liveness};
use crate::module::{Module, Signature};
use crate::nan::{Canonical, Floats, NodeId, Shape};
use crate::{SiteKind, TransformError};
use std::collections::{BTreeMap, HashMap};
use wasm_encoder::ValType;
use wasmparser::{Catch, Operator};

/// The most values that the sites of one function may save together.
const SAVED_VALUES_MAX: usize = 1 << 24;

/// What the smallest frame takes of the imagined stack.
const FRAME_BYTES_MIN: usize = 64;

/// No frame takes more: sums stay in 32 bits.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Where a waiting operand is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Source {
    /// It is what this local holds, as long as it waits.
    Local(u32),
    /// A constant: its instruction stands at this offset.
    Const { at: u32 },
    /// A copy is kept in this slot.
    Slot(u32),
}

/// An operand that waits on the stack below a call's arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    /// How many operands are below it.
    pub height: u32,
    pub source: Source,
    /// How it was made canonical behind its source.
    pub canonical: Option<Shape>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Block,
    Loop,
    If,
    TryTable,
}

/// A block of the function; block 0 is its body.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub kind: BlockKind,
    pub parent: u32,
    /// Offset of the instruction that opens it.
    pub start: u32,
    /// Offset of its `else`, if it has one.
    pub middle: Option<u32>,
    /// Offset of its `end`.
    pub end: u32,
    pub signature: Signature,
    /// Operands below its parameters.
    pub height: u32,
    /// For a loop: whether anything in it calls.
    pub calls: bool,
    /// For a loop: its header's site.
    pub header: u32,
}

/// A place at which a frame can be captured.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub number: u32,
    pub kind: SiteKind,
    /// Offset of the instruction; of the body's first one for the entry.
    pub at: u32,
    /// Offset behind it.
    pub after: u32,
    /// The innermost block around it; for a header the loop itself.
    pub block: u32,
    /// Live locals, ascending.
    pub live: Vec<u32>,
    /// Waiting operands, lowest first.
    pub operands: Vec<Operand>,
    /// What the call gives.
    pub results: Vec<ValType>,
}

impl Site {
    /// The slots that are saved, lowest operand first.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.operands.iter().filter_map(|operand| match operand.source {
            Source::Slot(slot) => Some(slot),
            _ => None,
        })
    }
}

/// After the instruction at `at`, some of the values it pushed are copied into slots.
#[derive(Clone, Debug)]
pub(crate) struct Spill {
    pub at: u32,
    /// All values that the instruction pushed: type, and slot if it needs one.
    pub values: Vec<(ValType, Option<u32>)>,
}

/// The plan of a function.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub function: u32,
    pub signature: Signature,
    /// Types of parameters and declared locals.
    pub locals: Vec<ValType>,
    /// Types of slots; slot `k` is local `locals.len() + k`.
    pub slots: Vec<ValType>,
    pub blocks: Vec<Block>,
    pub sites: Vec<Site>,
    /// Ascending by offset.
    pub spills: Vec<Spill>,
    pub canonical: Canonical,
    /// What a frame takes of the stack, if the function calls others; in bytes of an imagined machine.
    pub frame_bytes: Option<u32>,
    /// Offset of the first instruction.
    pub code_start: u32,
}

impl Plan {
    /// The local that holds a slot.
    pub fn slot_local(&self, slot: u32) -> u32 {
        self.locals.len() as u32 + slot
    }

    /// The blocks around a block, outermost first, itself last, without the function's body.
    pub fn around(&self, mut block: u32) -> Vec<u32> {
        let mut path = Vec::new();
        while block != 0 {
            path.push(block);
            block = self.blocks[block as usize].parent;
        }
        path.reverse();
        path
    }

    /// The values that a frame at this site saves: locals, then slots.
    pub fn saved(&self, site: &Site) -> impl Iterator<Item = (u32, ValType)> + '_ {
        let locals: Vec<_> = site.live.iter().map(|&l| (l, self.locals[l as usize])).collect();
        let slots: Vec<_> =
            site.slots().map(|s| (self.slot_local(s), self.slots[s as usize])).collect();
        locals.into_iter().chain(slots)
    }
}

/// A value on the operand stack while the function is walked through.
#[derive(Clone, Copy)]
struct Entry {
    ty: ValType,
    height: u32,
    below: Option<u32>,
    /// Offset of the instruction that pushed it, and which of its values it is.
    producer: u32,
    place: u16,
    of: u16,
    alias: Option<Source>,
    node: NodeId,
    /// How many loops were open when it was pushed.
    loops: u32,
    forced: bool,
}

/// An open block.
struct Open {
    block: u32,
    /// Entries of the parameters, for the `else`.
    params: Vec<u32>,
    has_else: bool,
}

struct Walk<'a> {
    module: &'a Module,
    entries: Vec<Entry>,
    stack: Vec<u32>,
    open: Vec<Open>,
    loops: u32,
    /// Entries below this height have been looked at by a site and are fine as they are.
    checked: usize,
    blocks: Vec<Block>,
    sites: Vec<Site>,
    /// The topmost waiting operand of each site.
    tops: Vec<Option<u32>>,
    events: Vec<Event>,
    floats: Floats,
    /// Types of parameters and declared locals.
    locals: Vec<ValType>,
    height_max: usize,
    /// Whether there is a call that gives the callee a frame of its own.
    calls: bool,
}

impl Module {
    /// Plans a defined function.
    pub(crate) fn plan(&self, function: u32) -> Result<Plan, TransformError> {
        let body = self.body(function)?;
        let mut validator = self.validator(function)?;
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut reader = wasmparser::OperatorsReader::new(reader);
        let mut locals = Vec::with_capacity(validator.len_locals() as usize);
        for index in 0..validator.len_locals() {
            let ty = validator.get_local_type(index).expect("below the number of locals");
            locals.push(self.val_type(ty)?);
        }
        let signature = self.signature(function).clone();
        let code_start = reader.original_position() as u32;
        let mut walk = Walk {
            module: self,
            entries: Vec::new(),
            stack: Vec::new(),
            open: vec![Open { block: 0, params: Vec::new(), has_else: false }],
            loops: 0,
            checked: 0,
            blocks: vec![Block {
                kind: BlockKind::Block,
                parent: 0,
                start: code_start,
                middle: None,
                end: body.range().end as u32 - 1,
                signature: Signature { params: Vec::new(), results: signature.results.clone() },
                height: 0,
                calls: false,
                header: 0,
            }],
            sites: Vec::new(),
            tops: Vec::new(),
            events: Vec::new(),
            floats: Floats::new(&locals, signature.params.len()),
            locals,
            height_max: 0,
            calls: false,
        };
        walk.add_site(SiteKind::Entry, code_start, code_start, 0, Vec::new());
        // While in unreachable code: how many blocks were opened in it.
        let mut dead: Option<u32> = None;
        while !reader.eof() {
            let at = reader.original_position();
            let op = reader.read()?;
            if let Some(depth) = dead {
                match op {
                    Operator::Block { .. }
                    | Operator::Loop { .. }
                    | Operator::If { .. }
                    | Operator::TryTable { .. } => dead = Some(depth + 1),
                    Operator::End if depth > 0 => dead = Some(depth - 1),
                    Operator::End | Operator::Else if depth == 0 => dead = None,
                    _ => {}
                }
                if dead.is_some() {
                    validator.op(at, &op)?;
                    continue;
                }
            }
            let arity = op.operator_arity(&validator);
            validator.op(at, &op)?;
            let after = reader.original_position() as u32;
            let goes_on = walk.step(&op, at as u32, after, arity, &validator)?;
            if !goes_on {
                dead = Some(0);
            }
        }
        walk.finish(function, signature, code_start)
    }
}

type Validator = wasmparser::FuncValidator<wasmparser::ValidatorResources>;

impl Walk<'_> {
    /// Takes one reachable instruction. `false` if what follows it cannot be reached.
    fn step(
        &mut self,
        op: &Operator<'_>,
        at: u32,
        after: u32,
        arity: Option<(u32, u32)>,
        validator: &Validator,
    ) -> Result<bool, TransformError> {
        let node = self.flow(op, at, arity);
        match *op {
            Operator::Block { blockty } => self.enter(BlockKind::Block, blockty, at)?,
            Operator::TryTable { ref try_table } => {
                let mut targets = Vec::new();
                for catch in &try_table.catches {
                    let (Catch::One { label, .. }
                    | Catch::OneRef { label, .. }
                    | Catch::All { label }
                    | Catch::AllRef { label }) = *catch;
                    targets.push(self.label(label));
                }
                self.enter(BlockKind::TryTable, try_table.ty, at)?;
                let block = self.open.last().expect("it was just opened").block;
                self.events.push(Event::Try { block, targets });
            }
            Operator::If { blockty } => {
                self.pop(1);
                self.enter(BlockKind::If, blockty, at)?;
                let block = self.open.last().expect("it was just opened").block;
                self.events.push(Event::If { block });
            }
            Operator::Loop { blockty } => {
                self.enter(BlockKind::Loop, blockty, at)?;
                let block = self.open.last().expect("it was just opened").block;
                let signature = self.blocks[block as usize].signature.clone();
                // Its parameters may come from the end of the loop as well.
                self.pop(signature.params.len());
                self.loops += 1;
                self.push_all(&signature.params, at);
                self.blocks[block as usize].header = self.sites.len() as u32;
                self.events.push(Event::Loop { block });
                self.add_site(SiteKind::Header, at, after, block, Vec::new());
            }
            Operator::Else => {
                let open = self.open.last_mut().expect("the module is valid");
                open.has_else = true;
                let (block, params) = (open.block, open.params.clone());
                let height = self.blocks[block as usize].height as usize;
                self.blocks[block as usize].middle = Some(at);
                self.truncate(height);
                self.stack.extend(params);
                self.events.push(Event::Else { block });
            }
            Operator::End => {
                let open = self.open.pop().expect("the module is valid");
                let block = &mut self.blocks[open.block as usize];
                block.end = at;
                if block.kind == BlockKind::Loop {
                    self.loops -= 1;
                }
                let (height, results) = (block.height as usize, block.signature.results.clone());
                let without_else = block.kind == BlockKind::If && !open.has_else;
                self.truncate(height);
                self.push_all(&results, at);
                self.events.push(Event::End { block: open.block, without_else });
            }
            Operator::Br { relative_depth } => {
                let target = self.label(relative_depth);
                self.events.push(Event::Br(vec![target]));
                return Ok(false);
            }
            Operator::BrTable { ref targets } => {
                let mut labels = vec![self.label(targets.default())];
                for depth in targets.targets() {
                    labels.push(self.label(depth?));
                }
                labels.sort_unstable();
                labels.dedup();
                self.events.push(Event::Br(labels));
                return Ok(false);
            }
            Operator::BrIf { relative_depth } => {
                self.pop(1);
                let target = self.label(relative_depth);
                self.events.push(Event::BrIf(target));
            }
            Operator::BrOnNull { relative_depth } => {
                self.pop(1);
                let target = self.label(relative_depth);
                self.events.push(Event::BrIf(target));
                let ty = self.type_at(validator, 0)?;
                self.push(ty, at, 0, 1, None, NodeId::EXACT);
            }
            Operator::BrOnNonNull { relative_depth } => {
                self.pop(1);
                let target = self.label(relative_depth);
                self.events.push(Event::BrIf(target));
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => {
                if !matches!(op, Operator::Return | Operator::Unreachable) {
                    self.note_call();
                }
                self.events.push(Event::Br(Vec::new()));
                return Ok(false);
            }
            Operator::Throw { .. } | Operator::ThrowRef => {
                self.events.push(Event::Throw);
                return Ok(false);
            }
            Operator::LocalGet { local_index } => {
                let ty = self.type_at(validator, 0)?;
                self.push(ty, at, 0, 1, Some(Source::Local(local_index)), node);
                self.events.push(Event::Get(local_index));
            }
            Operator::LocalSet { local_index } => {
                self.pop(1);
                self.assigned(local_index);
                self.events.push(Event::Set(local_index));
            }
            Operator::LocalTee { local_index } => {
                self.pop(1);
                self.assigned(local_index);
                let ty = self.type_at(validator, 0)?;
                self.push(ty, at, 0, 1, Some(Source::Local(local_index)), node);
                self.events.push(Event::Set(local_index));
            }
            Operator::I32Const { .. }
            | Operator::I64Const { .. }
            | Operator::F32Const { .. }
            | Operator::F64Const { .. } => {
                let ty = self.type_at(validator, 0)?;
                self.push(ty, at, 0, 1, Some(Source::Const { at }), node);
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                let (kind, ty) = match *op {
                    Operator::Call { function_index } => (
                        SiteKind::Call { function: function_index },
                        self.module.functions[function_index as usize],
                    ),
                    Operator::CallIndirect { type_index, .. } => {
                        (SiteKind::CallIndirect { ty: type_index }, type_index)
                    }
                    Operator::CallRef { type_index } => {
                        (SiteKind::CallRef { ty: type_index }, type_index)
                    }
                    _ => unreachable!("one of the three"),
                };
                let (pops, _) = arity.ok_or(TransformError::Unsupported { what: "a call" })?;
                self.pop(pops as usize);
                self.note_call();
                // A host function has a stack of its own.
                self.calls |= !matches!(*op, Operator::Call { function_index }
                    if function_index < self.module.imported_functions);
                let results = self.module.types[ty as usize].results.clone();
                let block = self.open.last().expect("the module is valid").block;
                self.add_site(kind, at, after, block, results.clone());
                self.push_all(&results, at);
            }
            _ => {
                let (pops, pushes) =
                    arity.ok_or(TransformError::Unsupported { what: "an instruction" })?;
                self.pop(pops as usize);
                for place in 0..pushes {
                    let ty = self.type_at(validator, (pushes - 1 - place) as usize)?;
                    self.push(ty, at, place as u16, pushes as u16, None, node);
                }
            }
        }
        Ok(true)
    }

    fn type_at(&self, validator: &Validator, depth: usize) -> Result<ValType, TransformError> {
        let ty = validator.get_operand_type(depth).flatten();
        self.module.val_type(ty.ok_or(TransformError::Unsupported { what: "an operand's type" })?)
    }

    /// What an instruction does with the floats on the stack; gives what it pushes, if that is one value.
    fn flow(&mut self, op: &Operator<'_>, at: u32, arity: Option<(u32, u32)>) -> NodeId {
        let top = |walk: &Walk<'_>| {
            walk.stack.last().map_or(NodeId::EXACT, |&e| walk.entries[e as usize].node)
        };
        match *op {
            Operator::LocalGet { local_index } => {
                let ty = self.locals[local_index as usize];
                self.floats.get(at, local_index, ty, self.loops)
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                let value = top(self);
                self.floats.set(local_index, value, self.loops);
                value
            }
            // Their parameters stay what they are.
            Operator::Block { .. } | Operator::TryTable { .. } | Operator::If { .. } => {
                NodeId::EXACT
            }
            Operator::Loop { blockty } => {
                // The next iteration's come from somewhere else.
                let params = self.module.block_signature(blockty).map_or(0, |s| s.params.len());
                self.see(params)
            }
            Operator::Else => self.see_results(0),
            Operator::End => {
                let open = self.open.last().expect("the module is valid");
                if self.blocks[open.block as usize].kind == BlockKind::If && !open.has_else {
                    let params = open.params.iter();
                    params.for_each(|&p| self.floats.seen(self.entries[p as usize].node));
                }
                self.see_results(0)
            }
            Operator::Br { relative_depth }
            | Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth } => self.see_results(relative_depth),
            Operator::BrTable { ref targets } => self.see_results(targets.default()),
            Operator::Return => self.see_results(self.open.len() as u32 - 1),
            _ => {
                let pops = arity.map_or(self.stack.len(), |(pops, _)| pops as usize);
                // Only what takes a list of values takes more than three.
                let mut operands = [NodeId::EXACT; 3];
                let Some(operands) = operands.get_mut(..pops) else { return self.see(pops) };
                let first = self.stack.len().saturating_sub(pops);
                for (operand, &entry) in operands.iter_mut().zip(&self.stack[first..]) {
                    *operand = self.entries[entry as usize].node;
                }
                self.floats.instruction(op, at, operands)
            }
        }
    }

    /// What goes to the label of this depth can be seen there.
    fn see_results(&mut self, depth: u32) -> NodeId {
        let block = &self.blocks[self.label(depth).0 as usize];
        let types = match block.kind {
            BlockKind::Loop => &block.signature.params,
            _ => &block.signature.results,
        };
        // One more for the condition that stands above.
        self.see(types.len() + 1)
    }

    /// The bits of so many topmost operands can be seen.
    fn see(&mut self, count: usize) -> NodeId {
        let first = self.stack.len().saturating_sub(count);
        for &entry in &self.stack[first..] {
            self.floats.seen(self.entries[entry as usize].node);
        }
        NodeId::EXACT
    }

    /// The label that a branch of this depth goes to.
    fn label(&self, depth: u32) -> Label {
        let open = &self.open[self.open.len() - 1 - depth as usize];
        Label(open.block)
    }

    fn push(
        &mut self,
        ty: ValType,
        producer: u32,
        place: u16,
        of: u16,
        alias: Option<Source>,
        node: NodeId,
    ) {
        self.entries.push(Entry {
            ty,
            height: self.stack.len() as u32,
            below: self.stack.last().copied(),
            producer,
            place,
            of,
            alias,
            node,
            loops: self.loops,
            forced: false,
        });
        self.stack.push(self.entries.len() as u32 - 1);
        self.height_max = self.height_max.max(self.stack.len());
    }

    fn push_all(&mut self, types: &[ValType], producer: u32) {
        for (place, &ty) in types.iter().enumerate() {
            self.push(ty, producer, place as u16, types.len() as u16, None, NodeId::EXACT);
        }
    }

    fn pop(&mut self, count: usize) {
        self.truncate(self.stack.len() - count);
    }

    fn truncate(&mut self, height: usize) {
        self.stack.truncate(height);
        self.checked = self.checked.min(height);
    }

    fn enter(
        &mut self,
        kind: BlockKind,
        ty: wasmparser::BlockType,
        at: u32,
    ) -> Result<(), TransformError> {
        let signature = self.module.block_signature(ty)?;
        let height = self.stack.len() - signature.params.len();
        let params = self.stack[height..].to_vec();
        let parent = self.open.last().expect("the module is valid").block;
        self.blocks.push(Block {
            kind,
            parent,
            start: at,
            middle: None,
            end: 0,
            signature,
            height: height as u32,
            calls: false,
            header: 0,
        });
        let block = self.blocks.len() as u32 - 1;
        self.open.push(Open { block, params, has_else: false });
        Ok(())
    }

    /// All open loops call.
    fn note_call(&mut self) {
        for open in self.open.iter().rev() {
            let block = &mut self.blocks[open.block as usize];
            if block.calls {
                break;
            }
            block.calls = true;
        }
    }

    /// A local gets another value: operands that are its old value are so no longer.
    fn assigned(&mut self, local: u32) {
        for place in 0..self.stack.len() {
            let entry = &mut self.entries[self.stack[place] as usize];
            if entry.alias == Some(Source::Local(local)) {
                if entry.loops < self.loops {
                    // A site further up in the loop comes after this assignment, too.
                    entry.forced = true;
                } else {
                    entry.alias = None;
                    self.checked = self.checked.min(place);
                }
            }
        }
    }

    fn add_site(&mut self, kind: SiteKind, at: u32, after: u32, block: u32, results: Vec<ValType>) {
        for &entry in &self.stack[self.checked..] {
            let entry = &mut self.entries[entry as usize];
            entry.forced |= entry.alias.is_none();
        }
        self.checked = self.stack.len();
        let site = self.sites.len() as u32;
        self.sites.push(Site {
            number: site,
            kind,
            at,
            after,
            block,
            live: Vec::new(),
            operands: Vec::new(),
            results,
        });
        self.tops.push(self.stack.last().copied());
        self.events.push(Event::Site(site));
    }

    fn finish(
        mut self,
        function: u32,
        signature: Signature,
        code_start: u32,
    ) -> Result<Plan, TransformError> {
        let locals = std::mem::take(&mut self.locals);
        // Slots: two operands at the same height with the same type never wait at the same time.
        let mut slots = Vec::new();
        let mut slot_of: HashMap<(u32, ValType), u32> = HashMap::new();
        let mut spills: BTreeMap<u32, Spill> = BTreeMap::new();
        let mut saved = 0;
        let mut waiting = Vec::with_capacity(self.sites.len());
        for site in 0..self.sites.len() {
            let mut top = self.tops[site];
            let mut operands = Vec::new();
            while let Some(index) = top {
                let entry = self.entries[index as usize];
                let source = match entry.alias {
                    Some(alias) if !entry.forced => alias,
                    _ => {
                        let slot = *slot_of.entry((entry.height, entry.ty)).or_insert_with(|| {
                            slots.push(entry.ty);
                            slots.len() as u32 - 1
                        });
                        let spill = spills.entry(entry.producer).or_insert_with(|| Spill {
                            at: entry.producer,
                            values: vec![(entry.ty, None); usize::from(entry.of)],
                        });
                        spill.values[usize::from(entry.place)] = (entry.ty, Some(slot));
                        self.floats.seen(entry.node);
                        Source::Slot(slot)
                    }
                };
                operands.push((
                    entry.producer,
                    Operand { height: entry.height, source, canonical: None },
                ));
                top = entry.below;
            }
            operands.reverse();
            saved += operands.len();
            check_saved(function, saved)?;
            waiting.push(operands);
        }
        let canonical = self.floats.finish();
        for (site, operands) in self.sites.iter_mut().zip(waiting) {
            let operands = operands.into_iter().map(|(producer, operand)| match operand.source {
                Source::Local(_) => {
                    Operand { canonical: canonical.after.get(&producer).copied(), ..operand }
                }
                Source::Const { .. } | Source::Slot(_) => operand,
            });
            site.operands = operands.collect();
        }
        for spill in spills.values_mut() {
            complete(&self.entries, spill);
        }
        let liveness = Liveness::of(&self.events, locals.len(), self.blocks.len());
        for (index, site) in self.sites.iter_mut().enumerate() {
            let mut live = liveness.at(index as u32);
            if site.kind == SiteKind::Entry {
                // The function is called again: a parameter without a null must be given, even if nobody reads it.
                for (param, ty) in signature.params.iter().enumerate() {
                    if matches!(ty, ValType::Ref(ty) if !ty.nullable) {
                        live.insert(param as u32);
                    }
                }
            }
            for operand in &site.operands {
                if let Source::Local(local) = operand.source {
                    live.insert(local);
                }
            }
            site.live = live.iter().collect();
            if site.kind == SiteKind::Entry {
                // The others still are what they are initialised with.
                site.live.retain(|&local| (local as usize) < signature.params.len());
            }
            saved += site.live.len();
            check_saved(function, saved)?;
        }
        let frame_bytes = self.calls.then(|| frame_bytes(&locals, self.height_max));
        Ok(Plan {
            function,
            signature,
            canonical,
            frame_bytes,
            locals,
            slots,
            blocks: self.blocks,
            sites: self.sites,
            spills: spills.into_values().collect(),
            code_start,
        })
    }
}

/// Fills in the types of the values that need no slot.
fn complete(entries: &[Entry], spill: &mut Spill) {
    if spill.values.len() > 1 {
        // Entries are in the order of the code.
        let first = entries.partition_point(|e| e.producer < spill.at);
        for entry in entries[first..].iter().take_while(|e| e.producer == spill.at) {
            spill.values[usize::from(entry.place)].0 = entry.ty;
        }
    }
}

/// What a frame takes: a part for each call, and room for every value that the function can hold. Native frames are
/// smaller as a rule, but not on every processor: see the engine's native stack.
fn frame_bytes(locals: &[ValType], height_max: usize) -> u32 {
    let wide = locals.iter().filter(|&&ty| ty == ValType::V128).count();
    let bytes = FRAME_BYTES_MIN + 8 * (locals.len() + wide + height_max);
    u32::try_from(bytes).unwrap_or(u32::MAX).min(FRAME_BYTES_MAX)
}

fn check_saved(function: u32, saved: usize) -> Result<(), TransformError> {
    if saved > SAVED_VALUES_MAX {
        return Err(TransformError::TooComplex { function, saved_max: SAVED_VALUES_MAX });
    }
    Ok(())
}
