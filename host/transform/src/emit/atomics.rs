//! Atomic instructions (threads proposal) as plain ones.
//!
//! A guest has one thread and no shared memory, and is never stopped within an instruction, so every access is atomic. What is left of
//! the instructions is that they want an aligned address. Not all engines have them: wasmtime's interpreter has none.

use super::accesses::Access;
use super::{Emitter, Links};
use crate::HostTrap;
use wasm_encoder::{BlockType, Instruction, MemArg, ValType};
use wasmparser::Operator;

/// What an instruction does at its address.
#[derive(Clone, Copy, Debug)]
enum Action {
    Load,
    Store,
    /// Stores what this gives for the old value and the operand; gives the old value.
    Change(Binary),
    Exchange,
    CompareExchange,
    Notify,
    Wait,
}

use Action::{Change, CompareExchange, Exchange, Load, Notify, Store, Wait};

#[derive(Clone, Copy, Debug)]
enum Binary {
    Add,
    Sub,
    And,
    Or,
    Xor,
}

use Binary::{Add, And, Or, Sub, Xor};

/// An atomic instruction on a memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atomic {
    action: Action,
    /// The type of its operands and its result.
    ty: ValType,
    /// How much it loads and stores; what it loads is extended with zeros.
    bytes: u32,
    memarg: wasmparser::MemArg,
}

/// An instruction as an atomic one, if it is one that uses a memory.
pub(super) fn atomic(op: &Operator<'_>) -> Option<Atomic> {
    macro_rules! table {
        ($($name:ident $action:expr, $ty:ident, $bytes:literal;)*) => {
            match *op {
                $(Operator::$name { memarg } => {
                    Some(Atomic { action: $action, ty: ValType::$ty, bytes: $bytes, memarg })
                })*
                _ => None,
            }
        };
    }
    table! {
        I32AtomicLoad Load, I32, 4;
        I32AtomicLoad16U Load, I32, 2;
        I32AtomicLoad8U Load, I32, 1;
        I64AtomicLoad Load, I64, 8;
        I64AtomicLoad32U Load, I64, 4;
        I64AtomicLoad16U Load, I64, 2;
        I64AtomicLoad8U Load, I64, 1;
        I32AtomicStore Store, I32, 4;
        I32AtomicStore16 Store, I32, 2;
        I32AtomicStore8 Store, I32, 1;
        I64AtomicStore Store, I64, 8;
        I64AtomicStore32 Store, I64, 4;
        I64AtomicStore16 Store, I64, 2;
        I64AtomicStore8 Store, I64, 1;
        I32AtomicRmwAdd Change(Add), I32, 4;
        I32AtomicRmw16AddU Change(Add), I32, 2;
        I32AtomicRmw8AddU Change(Add), I32, 1;
        I64AtomicRmwAdd Change(Add), I64, 8;
        I64AtomicRmw32AddU Change(Add), I64, 4;
        I64AtomicRmw16AddU Change(Add), I64, 2;
        I64AtomicRmw8AddU Change(Add), I64, 1;
        I32AtomicRmwSub Change(Sub), I32, 4;
        I32AtomicRmw16SubU Change(Sub), I32, 2;
        I32AtomicRmw8SubU Change(Sub), I32, 1;
        I64AtomicRmwSub Change(Sub), I64, 8;
        I64AtomicRmw32SubU Change(Sub), I64, 4;
        I64AtomicRmw16SubU Change(Sub), I64, 2;
        I64AtomicRmw8SubU Change(Sub), I64, 1;
        I32AtomicRmwAnd Change(And), I32, 4;
        I32AtomicRmw16AndU Change(And), I32, 2;
        I32AtomicRmw8AndU Change(And), I32, 1;
        I64AtomicRmwAnd Change(And), I64, 8;
        I64AtomicRmw32AndU Change(And), I64, 4;
        I64AtomicRmw16AndU Change(And), I64, 2;
        I64AtomicRmw8AndU Change(And), I64, 1;
        I32AtomicRmwOr Change(Or), I32, 4;
        I32AtomicRmw16OrU Change(Or), I32, 2;
        I32AtomicRmw8OrU Change(Or), I32, 1;
        I64AtomicRmwOr Change(Or), I64, 8;
        I64AtomicRmw32OrU Change(Or), I64, 4;
        I64AtomicRmw16OrU Change(Or), I64, 2;
        I64AtomicRmw8OrU Change(Or), I64, 1;
        I32AtomicRmwXor Change(Xor), I32, 4;
        I32AtomicRmw16XorU Change(Xor), I32, 2;
        I32AtomicRmw8XorU Change(Xor), I32, 1;
        I64AtomicRmwXor Change(Xor), I64, 8;
        I64AtomicRmw32XorU Change(Xor), I64, 4;
        I64AtomicRmw16XorU Change(Xor), I64, 2;
        I64AtomicRmw8XorU Change(Xor), I64, 1;
        I32AtomicRmwXchg Exchange, I32, 4;
        I32AtomicRmw16XchgU Exchange, I32, 2;
        I32AtomicRmw8XchgU Exchange, I32, 1;
        I64AtomicRmwXchg Exchange, I64, 8;
        I64AtomicRmw32XchgU Exchange, I64, 4;
        I64AtomicRmw16XchgU Exchange, I64, 2;
        I64AtomicRmw8XchgU Exchange, I64, 1;
        I32AtomicRmwCmpxchg CompareExchange, I32, 4;
        I32AtomicRmw16CmpxchgU CompareExchange, I32, 2;
        I32AtomicRmw8CmpxchgU CompareExchange, I32, 1;
        I64AtomicRmwCmpxchg CompareExchange, I64, 8;
        I64AtomicRmw32CmpxchgU CompareExchange, I64, 4;
        I64AtomicRmw16CmpxchgU CompareExchange, I64, 2;
        I64AtomicRmw8CmpxchgU CompareExchange, I64, 1;
        MemoryAtomicNotify Notify, I32, 4;
        MemoryAtomicWait32 Wait, I32, 4;
        MemoryAtomicWait64 Wait, I64, 8;
    }
}

