//! Frames: read from the records that an unwinding guest wrote, and written for one that goes on.
//!
//! A record is packed and little-endian; see [`FrameLayout`]. Innermost frames are recorded first; for going on,
//! records stand the other way round, each with the slot of the next continuation.

use crate::admit::Refusal;
use crate::guest::{Guest, State, export};
use crate::pieces::Slot;
use std::collections::HashMap;
use wasmtime::{AsContextMut, Memory, Ref, Table, Val};
use wrr_trace::{Datum, FrameState, Pause};
use wrr_transform::{FrameLayout, Piece, Saved};

/// Room for the records of a stack, as a multiple of what it takes natively. A native frame has 16 bytes at least; values
/// that the compiler knows to be constant are only in the record.
const RECORDS_PER_STACK: u64 = 256;

/// The most room, in bytes.
const RECORDS_BYTES_MAX: u64 = if cfg!(target_pointer_width = "32") { 256 << 20 } else { 1 << 30 };

/// Lets the memory of records be as large as a native stack of so many bytes can make it. What is not used of it
/// costs nothing.
pub(crate) fn make_room(
    mut store: impl AsContextMut<Data = State>,
    stack: Memory,
    native_bytes: u64,
) -> wasmtime::Result<()> {
    let bytes = native_bytes.saturating_mul(RECORDS_PER_STACK).min(RECORDS_BYTES_MAX);
    have_bytes(&mut store, stack, bytes)
}

fn have_bytes(
    mut store: impl AsContextMut<Data = State>,
    stack: Memory,
    bytes: u64,
) -> wasmtime::Result<()> {
    let mut context = store.as_context_mut();
    let pages = bytes.div_ceil(1 << 16);
    let size = stack.size(&context);
    if size < pages {
        context.data_mut().limiter.own = true;
        let grown = stack.grow(&mut context, pages - size);
        context.data_mut().limiter.own = false;
        grown?;
    }
    Ok(())
}

fn bad_frame(what: String) -> Refusal {
    Refusal::Engine(format!("a frame of the guest's stack is impossible: {what}"))
}

fn failed(error: wasmtime::Error) -> Refusal {
    Refusal::Engine(format!("{error:#}"))
}

/// The tables of saved references, by the name of their type.
struct References {
    tables: HashMap<String, (Table, u64)>,
}

impl References {
    fn next(&mut self, guest: &mut Guest, type_name: &str) -> Result<(Table, u64), Refusal> {
        if !self.tables.contains_key(type_name) {
            let name = format!("{}saved.{type_name}", guest.prefix());
            let table = export(guest, &name).and_then(wasmtime::Extern::into_table);
            let table = table.ok_or_else(|| bad_frame(format!("no table {name}")))?;
            self.tables.insert(type_name.to_owned(), (table, 0));
        }
        let entry = self.tables.get_mut(type_name).expect("it is there");
        let found = *entry;
        entry.1 += 1;
        Ok(found)
    }
}

impl Guest {
    /// Takes the records of a stack that has been unwound, outermost first.
    pub(crate) fn read_frames(&mut self) -> Result<Vec<FrameState>, Refusal> {
        self.parts.state.set(&mut self.store, Val::I32(0)).map_err(failed)?;
        let used = self.parts.sp.get(&mut self.store).unwrap_i32() as u32 as usize;
        let records = self.parts.stack.data(&self.store);
        let records = records.get(..used).ok_or_else(|| bad_frame("too long".to_owned()))?.to_vec();
        let mut references = References { tables: HashMap::new() };
        let mut frames = Vec::new();
        let mut at = 0;
        while at < records.len() {
            let word = |at: usize| {
                let bytes = records.get(at..at + 4)?;
                Some(u32::from_le_bytes(bytes.try_into().expect("4 bytes")))
            };
            let (function, site) =
                word(at).zip(word(at + 4)).ok_or_else(|| bad_frame("it is cut off".to_owned()))?;
            let layouts = self.program.layouts(function)?;
            let layout = layout_of(&layouts, function, site)?;
            let record = records
                .get(at..at + layout.record_bytes as usize)
                .ok_or_else(|| bad_frame("it is cut off".to_owned()))?;
            let mut values = Vec::with_capacity(layout.values.len());
            for (_, saved) in &layout.values {
                values.push(match saved {
                    Saved::Reference { type_name } => {
                        let (table, index) = references.next(self, type_name)?;
                        let reference = table.get(&mut self.store, index);
                        let reference = reference
                            .ok_or_else(|| bad_frame("a reference is missing".to_owned()))?;
                        self.datum_of(reference)?
                    }
                    number => read_number(record, number),
                });
            }
            frames.push(FrameState { function, site, values });
            at += layout.record_bytes as usize;
        }
        // Nothing stays referenced.
        for (type_name, (table, count)) in references.tables {
            let null = null_like(&table.ty(&self.store));
            table.fill(&mut self.store, 0, null, count).map_err(failed)?;
            self.set_kept(&format!("saved_count.{type_name}"), Val::I32(0))?;
        }
        frames.reverse();
        Ok(frames)
    }

