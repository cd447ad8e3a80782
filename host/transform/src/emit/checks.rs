//! What is added to a function's own code: ticks, the check after a call, the capture of a frame, copies into slots.

use super::{Emitter, Helper, Links, Origin, RECORD_HEADER_BYTES, bytes_of, nullable};
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
            self.get(local);
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
