//! What a frame's record holds.

use crate::emit::{RECORD_HEADER_BYTES, bytes_of, nullable};
use crate::helper::type_name;
use crate::module::Module;
use crate::pc::OrigPc;
use crate::plan::Source;
use crate::{SiteKind, TransformError};
use wasm_encoder::ValType;

/// Where a saved value belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A local of the original function, parameters first.
    Local(u32),
    /// An operand that waits on the stack with so many others below it.
    Operand(u32),
}

/// The form of a saved value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// In the record, at this offset.
    I32(u32),
    /// In the record, at this offset.
    I64(u32),
    /// In the record, at this offset.
    F32(u32),
    /// In the record, at this offset.
    F64(u32),
    /// In the record, at this offset.
    V128(u32),
    /// The next one in the table of saved references of this type.
    Reference {
        /// The type's name in the names of helpers.
        type_name: String,
    },
}

/// The record of a frame: `function: u32, site: u32`, then the saved numbers, packed, little-endian.
///
/// When a record is read again, its first four bytes are the slot of the next continuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    /// What the site is.
    pub kind: SiteKind,
    /// The site's instruction.
    pub at: OrigPc,
    /// The saved values, in order.
    pub values: Vec<(Place, Saved)>,
    /// The record's length.
    pub record_bytes: u32,
}

impl Module {
    /// The layouts of all sites of a function.
    ///
    /// # Errors
    /// What planning the function gives.
    pub fn layouts(&self, function: u32) -> Result<Vec<FrameLayout>, TransformError> {
        let plan = self.plan(function)?;
        let layouts = plan.sites.iter().map(|site| {
            let mut places: Vec<Place> = site.live.iter().map(|&l| Place::Local(l)).collect();
            let waiting = site.operands.iter().filter(|o| matches!(o.source, Source::Slot(_)));
            places.extend(waiting.map(|o| Place::Operand(o.height)));
            let mut record_bytes = RECORD_HEADER_BYTES;
            let values = plan.saved(site).zip(places).map(|((_, ty), place)| {
                let at = record_bytes;
                record_bytes += bytes_of(ty);
                let saved = match ty {
                    ValType::I32 => Saved::I32(at),
                    ValType::I64 => Saved::I64(at),
                    ValType::F32 => Saved::F32(at),
                    ValType::F64 => Saved::F64(at),
                    ValType::V128 => Saved::V128(at),
                    ValType::Ref(ty) => Saved::Reference { type_name: type_name(nullable(ty)) },
                };
                (place, saved)
            });
            let values = values.collect();
            FrameLayout { kind: site.kind, at: OrigPc(site.at), values, record_bytes }
        });
        Ok(layouts.collect())
    }

    /// What the names of everything added to the module start with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Functions that a reference can be made to, in the order of the table `functions` of the transformed module.
    #[must_use]
    pub fn referenceable(&self) -> &[u32] {
        &self.referenceable
    }

    /// Which globals are mutable, by index.
    #[must_use]
    pub fn mutable_globals(&self) -> Vec<u32> {
        let globals = self.globals.iter().enumerate();
        globals.filter(|(_, global)| global.mutable).map(|(index, _)| index as u32).collect()
    }

    /// How many memories and tables there are.
    #[must_use]
    pub fn memory_and_table_count(&self) -> (u32, u32) {
        (self.memory_is_64.len() as u32, self.tables.len() as u32)
    }
}