    /// Goes on from a stack: the outermost continuation calls the next, and so on.
    pub(crate) fn resume(
        &mut self,
        frames: &[FrameState],
    ) -> Result<wasmtime::Result<Vec<Val>>, Refusal> {
        let pending = match &self.pause {
            Pause::Tick => None,
            Pause::Call { function, args } => Some((*function, args.clone())),
        };
        let last = match &pending {
            None => None,
            Some((function, _)) if !function.has_result() => Some(Slot::CallWithoutResult),
            Some(_) => Some(Slot::Call),
        };
        self.set_pending(pending);
        let tails: Vec<Piece> = frames
            .iter()
            .map(|frame| Piece::Tail { function: frame.function, site: frame.site })
            .collect();
        let mut distinct = tails.clone();
        distinct.sort_unstable();
        distinct.dedup();
        self.load_pieces(&distinct)?;
        let innermost = match last {
            Some(slot) => self.slot(slot)?,
            None => 0,
        };
        let mut records = Vec::new();
        let mut references = References { tables: HashMap::new() };
        for (index, frame) in frames.iter().enumerate() {
            let next = match tails.get(index + 1) {
                Some(&piece) => self.slot(Slot::Tail(piece))?,
                None => innermost,
            };
            let layouts = self.program.layouts(frame.function)?;
            let layout = layout_of(&layouts, frame.function, frame.site)?;
            if layout.values.len() != frame.values.len() {
                return Err(bad_frame(format!(
                    "site {} of function {} has {} values, not {}",
                    frame.site,
                    frame.function,
                    layout.values.len(),
                    frame.values.len()
                )));
            }
            records.extend_from_slice(&next.to_le_bytes());
            records.extend_from_slice(&[0; 4]);
            for ((_, saved), value) in layout.values.iter().zip(&frame.values) {
                match saved {
                    Saved::Reference { type_name } => {
                        let (table, index) = references.next(self, type_name)?;
                        let reference = self.reference_of(value, &table)?;
                        self.put_reference(table, index, reference)?;
                    }
                    number => write_number(&mut records, number, value)?,
                }
            }
        }
        for type_name in references.tables.keys() {
            self.set_kept(&format!("saved_next.{type_name}"), Val::I32(0))?;
        }
        let stack = self.parts.stack;
        have_bytes(&mut self.store, stack, records.len() as u64).map_err(failed)?;
        let memory = self.parts.stack.data_mut(&mut self.store);
        memory
            .get_mut(..records.len())
            .ok_or_else(|| bad_frame("the stack is too deep".to_owned()))?
            .copy_from_slice(&records);
        self.parts.sp.set(&mut self.store, Val::I32(0)).map_err(failed)?;
        let first = match tails.first() {
            Some(&piece) => self.piece_function(piece),
            // The entry is an import itself.
            None => {
                let table = self.parts.continuations;
                match table.get(&mut self.store, u64::from(innermost)) {
                    Some(Ref::Func(function)) if last.is_some() => function,
                    _ => None,
                }
            }
        };
        let first = first.ok_or_else(|| bad_frame("there is nothing to go on with".to_owned()))?;
        Ok(self.call(first, &[]))
    }

    fn put_reference(&mut self, table: Table, index: u64, reference: Ref) -> Result<(), Refusal> {
        if index < table.size(&self.store) {
            return table.set(&mut self.store, index, reference).map_err(failed);
        }
        self.store.data_mut().limiter.own = true;
        let grown = table.grow(&mut self.store, 1, reference);
        self.store.data_mut().limiter.own = false;
        grown.map(drop).map_err(failed)
    }

    /// Sets a global that the transform added.
    pub(crate) fn set_kept(&mut self, name: &str, value: Val) -> Result<(), Refusal> {
        let name = format!("{}{name}", self.prefix());
        let global = export(self, &name).and_then(wasmtime::Extern::into_global);
        let global = global.ok_or_else(|| bad_frame(format!("no global {name}")))?;
        global.set(&mut self.store, value).map_err(failed)
    }
}

/// The layout of a site.
pub(crate) fn layout_of(
    layouts: &[FrameLayout],
    function: u32,
    site: u32,
) -> Result<&FrameLayout, Refusal> {
    layouts
        .get(site as usize)
        .ok_or_else(|| bad_frame(format!("function {function} has no site {site}")))
}

/// The null of a table's type.
pub(crate) fn null_like(ty: &wasmtime::TableType) -> Ref {
    Ref::null(ty.element().heap_type())
}

fn read_number(record: &[u8], saved: &Saved) -> Datum {
    let word =
        |at: u32| u32::from_le_bytes(record[at as usize..][..4].try_into().expect("4 bytes"));
    let wide =
        |at: u32| u64::from_le_bytes(record[at as usize..][..8].try_into().expect("8 bytes"));
    match *saved {
        Saved::I32(at) => Datum::I32(word(at) as i32),
        Saved::I64(at) => Datum::I64(wide(at) as i64),
        Saved::F32(at) => Datum::F32(word(at)),
        Saved::F64(at) => Datum::F64(wide(at)),
        Saved::V128(at) => Datum::V128(record[at as usize..][..16].try_into().expect("16 bytes")),
        Saved::Reference { .. } => unreachable!("references are not in the record"),
    }
}

fn write_number(records: &mut Vec<u8>, saved: &Saved, value: &Datum) -> Result<(), Refusal> {
    match (saved, value) {
        (Saved::I32(_), Datum::I32(v)) => records.extend_from_slice(&v.to_le_bytes()),
        (Saved::I64(_), Datum::I64(v)) => records.extend_from_slice(&v.to_le_bytes()),
        (Saved::F32(_), Datum::F32(v)) => records.extend_from_slice(&v.to_le_bytes()),
        (Saved::F64(_), Datum::F64(v)) => records.extend_from_slice(&v.to_le_bytes()),
        (Saved::V128(_), Datum::V128(v)) => records.extend_from_slice(v),
        (saved, value) => return Err(bad_frame(format!("{value:?} where {saved:?} belongs"))),
    }
    Ok(())
}
