//! What is added to a function's own code: ticks, the check after a call, the capture of a frame, copies into slots, the
//! count of the stack, canonical NaNs.
//!
//! The stack is that of an imagined machine on which a frame takes what its plan says, so it ends at the same call on every processor.
//! What is left of it stands in the global `room` when a function is called. The caller keeps its own `room` in a local and shows it to
//! each function that it calls, so nothing has to be put back when one returns or throws. Counted in one variant only.

use super::{Emitter, Helper, Links, Origin, RECORD_HEADER_BYTES, bytes_of, nullable};
use crate::nan::Shape;
use crate::plan::{Site, Spill};
use wasm_encoder::{BlockType, Instruction, MemArg, ValType};

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

    pub(super) fn unlikely_if(&mut self) {
        self.unlikely.push(self.out.len() as u32);
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
        let overflow = self.links.overflow();
        self.put(&Instruction::Call(overflow));
        self.put(&Instruction::Unreachable);
        self.put(&Instruction::End);
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
        self.put(&differ(shape));
        if shape.ty() == ValType::V128 {
            self.put(&Instruction::V128AnyTrue);
        }
        self.unlikely_if();
        self.selected(local, shape);
        self.put(&Instruction::LocalSet(local));
        self.put(&Instruction::End);
    }

    /// A local's value with canonical NaNs, without a branch.
    fn selected(&mut self, local: u32, shape: Shape) {
        let vector = match shape {
            Shape::F32 => {
                self.put(&Instruction::F32Const(f32::from_bits(NAN_F32).into()));
                false
            }
            Shape::F64 => {
                self.put(&Instruction::F64Const(f64::from_bits(NAN_F64).into()));
                false
            }
            Shape::F32x4 => {
                let lane = u128::from(NAN_F32);
                let lanes = lane | lane << 32 | lane << 64 | lane << 96;
                self.put(&Instruction::V128Const(lanes as i128));
                true
            }
            Shape::F64x2 => {
                let lane = u128::from(NAN_F64);
                self.put(&Instruction::V128Const((lane | lane << 64) as i128));
                true
            }
        };
        self.put(&Instruction::LocalGet(local));
        self.put(&Instruction::LocalGet(local));
        self.put(&Instruction::LocalGet(local));
        self.put(&differ(shape));
        self.put(&if vector { Instruction::V128Bitselect } else { Instruction::Select });
    }

    /// Counts an arrival at an entry or a header, and stops there if it is time. `hot` is the local that holds the counter already.
    pub(super) fn tick(&mut self, site: &Site, hot: Option<u32>) {
        self.map_to(site.at, Origin::Added);
        let checked = self.capturable && self.checks.site(site.kind);
        match hot {
            Some(local) => self.put(&Instruction::LocalGet(local)),
            None => self.put(&Instruction::GlobalGet(self.added.left)),
        }
        self.put(&Instruction::I64Const(1));
        self.put(&Instruction::I64Sub);
        let local = match (hot, checked) {
            (Some(local), _) => Some(local),
            (None, true) => Some(self.left()),
            (None, false) => None,
        };
        if let Some(local) = local {
            self.put(&Instruction::LocalTee(local));
        }
        self.put(&Instruction::GlobalSet(self.added.left));
        let (Some(local), true) = (local, checked) else { return };
        self.put(&Instruction::LocalGet(local));
        self.put(&Instruction::I64Const(0));
        self.put(&Instruction::I64LeS);
        self.unlikely_if();
        let poll = self.links.poll();
        self.put(&Instruction::Call(poll));
        self.put(&Instruction::GlobalGet(self.added.state));
        self.unlikely_if();
        self.capture(site);
        self.put(&Instruction::End);
        if hot.is_some() {
            self.put(&Instruction::GlobalGet(self.added.left));
            self.put(&Instruction::LocalSet(local));
        }
        self.put(&Instruction::End);
    }

    /// After a call: unwinds if the flag says so.
    pub(super) fn check(&mut self, site: &Site) {
        if self.capturable && self.checks.site(site.kind) {
            self.put(&Instruction::GlobalGet(self.added.state));
            self.unlikely_if();
            self.capture(site);
            self.put(&Instruction::End);
        }
    }

    /// Appends this frame's record and returns.
    pub(super) fn capture(&mut self, site: &Site) {
        let pointer = self.pointer();
        self.put(&Instruction::GlobalGet(self.added.sp));
        self.put(&Instruction::LocalTee(pointer));
        let header = i64::from(self.plan.function) | i64::from(site.number) << 32;
        self.put(&Instruction::I64Const(header));
        let memarg = self.memarg(0);
        self.put(&Instruction::I64Store(memarg));
        let mut offset = RECORD_HEADER_BYTES;
        for (local, ty) in self.plan.saved(site) {
            if let ValType::Ref(ty) = ty {
                self.get(local);
                let save = self.links.helper(Helper::Save(nullable(ty)));
                self.put(&Instruction::Call(save));
                continue;
            }
            self.put(&Instruction::LocalGet(pointer));
            match self.plan.canonical.locals.get(local as usize) {
                Some(Some(shape)) => self.selected(self.local(local), *shape),
                _ => self.get(local),
            }
            let memarg = self.memarg(offset);
            self.put(&match ty {
                ValType::I32 => Instruction::I32Store(memarg),
                ValType::I64 => Instruction::I64Store(memarg),
                ValType::F32 => Instruction::F32Store(memarg),
                ValType::F64 => Instruction::F64Store(memarg),
                _ => Instruction::V128Store(memarg),
            });
            offset += bytes_of(ty);
        }
        self.advance(pointer, offset);
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

/// The canonical NaNs: positive, quiet, without a payload (specification, section 2.2.3).
const NAN_F32: u32 = 0x7fc0_0000;
const NAN_F64: u64 = 0x7ff8_0000_0000_0000;

/// What is true where two values differ, and so where one that is compared with itself is a NaN.
fn differ(shape: Shape) -> Instruction<'static> {
    match shape {
        Shape::F32 => Instruction::F32Ne,
        Shape::F64 => Instruction::F64Ne,
        Shape::F32x4 => Instruction::F32x4Ne,
        Shape::F64x2 => Instruction::F64x2Ne,
    }
}
