//! What a frame's record holds.

use crate::emit::{RECORD_HEADER_BYTES, bytes_of, nullable};
use crate::helper::type_name;
use crate::module::Module;
use crate::pc::OrigPc;
use crate::plan::{Plan, Source};
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

impl FrameLayout {
    /// The layouts of a planned function's sites.
    pub(crate) fn of(plan: &Plan) -> Vec<FrameLayout> {
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
        layouts.collect()
    }

    /// A function's layouts as bytes, for a cache; [`FrameLayout::from_bytes`] reads them.
    ///
    /// `count`, then for each site `kind, its index, at, count of values`, and for each value a
    /// byte (its form, and 128 for an operand), its index, and for a reference the length of its
    /// type's name and the name. Numbers are unsigned LEB128.
    #[must_use]
    pub fn to_bytes(layouts: &[FrameLayout]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, layouts.len() as u32);
        for layout in layouts {
            let (kind, index) = match layout.kind {
                SiteKind::Entry => (0, 0),
                SiteKind::Header => (1, 0),
                SiteKind::Call { function } => (2, function),
                SiteKind::CallIndirect { ty } => (3, ty),
                SiteKind::CallRef { ty } => (4, ty),
            };
            for number in [kind, index, layout.at.0, layout.values.len() as u32] {
                put(&mut out, number);
            }
            for (place, saved) in &layout.values {
                let (operand, index) = match place {
                    Place::Local(index) => (0, *index),
                    Place::Operand(index) => (OPERAND, *index),
                };
                let form = match saved {
                    Saved::I32(_) => 0,
                    Saved::I64(_) => 1,
                    Saved::F32(_) => 2,
                    Saved::F64(_) => 3,
                    Saved::V128(_) => 4,
                    Saved::Reference { .. } => 5,
                };
                out.push(form | operand);
                put(&mut out, index);
                if let Saved::Reference { type_name } = saved {
                    put(&mut out, type_name.len() as u32);
                    out.extend_from_slice(type_name.as_bytes());
                }
            }
        }
        out
    }

    /// Reads [`FrameLayout::to_bytes`]; `None` if the bytes are something else.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Vec<FrameLayout>> {
        let bytes = &mut bytes;
        let count = take(bytes)?;
        let mut layouts = Vec::new();
        for _ in 0..count {
            let (kind, index, at) = (take(bytes)?, take(bytes)?, OrigPc(take(bytes)?));
            let kind = match kind {
                0 => SiteKind::Entry,
                1 => SiteKind::Header,
                2 => SiteKind::Call { function: index },
                3 => SiteKind::CallIndirect { ty: index },
                4 => SiteKind::CallRef { ty: index },
                _ => return None,
            };
            let mut record_bytes = RECORD_HEADER_BYTES;
            let mut values = Vec::new();
            for _ in 0..take(bytes)? {
                let form = bytes.split_off_first()?;
                let index = take(bytes)?;
                let place = match form & OPERAND {
                    0 => Place::Local(index),
                    _ => Place::Operand(index),
                };
                let at = record_bytes;
                let (saved, ty) = match form & !OPERAND {
                    0 => (Saved::I32(at), ValType::I32),
                    1 => (Saved::I64(at), ValType::I64),
                    2 => (Saved::F32(at), ValType::F32),
                    3 => (Saved::F64(at), ValType::F64),
                    4 => (Saved::V128(at), ValType::V128),
                    5 => {
                        let len = take(bytes)? as usize;
                        let type_name = String::from_utf8(bytes.split_off(..len)?.to_vec()).ok()?;
                        (Saved::Reference { type_name }, ValType::FUNCREF)
                    }
                    _ => return None,
                };
                record_bytes = record_bytes.checked_add(bytes_of(ty))?;
                values.push((place, saved));
            }
            layouts.push(FrameLayout { kind, at, values, record_bytes });
        }
        bytes.is_empty().then_some(layouts)
    }
}

/// Added to the form of a value that is an operand.
const OPERAND: u8 = 128;

fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number: u64 = 0;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok();
        }
    }
    None
}

impl Module {
    /// The layouts of all sites of a function.
    ///
    /// # Errors
    /// What planning the function gives.
    pub fn layouts(&self, function: u32) -> Result<Vec<FrameLayout>, TransformError> {
        Ok(FrameLayout::of(&self.plan(function)?))
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
