//! What is added to a function's own code: ticks, the check after a call, the capture of a frame, copies into slots, the
//! count of the stack, canonical NaNs.
//!
//! The stack is that of an imagined machine on which a frame takes what its plan says, so it ends at the same call on every processor.
//! What is left of it stands in the global `room` when a function is called. The caller keeps its own `room` in a local and shows it to
//! each function that it calls, so nothing has to be put back when one returns or throws. Counted in one variant only.

use super::{Added, Emitter, Helper, Links, Origin, STACK_BYTES_MIN, bytes_of, nullable};
use crate::HostTrap;
use crate::imports::{LOOK_PASSAGES, LOOK_TICKS};
use crate::nan::Shape;
use crate::plan::{Site, Spill};
use wasm_encoder::{BlockType, Function, Instruction, MemArg, ValType};

impl<L: Links> Emitter<'_, L> {
    pub(super) fn memarg(&self, offset: u32) -> MemArg {
        MemArg { offset: u64::from(offset), align: 0, memory_index: self.added.stack }
    }

    pub(super) fn advance(&mut self, pointer: u32, bytes: u32) {
        self.put(&Instruction::LocalGet(pointer));
        self.put(&Instruction::I32Const(bytes as i32));
        self.put(&Instruction::I32Add);
        self.put(&Instruction::GlobalSet(self.added.sp));
    }

    /// Whether the branch that is written next is taken, as a rule.
    fn hint(&mut self, taken: bool) {
        self.hints.push((self.out.len() as u32, taken));
    }

    pub(super) fn unlikely_if(&mut self) {
        self.hint(false);
        self.put(&Instruction::If(BlockType::Empty));
    }

    /// The frame takes its part of the stack.
    pub(super) fn take_room(&mut self) {
        let Some(bytes) = self.plan.frame_bytes.filter(|_| self.checks.stack()) else { return };
        let local = self.new_local(ValType::I32);
        self.room = Some((local, bytes));
        self.put(&Instruction::GlobalGet(self.added.room));
        self.put(&Instruction::I32Const(bytes as i32));
        self.put(&Instruction::I32Sub);
        self.put(&Instruction::LocalSet(local));
    }

    /// Traps if there was not that much.
    pub(super) fn check_room(&mut self) {
        let Some((local, _)) = self.room else { return };
        self.put(&Instruction::LocalGet(local));
        self.put(&Instruction::I32Const(0));
        self.put(&Instruction::I32LtS);
        self.unlikely_if();
        self.trap(HostTrap::StackExhausted);
        self.put(&Instruction::End);
    }

    /// Ends the guest.
    pub(super) fn trap(&mut self, why: HostTrap) {
        self.put(&Instruction::I32Const(why.code()));
        let trap = self.links.trap();
        self.put(&Instruction::Call(trap));
        self.put(&Instruction::Unreachable);
    }

    /// Before a call: what is left for the callee.
    pub(super) fn show_room(&mut self) {
        if let Some((local, _)) = self.room {
            self.put(&Instruction::LocalGet(local));
            self.put(&Instruction::GlobalSet(self.added.room));
        }
    }

    /// Before a tail call: the callee's frame takes the place of this one.
    pub(super) fn give_room_back(&mut self) {
        if let Some((local, bytes)) = self.room {
            self.put(&Instruction::LocalGet(local));
            self.put(&Instruction::I32Const(bytes as i32));
            self.put(&Instruction::I32Add);
            self.put(&Instruction::GlobalSet(self.added.room));
        }
    }

    /// If the topmost value holds NaNs, they become canonical.
    pub(super) fn make_canonical(&mut self, shape: Shape) {
        let (local, _) = self.temp(0, shape.ty());
        self.put(&Instruction::LocalSet(local));
        self.correct(local, shape);
        self.put(&Instruction::LocalGet(local));
    }

    /// As [`Emitter::make_canonical`] for a local that was just read: it stays canonical.
    pub(super) fn make_local_canonical(&mut self, original: u32, shape: Shape) {
        let local = self.local(original);
        self.put(&Instruction::LocalSet(local));
        self.correct(local, shape);
        self.put(&Instruction::LocalGet(local));
    }

    /// A branch that is not taken, instead of a selection: nothing has to wait for its outcome.
    fn correct(&mut self, local: u32, shape: Shape) {
        self.put(&Instruction::LocalGet(local));
        self.put(&Instruction::LocalGet(local));
        match shape {
            Shape::F32 | Shape::F64 => {
                // "Not less" than itself: on x86-64 one jump, where "not equal" would be two.
                let number =
                    if shape == Shape::F32 { Instruction::F32Ge } else { Instruction::F64Ge };
                self.put(&number);
                self.hint(true);
                self.put(&Instruction::If(BlockType::Empty));
                self.put(&Instruction::Else);
                self.put(&nan(shape));
            }
            Shape::F32x4 | Shape::F64x2 => {
                self.put(&differ(shape));
                self.put(&Instruction::V128AnyTrue);
                self.unlikely_if();
                self.selected(local, shape);
            }
        }
        self.put(&Instruction::LocalSet(local));
        self.put(&Instruction::End);
    }

    /// A local's value with canonical NaNs, without a branch.
    fn selected(&mut self, local: u32, shape: Shape) {
        self.put(&nan(shape));
        self.put(&Instruction::LocalGet(local));
        self.put(&Instruction::LocalGet(local));
        self.put(&Instruction::LocalGet(local));
        self.put(&differ(shape));
        let vector = shape.ty() == ValType::V128;
        self.put(&if vector { Instruction::V128Bitselect } else { Instruction::Select });
    }

    /// Counts an arrival at an entry or a header, and stops there if it is time. `hot` is the local that holds the counter already.
    pub(super) fn tick(&mut self, site: &Site, hot: Option<u32>) {
        self.map_to(site.at, Origin::Added);
        let checked = self.is_checked(site);
        // Without a capture the host can only trap.
        let polled = checked || self.checks.tells_accesses() || self.checks.feedback().is_some();
        match hot {
            Some(local) => self.put(&Instruction::LocalGet(local)),
            None => self.put(&Instruction::GlobalGet(self.added.left)),
        }
        self.put(&Instruction::I64Const(1));
        self.put(&Instruction::I64Sub);
        let local = match (hot, polled) {
            (Some(local), _) => Some(local),
            (None, true) => Some(self.left()),
            (None, false) => None,
        };
        if let Some(local) = local {
            self.put(&Instruction::LocalTee(local));
        }
        self.put(&Instruction::GlobalSet(self.added.left));
        let (Some(local), true) = (local, polled) else { return };
        self.put(&Instruction::LocalGet(local));
        self.put(&Instruction::I64Const(0));
        self.put(&Instruction::I64LeS);
        if self.is_looked_at(site) {
            self.look_or_poll(site, local);
        } else {
            self.unlikely_if();
            let poll = self.links.poll();
            self.put(&Instruction::Call(poll));
        }
        if checked {
            self.capture_if_stopped(site);
        }
        if hot.is_some() {
            self.put(&Instruction::GlobalGet(self.added.left));
            self.put(&Instruction::LocalSet(local));
        }
        self.put(&Instruction::End);
    }

    /// The local that a site shows if it is a passage.
    fn passage(&self, site: &Site) -> Option<u32> {
        self.module.passages.get(&(self.plan.function, site.at)).copied()
    }

    /// Whether the run can be looked at at a site.
    pub(super) fn is_looked_at(&self, site: &Site) -> bool {
        self.checks.looks(self.passage(site).is_some())
    }

    /// Behind the comparison of the counter: opens an `if` in which the site is looked at.
    fn look_or_poll(&mut self, site: &Site, left: u32) {
        let function = self.plan.function;
        let passage = self.passage(site);
        let kinds = if passage.is_some() { LOOK_PASSAGES | LOOK_TICKS } else { LOOK_TICKS };
        let wanted = [
            Instruction::GlobalGet(self.added.looking),
            Instruction::I32Const(kinds),
            Instruction::I32And,
        ];
        wanted.iter().for_each(|instruction| self.put(instruction));
        self.put(&Instruction::I32Or);
        self.unlikely_if();
        let key = i64::from(function) | i64::from(site.number) << 32;
        self.put(&Instruction::I64Const(key));
        self.put(&Instruction::LocalGet(left));
        wanted.iter().for_each(|instruction| self.put(instruction));
        let is_number = |local: &u32| self.plan.locals.get(*local as usize) == Some(&ValType::I32);
        match passage.filter(is_number) {
            Some(local) => self.get(local),
            None => self.put(&Instruction::I32Const(0)),
        }
        let look = self.links.look();
        self.put(&Instruction::Call(look));
    }

    /// Whether a capture can happen at a site.
    pub(super) fn is_checked(&self, site: &Site) -> bool {
        self.capturable && self.checks.site(site.kind)
    }

    /// What stands around a loop without calls, so that the call of `poll` stands outside of it:
    ///
    /// ```text
    /// block $done
    ///   loop $again
    ///     block $poll
    ///       the loop: at its header counts, and leaves to $poll if it is time
    ///       br $done
    ///     end
    ///     put away the floats; poll; get them back; capture if it is to stop
    ///     the counter plus one, because the header is to be arrived at once more
    ///     br $again
    ///   end
    /// end
    /// ```
    ///
    /// A call takes the registers from all that lives across it, as rare as it is. So it stands outside of the loop, and no floats
    /// live across it: the usual conventions keep none of their registers, but some of those for integers. What was put away
    /// is at the beginning of the memory of records, which nobody needs while a guest runs.
    pub(super) fn open_poll_outside(&mut self, block: u32) {
        let results = self.block(block).signature.results.clone();
        let results = self.links.block_type(&results);
        self.put(&Instruction::Block(results));
        self.put(&Instruction::Loop(BlockType::Empty));
        self.put(&Instruction::Block(BlockType::Empty));
        self.height += WRAPPING_BLOCKS;
    }

    /// The header's part of [`Emitter::open_poll_outside`].
    pub(super) fn tick_inside(&mut self, site: &Site, left: u32) {
        const POLL: u32 = 1;
        self.map_to(site.at, Origin::Added);
        self.put(&Instruction::LocalGet(left));
        self.put(&Instruction::I64Const(1));
        self.put(&Instruction::I64Sub);
        self.put(&Instruction::LocalTee(left));
        self.put(&Instruction::GlobalSet(self.added.left));
        self.put(&Instruction::LocalGet(left));
        self.put(&Instruction::I64Const(0));
        self.put(&Instruction::I64LeS);
        self.hint(false);
        self.put(&Instruction::BrIf(POLL));
    }

    /// What stands behind the loop.
    pub(super) fn close_poll_outside(&mut self, block: u32) {
        const DONE: u32 = 2;
        const AGAIN: u32 = 0;
        self.put(&Instruction::Br(DONE));
        self.put(&Instruction::End);
        let site = &self.plan.sites[self.block(block).header as usize];
        self.map_to(site.at, Origin::Added);
        self.put_away(site);
        let poll = self.links.poll();
        self.put(&Instruction::Call(poll));
        self.get_back(site);
        if self.is_checked(site) {
            self.capture_if_stopped(site);
        }
        let left = self.left();
        self.put(&Instruction::GlobalGet(self.added.left));
        self.put(&Instruction::I64Const(1));
        self.put(&Instruction::I64Add);
        self.put(&Instruction::LocalSet(left));
        self.put(&Instruction::Br(AGAIN));
        self.put(&Instruction::End);
        self.put(&Instruction::Unreachable);
        self.put(&Instruction::End);
        self.height -= WRAPPING_BLOCKS;
    }

    /// Whether [`Emitter::put_away`] can be done at a site.
    pub(super) fn can_be_put_away(&self, site: &Site) -> bool {
        self.floats(site).map(|(_, ty)| bytes_of(ty)).sum::<u32>() <= STACK_BYTES_MIN
    }

    /// The values of [`Plan::saved`](crate::plan::Plan::saved) that are in registers for floats.
    fn floats(&self, site: &Site) -> impl Iterator<Item = (u32, ValType)> + 'static {
        let float = |ty: &ValType| matches!(ty, ValType::F32 | ValType::F64 | ValType::V128);
        self.plan.saved(site).filter(move |(_, ty)| float(ty)).collect::<Vec<_>>().into_iter()
    }

    fn put_away(&mut self, site: &Site) {
        let mut offset = 0;
        for (local, ty) in self.floats(site) {
            self.put(&Instruction::I32Const(0));
            self.get(local);
            let memarg = self.memarg(offset);
            self.put(&store(ty, memarg));
            offset += bytes_of(ty);
        }
    }

    fn get_back(&mut self, site: &Site) {
        let mut offset = 0;
        for (local, ty) in self.floats(site) {
            self.put(&Instruction::I32Const(0));
            let memarg = self.memarg(offset);
            self.put(&load(ty, memarg));
            self.set(local);
            offset += bytes_of(ty);
        }
    }

    fn capture_if_stopped(&mut self, site: &Site) {
        self.put(&Instruction::GlobalGet(self.added.state));
        self.unlikely_if();
        self.capture(site);
        self.put(&Instruction::End);
    }

    /// After a call: unwinds if the flag says so.
    pub(super) fn check(&mut self, site: &Site) {
        if self.is_checked(site) {
            self.capture_if_stopped(site);
        }
    }

    /// Calls a helper. Its index is padded to three bytes, so the offset map of a function does not
    /// depend on how many helpers the module has.
    fn call_helper(&mut self, helper: Helper) {
        const CALL: u8 = 0x10;
        // Three bytes hold 21 bits, and the engine takes at most a million functions.
        let index = self.links.helper(helper);
        let part = |shift: u32| (index >> shift & 0x7f) as u8;
        self.out.extend([CALL, part(0) | 0x80, part(7) | 0x80, part(14)]);
    }

    /// Appends this frame's record and returns. Each site has a copy of this code, so it is kept
    /// short: the helpers that store the values are shared by the whole module.
    pub(super) fn capture(&mut self, site: &Site) {
        self.put(&Instruction::I32Const(self.plan.function as i32));
        self.put(&Instruction::I32Const(site.number as i32));
        self.call_helper(Helper::Header);
        let saved: Vec<(u32, ValType)> = self.plan.saved(site).collect();
        for (ty, run) in runs_of(&saved) {
            for &(local, _) in run {
                match self.plan.canonical.locals.get(local as usize) {
                    Some(Some(shape)) => self.selected(self.local(local), *shape),
                    _ => self.get(local),
                }
            }
            match ty {
                ValType::Ref(ty) => {
                    let save = self.links.helper(Helper::Save(nullable(ty)));
                    self.put(&Instruction::Call(save));
                }
                ty => self.call_helper(Helper::Numbers(ty, run.len() as u32)),
            }
        }
        for ty in self.plan.signature.results.clone() {
            match ty {
                ValType::I32 => self.put(&Instruction::I32Const(0)),
                ValType::I64 => self.put(&Instruction::I64Const(0)),
                ValType::F32 => self.put(&Instruction::F32Const(0.0.into())),
                ValType::F64 => self.put(&Instruction::F64Const(0.0.into())),
                ValType::V128 => self.put(&Instruction::V128Const(0)),
                ValType::Ref(ty) if ty.nullable => self.put(&Instruction::RefNull(ty.heap_type)),
                ValType::Ref(ty) => {
                    let zero = self.links.helper(Helper::Zero(ty));
                    self.put(&Instruction::Call(zero));
                }
            }
        }
        self.put(&Instruction::Return);
    }

    /// Copies what the instruction at `at` pushed into slots.
    pub(super) fn spill_at(&mut self, at: u32) {
        let index = self.plan.spills.partition_point(|spill| spill.at < at);
        if let Some(spill) = self.plan.spills.get(index).filter(|spill| spill.at == at) {
            self.spill(spill);
        }
    }

    pub(super) fn spill(&mut self, spill: &Spill) {
        if let [(_, Some(slot))] = spill.values[..] {
            let local = self.local(self.plan.slot_local(slot));
            self.put(&Instruction::LocalTee(local));
            if self.weakened.get(local as usize) == Some(&true) {
                self.put(&Instruction::RefAsNonNull);
            }
            return;
        }
        let Some(first) = spill.values.iter().position(|(_, slot)| slot.is_some()) else { return };
        let places: Vec<(u32, bool)> = (first..spill.values.len())
            .map(|place| match spill.values[place] {
                (_, Some(slot)) => {
                    let local = self.local(self.plan.slot_local(slot));
                    (local, self.weakened.get(local as usize) == Some(&true))
                }
                (ty, None) => self.temp(place, ty),
            })
            .collect();
        for (local, _) in places.iter().rev() {
            self.put(&Instruction::LocalSet(*local));
        }
        for (local, weakened) in places {
            self.put(&Instruction::LocalGet(local));
            if weakened {
                self.put(&Instruction::RefAsNonNull);
            }
        }
    }

    pub(super) fn temp(&mut self, place: usize, ty: ValType) -> (u32, bool) {
        let (declared, weakened) = match ty {
            ValType::Ref(r) if !r.nullable => (ValType::Ref(nullable(r)), true),
            other => (other, false),
        };
        if let Some(&local) = self.temps.get(&(place, ty)) {
            return (local, weakened);
        }
        let local = self.new_local(declared);
        self.temps.insert((place, ty), local);
        (local, weakened)
    }
}

