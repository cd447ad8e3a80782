//! What a continuation starts with: its locals from the record, the blocks around it, the loops that it goes back to.

use super::checks::load;
use super::{Emitter, Links, Open, Origin, RECORD_HEADER_BYTES, bytes_of, nullable};
use crate::emit::Helper;
use crate::plan::{BlockKind, Operand, Site, Source};
use crate::{SiteKind, TransformError};
use wasm_encoder::{Instruction, ValType};
use wasmparser::{BinaryReader, Catch, Operator, OperatorsReader};

impl<L: Links> Emitter<'_, L> {
    pub(super) fn tail(&mut self, site: &Site) -> Result<(), TransformError> {
        self.map_to(site.at, Origin::Added);
        self.take_room();
        let pointer = self.pointer();
        self.put(&Instruction::GlobalGet(self.added.sp));
        self.put(&Instruction::LocalSet(pointer));
        let mut offset = RECORD_HEADER_BYTES;
        for (local, ty) in self.plan.saved(site) {
            match ty {
                ValType::Ref(ty) => {
                    let load = self.links.helper(Helper::Load(nullable(ty)));
                    self.put(&Instruction::Call(load));
                }
                number => {
                    self.put(&Instruction::LocalGet(pointer));
                    let memarg = self.memarg(offset);
                    self.put(&load(number, memarg));
                    offset += bytes_of(number);
                }
            }
            self.set(local);
        }
        self.advance(pointer, offset);
        match site.kind {
            SiteKind::Entry | SiteKind::Header => {
                // It will arrive there once more.
                self.put(&Instruction::GlobalGet(self.added.left));
                self.put(&Instruction::I64Const(1));
                self.put(&Instruction::I64Add);
                self.put(&Instruction::GlobalSet(self.added.left));
                if site.kind == SiteKind::Header {
                    self.hand_over(site.block);
                } else {
                    for local in 0..self.plan.signature.params.len() as u32 {
                        self.get(local);
                    }
                    let function = self.links.function(self.plan.function);
                    self.put(&Instruction::ReturnCall(function));
                }
                self.put(&Instruction::End);
                Ok(())
            }
            SiteKind::Call { .. } | SiteKind::CallIndirect { .. } | SiteKind::CallRef { .. } => {
                let around = self.plan.around(site.block);
                self.open_around(&around, site, site.operands.len())?;
                self.put(&Instruction::LocalGet(pointer));
                let memarg = self.memarg(0);
                self.put(&Instruction::I32Load(memarg));
                let type_index = self.links.continuation_type(&site.results);
                let table_index = self.added.continuations;
                self.show_room();
                self.put(&Instruction::CallIndirect { type_index, table_index });
                self.check(site);
                self.spill_at(site.at);
                self.walk(site.after)
            }
        }
    }

    pub(super) fn loop_entry(&mut self, block: u32) -> Result<(), TransformError> {
        let (start, parent, height) = {
            let block = self.block(block);
            (block.start, block.parent, block.height)
        };
        let header = &self.plan.sites[self.block(block).header as usize];
        self.map_to(start, Origin::Added);
        self.take_room();
        let below = header.operands.iter().take_while(|o| o.height < height).count();
        let around = self.plan.around(parent);
        self.open_around(&around, header, below)?;
        for operand in &header.operands[below..] {
            self.operand(operand)?;
        }
        self.walk(start)
    }

    /// Opens what stands around, with the operands that wait at each level.
    pub(super) fn open_around(
        &mut self,
        around: &[u32],
        site: &Site,
        operands: usize,
    ) -> Result<(), TransformError> {
        self.push_open(0, false);
        self.open[0].level = 0;
        let mut operands = site.operands[..operands].iter().peekable();
        for &index in around {
            let height = self.block(index).height;
            while let Some(operand) = operands.next_if(|o| o.height < height) {
                self.operand(operand)?;
            }
            let (kind, signature) = (self.block(index).kind, self.block(index).signature.clone());
            let results = self.links.block_type(&signature.results);
            match kind {
                BlockKind::Block | BlockKind::If => {
                    self.put(&Instruction::Block(results));
                    self.height += 1;
                }
                BlockKind::Loop => {
                    self.put(&Instruction::Block(results));
                    let params = self.links.block_type(&signature.params);
                    self.put(&Instruction::Block(params));
                    self.height += 2;
                }
                BlockKind::TryTable => {
                    let catches = self.catches_of(index)?;
                    self.put(&Instruction::TryTable(results, catches.into()));
                    self.height += 1;
                }
            }
            self.push_open(index, true);
            let in_else = self.block(index).middle.is_some_and(|middle| site.at > middle);
            self.open.last_mut().expect("it was just pushed").in_else = in_else;
        }
        for operand in operands {
            self.operand(operand)?;
        }
        Ok(())
    }

    pub(super) fn catches_of(
        &mut self,
        block: u32,
    ) -> Result<Vec<wasm_encoder::Catch>, TransformError> {
        let at = self.block(block).start as usize;
        let bytes = &self.module.bytes[at..self.block(block).end as usize];
        match OperatorsReader::new(BinaryReader::new(bytes, at)).read()? {
            Operator::TryTable { try_table } => Ok(self.catches(&try_table.catches)),
            _ => Err(TransformError::Unsupported { what: "a try_table" }),
        }
    }

    pub(super) fn catches(&mut self, catches: &[Catch]) -> Vec<wasm_encoder::Catch> {
        catches
            .iter()
            .map(|catch| match *catch {
                Catch::One { tag, label } => {
                    wasm_encoder::Catch::One { tag, label: self.target(label) }
                }
                Catch::OneRef { tag, label } => {
                    wasm_encoder::Catch::OneRef { tag, label: self.target(label) }
                }
                Catch::All { label } => wasm_encoder::Catch::All { label: self.target(label) },
                Catch::AllRef { label } => {
                    wasm_encoder::Catch::AllRef { label: self.target(label) }
                }
            })
            .collect()
    }

    pub(super) fn operand(&mut self, operand: &Operand) -> Result<(), TransformError> {
        match operand.source {
            Source::Local(local) => {
                self.get(local);
                if let Some(shape) = operand.canonical {
                    self.make_local_canonical(local, shape);
                }
            }
            Source::Slot(slot) => self.get(self.plan.slot_local(slot)),
            Source::Const { at } => {
                let at = at as usize;
                let mut reader =
                    OperatorsReader::new(BinaryReader::new(&self.module.bytes[at..], at));
                reader.read()?;
                let end = reader.original_position();
                self.out.extend_from_slice(&self.module.bytes[at..end]);
            }
        }
        Ok(())
    }

    /// Goes to the loop's entry with all that is live at its header. The loop's parameters are in their slots.
    pub(super) fn hand_over(&mut self, block: u32) {
        let header = &self.plan.sites[self.block(block).header as usize];
        for (local, _) in self.plan.saved(header) {
            self.get(local);
        }
        let entry = self.links.loop_entry(block);
        self.give_room_back();
        self.put(&Instruction::ReturnCall(entry));
    }

    /// The end of a loop around a tail, behind the rest of its iteration.
    pub(super) fn close_around_loop(&mut self, open: &Open) {
        if self.reachable {
            self.put(&Instruction::Br(1));
        } else {
            self.put(&Instruction::Unreachable);
        }
        self.put(&Instruction::End);
        if open.targeted {
            let header = &self.plan.sites[self.block(open.block).header as usize];
            let height = self.block(open.block).height;
            for operand in header.operands.iter().rev().take_while(|o| o.height >= height) {
                if let Source::Slot(slot) = operand.source {
                    self.set(self.plan.slot_local(slot));
                }
            }
            self.hand_over(open.block);
        } else {
            self.put(&Instruction::Unreachable);
        }
        self.put(&Instruction::End);
        self.height -= 2;
    }
}
