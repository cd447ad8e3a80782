//! Telling the host of what is read from and written to memory 0: see [`crate::ACCESS`].
//!
//! An access is told before it is made, so also one that traps. What else happens to the operands stays as it was.

use super::atomics::atomic;
use super::{Emitter, Links};
use wasm_encoder::{Instruction, ValType};
use wasmparser::{MemArg, Operator};

/// What an instruction does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Reads so many bytes. The address is the topmost operand.
    Load { bytes: u32, at: MemArg },
    /// Writes so many bytes, or reads a lane of a vector. The address is below the value.
    Below { bytes: u32, at: MemArg, value: ValType, writes: bool },
    /// Writes so many bytes at an address that is below two values.
    Exchange { bytes: u32, at: MemArg, value: ValType },
    /// Destination, source, length.
    Copy { to: u32, from: u32 },
    /// Destination, value or place in a segment, length. A segment's lengths have 32 bits.
    Fill { to: u32, is_init: bool },
}

/// What an instruction does to memory, if anything.
pub(super) fn access(op: &Operator<'_>) -> Option<Access> {
    macro_rules! table {
        (loads: $($load:ident $load_bytes:literal)*; stores: $($store:ident $ty:ident $store_bytes:literal)*;
         lanes: $($lane:ident $lane_bytes:literal $writes:literal)*;) => {
            match *op {
                $(Operator::$load { memarg } => Some(Access::Load { bytes: $load_bytes, at: memarg }),)*
                $(Operator::$store { memarg } => {
                    let value = ValType::$ty;
                    Some(Access::Below { bytes: $store_bytes, at: memarg, value, writes: true })
                })*
                // A lane's vector is above the address, also if it is loaded into.
                $(Operator::$lane { memarg, .. } => Some(Access::Below {
                    bytes: $lane_bytes,
                    at: memarg,
                    value: ValType::V128,
                    writes: $writes,
                }),)*
                Operator::MemoryCopy { dst_mem, src_mem } => {
                    Some(Access::Copy { to: dst_mem, from: src_mem })
                }
                Operator::MemoryFill { mem } => Some(Access::Fill { to: mem, is_init: false }),
                Operator::MemoryInit { mem, .. } => Some(Access::Fill { to: mem, is_init: true }),
                ref other => atomic(other).and_then(|atomic| atomic.access()),
            }
        };
    }
    table! {
        loads: I32Load 4 I64Load 8 F32Load 4 F64Load 8 I32Load8S 1 I32Load8U 1 I32Load16S 2 I32Load16U 2
            I64Load8S 1 I64Load8U 1 I64Load16S 2 I64Load16U 2 I64Load32S 4 I64Load32U 4 V128Load 16
            V128Load8x8S 8 V128Load8x8U 8 V128Load16x4S 8 V128Load16x4U 8 V128Load32x2S 8 V128Load32x2U 8
            V128Load8Splat 1 V128Load16Splat 2 V128Load32Splat 4 V128Load64Splat 8 V128Load32Zero 4
            V128Load64Zero 8;
        stores: I32Store I32 4 I64Store I64 8 F32Store F32 4 F64Store F64 8 I32Store8 I32 1 I32Store16 I32 2
            I64Store8 I64 1 I64Store16 I64 2 I64Store32 I64 4 V128Store V128 16;
        lanes: V128Load8Lane 1 false V128Load16Lane 2 false V128Load32Lane 4 false V128Load64Lane 8 false
            V128Store8Lane 1 true V128Store16Lane 2 true V128Store32Lane 4 true V128Store64Lane 8 true;
    }
}

/// Places of temporaries, behind those of the atomic instructions.
const ADDRESS: usize = 4;
const VALUES: [usize; 2] = [5, 6];

/// The second argument of [`crate::ACCESS`] has this bit set if something is written.
const WRITES: i64 = i64::MIN;

impl<L: Links> Emitter<'_, L> {
    /// Tells the host of an access that is about to be made.
    pub(super) fn tell(&mut self, access: Access) {
        match access {
            Access::Load { bytes, at } => self.tell_at(at, bytes, 0),
            Access::Below { bytes, at, value, writes } => {
                self.keep(VALUES[0], value);
                self.tell_at(at, bytes, if writes { WRITES } else { 0 });
                self.kept(VALUES[0], value);
            }
            Access::Exchange { bytes, at, value } => {
                VALUES.iter().for_each(|&place| self.keep(place, value));
                self.tell_at(at, bytes, WRITES);
                VALUES.iter().rev().for_each(|&place| self.kept(place, value));
            }
            Access::Copy { to, from } => {
                let (len, source) = (self.length_type(to, from), self.address_type_of(from));
                self.keep(VALUES[0], len);
                self.keep(VALUES[1], source);
                self.tell_range(to, len, WRITES);
                self.kept(VALUES[1], source);
                self.tell_range(from, len, 0);
                self.kept(VALUES[0], len);
            }
            Access::Fill { to, is_init } => {
                let len = if is_init { ValType::I32 } else { self.address_type_of(to) };
                self.keep(VALUES[0], len);
                self.keep(VALUES[1], ValType::I32);
                self.tell_range(to, len, WRITES);
                self.kept(VALUES[1], ValType::I32);
                self.kept(VALUES[0], len);
            }
        }
    }

    fn address_type_of(&self, memory: u32) -> ValType {
        let is_64 = self.module.memory_is_64[memory as usize];
        if is_64 { ValType::I64 } else { ValType::I32 }
    }

    /// The type of a copy's length: the smaller one of the memories' addresses.
    fn length_type(&self, to: u32, from: u32) -> ValType {
        match (self.address_type_of(to), self.address_type_of(from)) {
            (ValType::I64, ValType::I64) => ValType::I64,
            _ => ValType::I32,
        }
    }

    /// Leaves the topmost operand, an address, and puts it on the stack once more as 64 bits.
    fn address(&mut self, memory: u32) {
        let ty = self.address_type_of(memory);
        let (local, _) = self.temp(ADDRESS, ty);
        self.put(&Instruction::LocalTee(local));
        self.put(&Instruction::LocalGet(local));
        self.widen(ty);
    }

    fn widen(&mut self, ty: ValType) {
        if ty == ValType::I32 {
            self.put(&Instruction::I64ExtendI32U);
        }
    }

    fn tell_at(&mut self, at: MemArg, bytes: u32, writes: i64) {
        if at.memory != 0 {
            return;
        }
        self.address(0);
        self.put(&Instruction::I64Const(at.offset as i64));
        self.put(&Instruction::I64Add);
        self.put(&Instruction::I64Const(i64::from(bytes) | writes));
        self.call_access();
    }

    /// The length is put aside at the first place.
    fn tell_range(&mut self, memory: u32, len: ValType, writes: i64) {
        if memory != 0 {
            return;
        }
        self.address(memory);
        self.kept(VALUES[0], len);
        self.widen(len);
        if writes != 0 {
            self.put(&Instruction::I64Const(writes));
            self.put(&Instruction::I64Or);
        }
        self.call_access();
    }

    fn call_access(&mut self) {
        let access = self.links.access();
        self.put(&Instruction::Call(access));
    }
}