/// The most numbers that one helper call appends to a record.
pub(crate) const RUN_MAX: usize = 8;

/// Splits saved values into runs that one helper call appends to a record: up to [`RUN_MAX`] numbers
/// of the same type, or one reference.
pub(crate) fn runs_of(
    saved: &[(u32, ValType)],
) -> impl Iterator<Item = (ValType, &[(u32, ValType)])> {
    let together = |a: &(u32, ValType), b: &(u32, ValType)| a.1 == b.1;
    saved.chunk_by(together).flat_map(|chunk| {
        let ty = chunk[0].1;
        let most = if matches!(ty, ValType::Ref(_)) { 1 } else { RUN_MAX };
        chunk.chunks(most).map(move |run| (ty, run))
    })
}

/// The body of [`Helper::Header`] or [`Helper::Numbers`]: appends its parameters to the records.
pub(crate) fn append_body(added: Added, ty: ValType, count: u32) -> Function {
    let pointer = count;
    let mut body = Function::new([(1, ValType::I32)]);
    body.instruction(&Instruction::GlobalGet(added.sp));
    body.instruction(&Instruction::LocalSet(pointer));
    for param in 0..count {
        let offset = u64::from(param * bytes_of(ty));
        body.instruction(&Instruction::LocalGet(pointer));
        body.instruction(&Instruction::LocalGet(param));
        body.instruction(&store(ty, MemArg { offset, align: 0, memory_index: added.stack }));
    }
    body.instruction(&Instruction::LocalGet(pointer));
    body.instruction(&Instruction::I32Const((count * bytes_of(ty)) as i32));
    body.instruction(&Instruction::I32Add);
    body.instruction(&Instruction::GlobalSet(added.sp));
    body.instruction(&Instruction::End);
    body
}