impl Atomic {
    /// What it does to memory, if it does not trap; all but loads are taken for writes.
    pub(super) fn access(self) -> Option<Access> {
        let Atomic { action, ty: value, bytes, memarg: at } = self;
        Some(match action {
            Load => Access::Load { bytes, at },
            Store | Change(_) | Exchange | Notify => {
                Access::Below { bytes, at, value, writes: true }
            }
            CompareExchange => Access::Exchange { bytes, at, value },
            Wait => return None,
        })
    }
}

impl<L: Links> Emitter<'_, L> {
    pub(super) fn atomic(&mut self, atomic: Atomic) {
        const OLD: usize = 3;
        let Atomic { action, ty, .. } = atomic;
        // The operands above the address, topmost first.
        match action {
            Load => {}
            Store | Change(_) | Exchange => self.keep(1, ty),
            CompareExchange => {
                self.keep(2, ty);
                self.keep(1, ty);
            }
            Notify => self.put(&Instruction::Drop),
            Wait => {
                self.put(&Instruction::Drop);
                self.put(&Instruction::Drop);
            }
        }
        let address_type = self.address_type(atomic);
        self.keep(0, address_type);
        self.check_alignment(atomic);
        match action {
            Load => self.load(atomic),
            Store => {
                self.kept(0, address_type);
                self.kept(1, ty);
                self.store(atomic);
            }
            Change(binary) => {
                self.kept(0, address_type);
                self.load(atomic);
                let (old, _) = self.temp(OLD, ty);
                self.put(&Instruction::LocalTee(old));
                self.kept(1, ty);
                self.put(&instruction(binary, ty));
                self.store(atomic);
                self.kept(OLD, ty);
            }
            Exchange => {
                self.load(atomic);
                self.kept(0, address_type);
                self.kept(1, ty);
                self.store(atomic);
            }
            CompareExchange => {
                self.load(atomic);
                let (old, _) = self.temp(OLD, ty);
                self.put(&Instruction::LocalTee(old));
                self.kept(1, ty);
                self.wrap(atomic);
                self.put(if ty == ValType::I64 {
                    &Instruction::I64Eq
                } else {
                    &Instruction::I32Eq
                });
                self.put(&Instruction::If(BlockType::Empty));
                self.kept(0, address_type);
                self.kept(2, ty);
                self.store(atomic);
                self.put(&Instruction::End);
                self.kept(OLD, ty);
            }
            Notify => {
                // Nobody waits, but the address has to be one.
                self.load(atomic);
                self.put(&Instruction::Drop);
                self.put(&Instruction::I32Const(0));
            }
            Wait => {
                self.load(atomic);
                self.put(&Instruction::Drop);
                self.trap(HostTrap::WaitOnUnsharedMemory);
            }
        }
    }

    fn address_type(&self, atomic: Atomic) -> ValType {
        let is_64 = self.module.memory_is_64[atomic.memarg.memory as usize];
        if is_64 { ValType::I64 } else { ValType::I32 }
    }

    /// Takes an operand from the stack.
    pub(super) fn keep(&mut self, place: usize, ty: ValType) {
        let (local, _) = self.temp(place, ty);
        self.put(&Instruction::LocalSet(local));
    }

    pub(super) fn kept(&mut self, place: usize, ty: ValType) {
        let (local, _) = self.temp(place, ty);
        self.put(&Instruction::LocalGet(local));
    }

    /// Traps if the address that is kept is not a multiple of what is accessed there.
    fn check_alignment(&mut self, atomic: Atomic) {
        if atomic.bytes == 1 {
            return;
        }
        let mask = u64::from(atomic.bytes) - 1;
        let offset = atomic.memarg.offset & mask;
        let ty = self.address_type(atomic);
        self.kept(0, ty);
        if ty == ValType::I64 {
            self.put(&Instruction::I64Const(offset as i64));
            self.put(&Instruction::I64Add);
            self.put(&Instruction::I64Const(mask as i64));
            self.put(&Instruction::I64And);
            self.put(&Instruction::I64Const(0));
            self.put(&Instruction::I64Ne);
        } else {
            self.put(&Instruction::I32Const(offset as i32));
            self.put(&Instruction::I32Add);
            self.put(&Instruction::I32Const(mask as i32));
            self.put(&Instruction::I32And);
        }
        self.unlikely_if();
        self.trap(HostTrap::Misaligned);
        self.put(&Instruction::End);
    }

    /// Loads from the address that is kept.
    fn load(&mut self, atomic: Atomic) {
        let address_type = self.address_type(atomic);
        self.kept(0, address_type);
        let at = place(atomic.memarg);
        self.put(&match (atomic.ty, atomic.bytes) {
            (ValType::I64, 1) => Instruction::I64Load8U(at),
            (ValType::I64, 2) => Instruction::I64Load16U(at),
            (ValType::I64, 4) => Instruction::I64Load32U(at),
            (ValType::I64, _) => Instruction::I64Load(at),
            (_, 1) => Instruction::I32Load8U(at),
            (_, 2) => Instruction::I32Load16U(at),
            (_, _) => Instruction::I32Load(at),
        });
    }

    /// Stores the topmost value at the address below it.
    fn store(&mut self, atomic: Atomic) {
        let at = place(atomic.memarg);
        self.put(&match (atomic.ty, atomic.bytes) {
            (ValType::I64, 1) => Instruction::I64Store8(at),
            (ValType::I64, 2) => Instruction::I64Store16(at),
            (ValType::I64, 4) => Instruction::I64Store32(at),
            (ValType::I64, _) => Instruction::I64Store(at),
            (_, 1) => Instruction::I32Store8(at),
            (_, 2) => Instruction::I32Store16(at),
            (_, _) => Instruction::I32Store(at),
        });
    }

    /// The topmost value, of as many bytes as are accessed.
    fn wrap(&mut self, atomic: Atomic) {
        let bits = 8 * atomic.bytes;
        if atomic.ty == ValType::I64 && bits < 64 {
            self.put(&Instruction::I64Const((1 << bits) - 1));
            self.put(&Instruction::I64And);
        } else if atomic.ty == ValType::I32 && bits < 32 {
            self.put(&Instruction::I32Const((1 << bits) - 1));
            self.put(&Instruction::I32And);
        }
    }
}

/// The place of the original, without its promise of alignment.
fn place(memarg: wasmparser::MemArg) -> MemArg {
    MemArg { offset: memarg.offset, align: 0, memory_index: memarg.memory }
}

fn instruction(binary: Binary, ty: ValType) -> Instruction<'static> {
    match (binary, ty) {
        (Add, ValType::I64) => Instruction::I64Add,
        (Sub, ValType::I64) => Instruction::I64Sub,
        (And, ValType::I64) => Instruction::I64And,
        (Or, ValType::I64) => Instruction::I64Or,
        (Xor, ValType::I64) => Instruction::I64Xor,
        (Add, _) => Instruction::I32Add,
        (Sub, _) => Instruction::I32Sub,
        (And, _) => Instruction::I32And,
        (Or, _) => Instruction::I32Or,
        (Xor, _) => Instruction::I32Xor,
    }
}
