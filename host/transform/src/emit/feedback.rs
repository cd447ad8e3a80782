//! Telling a fuzzer which way decisions go and what is compared: see [`crate::coverage`].

use super::{Emitter, Feedback, Links};
use crate::coverage::{Comparer, Counted, Counter};
use crate::imports::{COMPARE_I32, COMPARE_I64};
use wasm_encoder::{Instruction, MemArg, ValType};
use wasmparser::Operator;

/// Places of temporaries, behind those of accesses to memory.
const OPERANDS: [usize; 2] = [7, 8];
const ADDRESS: usize = 9;
const COUNT: usize = 10;

/// What is told before an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Counter(Counter),
    Compare(ValType),
}

/// The operands' type of a comparison.
fn compared(op: &Operator<'_>) -> Option<ValType> {
    match op {
        Operator::I32Eq
        | Operator::I32Ne
        | Operator::I32LtS
        | Operator::I32LtU
        | Operator::I32GtS
        | Operator::I32GtU
        | Operator::I32LeS
        | Operator::I32LeU
        | Operator::I32GeS
        | Operator::I32GeU => Some(ValType::I32),
        Operator::I64Eq
        | Operator::I64Ne
        | Operator::I64LtS
        | Operator::I64LtU
        | Operator::I64GtS
        | Operator::I64GtU
        | Operator::I64LeS
        | Operator::I64LeU
        | Operator::I64GeS
        | Operator::I64GeU => Some(ValType::I64),
        _ => None,
    }
}

impl<L: Links> Emitter<'_, L> {
    /// What is to be told before an instruction.
    pub(super) fn feedback_at(&self, op: &Operator<'_>, at: u32) -> Option<Told> {
        match self.checks.feedback()? {
            Feedback::Outcomes => self.counters.at.get(&at).copied().map(Told::Counter),
            Feedback::Compares => match self.counters.at.get(&at).map(|counter| counter.of) {
                // Also an `xor` that is one.
                Some(Counted::Agreement(ty)) => Some(Told::Compare(ty)),
                _ => compared(op).map(Told::Compare),
            },
        }
    }

    /// At the function's entry.
    pub(super) fn feed_back_entry(&mut self) {
        match self.checks.feedback() {
            Some(Feedback::Outcomes) => self.count(None, self.counters.entry),
            Some(Feedback::Compares) => self.tell_comparer(),
            None => {}
        }
    }

    /// Before an instruction, whose operands are as they were afterwards.
    pub(super) fn feed_back(&mut self, told: Told, at: u32) {
        match told {
            Told::Compare(ty) => self.tell_compare(ty, at),
            Told::Counter(Counter { first, of }) => {
                let (address, _) = self.temp(ADDRESS, ValType::I32);
                match of {
                    Counted::Condition => {
                        let operand = self.put_aside(0, ValType::I32);
                        self.put(&Instruction::LocalGet(operand));
                        self.put(&Instruction::I32Eqz);
                        self.put(&Instruction::LocalSet(address));
                        self.count(Some(address), first);
                        self.put(&Instruction::LocalGet(operand));
                    }
                    Counted::Table { targets } => {
                        let operand = self.put_aside(0, ValType::I32);
                        let most = Instruction::I32Const(targets as i32);
                        self.put(&Instruction::LocalGet(operand));
                        self.put(&most);
                        self.put(&Instruction::LocalGet(operand));
                        self.put(&most);
                        self.put(&Instruction::I32LtU);
                        self.put(&Instruction::Select);
                        self.put(&Instruction::LocalSet(address));
                        self.count(Some(address), first);
                        self.put(&Instruction::LocalGet(operand));
                    }
                    Counted::Agreement(ty) => {
                        let second = self.put_aside(1, ty);
                        let one = self.put_aside(0, ty);
                        self.put(&Instruction::LocalGet(one));
                        self.put(&Instruction::LocalGet(second));
                        // Zeros at the front of the difference, in bytes.
                        if ty == ValType::I64 {
                            self.put(&Instruction::I64Xor);
                            self.put(&Instruction::I64Clz);
                            self.put(&Instruction::I32WrapI64);
                        } else {
                            self.put(&Instruction::I32Xor);
                            self.put(&Instruction::I32Clz);
                        }
                        self.put(&Instruction::I32Const(3));
                        self.put(&Instruction::I32ShrU);
                        self.put(&Instruction::LocalSet(address));
                        self.count(Some(address), first);
                        self.put(&Instruction::LocalGet(one));
                        self.put(&Instruction::LocalGet(second));
                    }
                }
            }
        }
    }

    /// Takes the topmost operand.
    fn put_aside(&mut self, place: usize, ty: ValType) -> u32 {
        let (local, _) = self.temp(OPERANDS[place], ty);
        self.put(&Instruction::LocalSet(local));
        local
    }

    /// Counts one more at a counter behind the first one.
    fn count(&mut self, address: Option<u32>, first: u32) {
        let (count, _) = self.temp(COUNT, ValType::I32);
        let memarg = MemArg { offset: u64::from(first), align: 0, memory_index: self.added.counts };
        let address = address.map_or(Instruction::I32Const(0), Instruction::LocalGet);
        self.put(&address);
        self.put(&address);
        self.put(&Instruction::I32Load8U(memarg));
        self.put(&Instruction::I32Const(1));
        self.put(&Instruction::I32Add);
        self.put(&Instruction::LocalTee(count));
        // Never zero: 256 becomes 257, of which one is left.
        self.put(&Instruction::LocalGet(count));
        self.put(&Instruction::I32Const(8));
        self.put(&Instruction::I32ShrU);
        self.put(&Instruction::I32Add);
        self.put(&Instruction::I32Store8(memarg));
    }

    fn tell_compare(&mut self, ty: ValType, at: u32) {
        let second = self.put_aside(1, ty);
        let one = self.put_aside(0, ty);
        self.put(&Instruction::I32Const(at as i32));
        let kind = if ty == ValType::I64 { COMPARE_I64 } else { COMPARE_I32 };
        self.put(&Instruction::I32Const(kind));
        for operand in [one, second] {
            self.put(&Instruction::LocalGet(operand));
            if ty == ValType::I32 {
                self.put(&Instruction::I64ExtendI32U);
            }
        }
        self.call_compare();
        self.put(&Instruction::LocalGet(one));
        self.put(&Instruction::LocalGet(second));
    }

    /// A function that compares memory tells so when it is called.
    fn tell_comparer(&mut self) {
        let Some(comparer) = self.module.comparer(self.plan.function) else { return };
        self.put(&Instruction::I32Const(self.plan.code_start as i32));
        match comparer {
            Comparer::Bounded => {
                self.put(&Instruction::LocalGet(2));
                self.put(&Instruction::I32Const(i32::MAX));
                self.put(&Instruction::I32And);
            }
            Comparer::Text => self.put(&Instruction::I32Const(i32::MAX)),
        }
        for param in [0, 1] {
            self.put(&Instruction::LocalGet(param));
            self.put(&Instruction::I64ExtendI32U);
        }
        self.call_compare();
    }

    fn call_compare(&mut self) {
        let compare = self.links.compare();
        self.put(&Instruction::Call(compare));
    }
}