/// Stores a number.
fn store(ty: ValType, memarg: MemArg) -> Instruction<'static> {
    match ty {
        ValType::I32 => Instruction::I32Store(memarg),
        ValType::I64 => Instruction::I64Store(memarg),
        ValType::F32 => Instruction::F32Store(memarg),
        ValType::F64 => Instruction::F64Store(memarg),
        ValType::V128 => Instruction::V128Store(memarg),
        ValType::Ref(_) => unreachable!("references are kept in tables"),
    }
}

/// Loads a number.
pub(super) fn load(ty: ValType, memarg: MemArg) -> Instruction<'static> {
    match ty {
        ValType::I32 => Instruction::I32Load(memarg),
        ValType::I64 => Instruction::I64Load(memarg),
        ValType::F32 => Instruction::F32Load(memarg),
        ValType::F64 => Instruction::F64Load(memarg),
        ValType::V128 => Instruction::V128Load(memarg),
        ValType::Ref(_) => unreachable!("references are kept in tables"),
    }
}

/// How many blocks [`Emitter::open_poll_outside`] opens.
const WRAPPING_BLOCKS: u32 = 3;

/// The canonical NaNs: positive, quiet, without a payload (specification, section 2.2.3).
const NAN_F32: u32 = 0x7fc0_0000;
const NAN_F64: u64 = 0x7ff8_0000_0000_0000;

/// The canonical NaN, in all lanes.
fn nan(shape: Shape) -> Instruction<'static> {
    let narrow = u128::from(NAN_F32);
    let wide = u128::from(NAN_F64);
    match shape {
        Shape::F32 => Instruction::F32Const(f32::from_bits(NAN_F32).into()),
        Shape::F64 => Instruction::F64Const(f64::from_bits(NAN_F64).into()),
        Shape::F32x4 => {
            Instruction::V128Const((narrow | narrow << 32 | narrow << 64 | narrow << 96) as i128)
        }
        Shape::F64x2 => Instruction::V128Const((wide | wide << 64) as i128),
    }
}

/// What is true where two values differ, and so where one that is compared with itself is a NaN.
fn differ(shape: Shape) -> Instruction<'static> {
    match shape {
        Shape::F32 => Instruction::F32Ne,
        Shape::F64 => Instruction::F64Ne,
        Shape::F32x4 => Instruction::F32x4Ne,
        Shape::F64x2 => Instruction::F64x2Ne,
    }
}
