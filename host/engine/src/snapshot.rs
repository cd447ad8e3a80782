//! The state of a stopped guest as a value, and back.
//!
//! Invariant: a guest that was restored from a snapshot and one that ran there by itself cannot be told apart, neither
//! by what they do nor by their [`state_hash`](Guest::state_hash).

use crate::admit::Refusal;
use crate::entry::Entry;
use crate::frames::layout_of;
use crate::guest::{Guest, export};
use crate::images::Images;
use crate::program::Program;
use crate::written::Reader;
use std::collections::HashMap;
use std::sync::Arc;
use wasmtime::{ExnRef, ExnRefPre, ExnType, Extern, Global, Memory, Ref, Table, Tag, Val};
use wrr_pages::{PageStore, TrackerKind};
use wrr_trace::{Checkpoint, Datum, MemoryState, Pause, Rewritten, TableState};
use wrr_transform::{Place, Variant};
use wrr_wasi::Host;

/// A frame of a stopped guest.
#[derive(Clone, Debug, PartialEq)]
pub struct StackFrame {
    /// The function's index in the original module.
    pub function: u32,
    /// Its name in the name section.
    pub name: Option<String>,
    /// The site, as the transform numbers them.
    pub site: u32,
    /// Where the site's instruction is, in bytes from the start of the original module.
    pub offset: u32,
    /// Its live locals and waiting operands.
    pub values: Vec<(Place, Datum)>,
}

/// The parts of a guest that a snapshot consists of.
#[derive(Default)]
pub(crate) struct Handles {
    pub memories: Vec<Memory>,
    pub tables: Vec<Table>,
    /// The mutable ones, with their types.
    pub globals: Vec<(Global, wasmtime::ValType)>,
    /// The flags that tell which data and which element segments were dropped.
    pub dropped: [Vec<(u32, Global)>; 2],
}

/// What the names of these flags start with, behind the prefix.
pub(crate) const DROPPED_DATA: &str = "dropped_data.";
/// See [`DROPPED_DATA`].
pub(crate) const DROPPED_ELEMENTS: &str = "dropped_elements.";

fn failed(error: wasmtime::Error) -> Refusal {
    Refusal::Engine(format!("{error:#}"))
}

fn impossible(what: String) -> Refusal {
    Refusal::Instantiate(format!("the checkpoint does not fit the module: {what}"))
}

impl Guest {
    fn part(&mut self, name: &str) -> Result<Extern, Refusal> {
        let name = format!("{}{name}", self.prefix());
        export(self, &name)
            .ok_or_else(|| Refusal::Engine(format!("the transformed module lacks {name}")))
    }

    /// What a snapshot consists of, looked up by name once.
    pub(crate) fn handles(&mut self) -> Result<Arc<Handles>, Refusal> {
        if let Some(handles) = &self.handles {
            return Ok(Arc::clone(handles));
        }
        let lacks = |what: String| Refusal::Engine(format!("{what} of the guest is none"));
        let program = self.program.clone();
        let compiled = program.compile(self.variant, &())?;
        let parts = &compiled.parts;
        let mut handles = Handles::default();
        for index in 0..parts.memories {
            let part = self.part(&format!("m{index}"))?.into_memory();
            handles.memories.push(part.ok_or_else(|| lacks(format!("memory {index}")))?);
        }
        for index in 0..parts.tables {
            let part = self.part(&format!("t{index}"))?.into_table();
            handles.tables.push(part.ok_or_else(|| lacks(format!("table {index}")))?);
        }
        for index in &parts.mutable_globals {
            let part = self.part(&format!("g{index}"))?.into_global();
            let global = part.ok_or_else(|| lacks(format!("global {index}")))?;
            let ty = global.ty(&self.store).content().clone();
            handles.globals.push((global, ty));
        }
        for (flags, (kind, segments)) in handles
            .dropped
            .iter_mut()
            .zip([DROPPED_DATA, DROPPED_ELEMENTS].into_iter().zip(&compiled.segments))
        {
            for segment in segments {
                let part = self.part(&format!("{kind}{segment}"))?.into_global();
                let flag = part.ok_or_else(|| lacks(format!("the flag of segment {segment}")))?;
                flags.push((*segment, flag));
            }
        }
        Ok(Arc::clone(self.handles.insert(Arc::new(handles))))
    }

    /// The original's memories.
    pub(crate) fn memories(&mut self) -> Result<Vec<Memory>, Refusal> {
        Ok(self.handles()?.memories.clone())
    }

    /// Everything but the contents of the memories and what the host knows: their lists are empty.
    ///
    /// # Errors
    /// The guest holds a reference that only the host could have made.
    pub fn state(&mut self) -> Result<Checkpoint, Refusal> {
        let handles = self.handles()?;
        let mut globals = Vec::with_capacity(handles.globals.len());
        for (global, _) in &handles.globals {
            let value = global.get(&mut self.store);
            globals.push(self.datum(value)?);
        }
        let tables = self.table_states()?;
        let mut memories = Vec::new();
        for memory in &handles.memories {
            let bytes = memory.data_size(&self.store) as u64;
            memories.push(MemoryState { bytes, runs: Vec::new() });
        }
        Ok(Checkpoint {
            tick: self.tick(),
            event: self.events(),
            name: None,
            phase: self.phase,
            pause: self.pause.clone(),
            frames: self.frames.clone().unwrap_or_default(),
            globals,
            memories,
            tables,
            dropped_data: self.dropped(&handles.dropped[0]),
            dropped_elements: self.dropped(&handles.dropped[1]),
            host: Default::default(),
        })
    }

    /// The tables, which in most modules never change once they are filled.
    fn table_states(&mut self) -> Result<Vec<TableState>, Refusal> {
        if let Some(known) = &self.constant_tables {
            return Ok(known.clone());
        }
        let mut states = Vec::new();
        for table in &self.handles()?.tables {
            states.push(self.table_state(*table)?);
        }
        if !self.program.compile(self.variant, &())?.tables_change {
            self.constant_tables = Some(states.clone());
        }
        Ok(states)
    }

    fn table_state(&mut self, table: Table) -> Result<TableState, Refusal> {
        let mut elements: Vec<(Datum, u32)> = Vec::new();
        for index in 0..table.size(&self.store) {
            let reference = table.get(&mut self.store, index).expect("below its size");
            let datum = self.datum_of(reference)?;
            match elements.last_mut() {
                Some((last, count)) if *last == datum && *count < u32::MAX => *count += 1,
                _ => elements.push((datum, 1)),
            }
        }
        Ok(TableState { elements })
    }

    /// The segments that were dropped, ascending.
    pub(crate) fn dropped(&mut self, flags: &[(u32, Global)]) -> Vec<u32> {
        let is_set =
            |flag: &Global, guest: &mut Guest| matches!(flag.get(&mut guest.store), Val::I32(1));
        flags.iter().filter(|(_, flag)| is_set(flag, self)).map(|(segment, _)| *segment).collect()
    }

    /// From now on it is noted which pages are written, for checkpoints. New pages get the numbers
    /// after those in `pages`; `forced` is the tracker that must be used, if one must.
    ///
    /// # Errors
    /// What the trackers of written pages give.
    pub fn track(&mut self, pages: PageStore, forced: Option<TrackerKind>) -> Result<(), Refusal> {
        let memories = self.memories()?;
        self.written.force(forced);
        self.written.begin(Reader::Trace, &self.store, &memories)?;
        let began_with = memories.iter().map(|memory| memory.data_size(&self.store)).collect();
        self.images = Some(Images::new(pages, began_with));
        Ok(())
    }

    /// As [`Guest::track`], for a guest that was just restored from a checkpoint, whose pages have
    /// the numbers that the checkpoint gives them, in `pages` too.
    ///
    /// # Errors
    /// What the trackers of written pages give.
    pub fn track_from(
        &mut self,
        pages: PageStore,
        forced: Option<TrackerKind>,
        checkpoint: &Checkpoint,
    ) -> Result<(), Refusal> {
        self.track(pages, forced)?;
        match &mut self.images {
            Some(images) => images.begin(checkpoint),
            None => Ok(()),
        }
    }

    /// How many pages [`Guest::snapshot`] would look at.
    ///
    /// # Errors
    /// What the trackers of written pages give.
    pub fn unseen_pages(&mut self) -> Result<usize, Refusal> {
        let memories = self.memories()?;
        match &self.images {
            Some(images) => images.unseen_pages(&mut self.written, &self.store, &memories),
            None => Ok(0),
        }
    }

    /// A checkpoint of the stopped guest, and the pages that no checkpoint had before, in the order
    /// of their numbers.
    ///
    /// # Errors
    /// As [`Guest::state`], and what the trackers of written pages give.
    pub fn snapshot(&mut self) -> Result<(Checkpoint, Vec<u8>), Refusal> {
        let mut new_pages = Vec::new();
        let (checkpoint, _) = self.snapshot_into(|part| {
            new_pages.extend(part);
            Ok::<(), Refusal>(())
        })?;
        Ok((checkpoint, new_pages))
    }

    /// A checkpoint of the stopped guest. `put` gets the pages that no checkpoint had before, in
    /// the order of their numbers, in parts of some megabytes. With it comes which pages were
    /// written since the checkpoint before although it names the same for them, if that is known.
    ///
    /// # Errors
    /// As [`Guest::state`], and what the trackers of written pages and `put` give.
    pub fn snapshot_into<E: From<Refusal>>(
        &mut self,
        put: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(Checkpoint, Option<Rewritten>), E> {
        let mut checkpoint = self.state()?;
        let mut rewritten = None;
        checkpoint.host = self.host().state();
        if self.images.is_none() {
            self.track(PageStore::new(), None)?;
        }
        let memories = self.memories()?;
        if let Some(images) = &mut self.images {
            let at = (checkpoint.tick, checkpoint.event);
            let updated = images.update(&mut self.written, &self.store, &memories, at, put)?;
            (checkpoint.memories, rewritten) = updated;
        }
        Ok((checkpoint, rewritten))
    }

    /// A guest for [`Guest::restore`]: its memories are zero, no data segment was copied into them.
    ///
    /// # Errors
    /// As [`Guest::new`].
    pub fn to_restore(
        program: &Program,
        variant: Variant,
        entry: &Entry,
        host: Host,
    ) -> Result<Guest, Refusal> {
        let args = program.arguments(entry)?;
        let mut guest = Guest::without_data(program, variant, entry, args, host)?;
        guest.put_data(false)?;
        Ok(guest)
    }

    /// Puts the guest, which must be new, into the state of a checkpoint. `fill` gets the memories'
    /// bytes and puts their pages in; they are zero if [`Guest::to_restore`] made the guest. The
    /// host must be in the checkpoint's state already.
    ///
    /// # Errors
    /// The checkpoint does not fit the module, or what `fill` gives.
    pub fn restore<E: From<Refusal>>(
        &mut self,
        checkpoint: &Checkpoint,
        fill: impl FnOnce(Vec<&mut [u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.grow_to_sizes(checkpoint.memories.iter().map(|memory| memory.bytes).collect())?;
        self.restore_state(checkpoint)?;
        let memories = self.memories()?;
        let mut slices = Vec::with_capacity(memories.len());
        for memory in &memories {
            // Borrowed one after the other: the store has no way to lend several at once.
            // SAFETY: the memories are different ones, of a store that is borrowed until `fill` is back; `fill` cannot
            // keep the slices, and nothing runs meanwhile.
            slices.push(unsafe { crate::mappings::bytes_of(&mut self.store, *memory) });
        }
        fill(slices)
    }

    /// Makes the memories as large as they were, in bytes.
    pub(crate) fn grow_to_sizes(&mut self, sizes: Vec<u64>) -> Result<(), Refusal> {
        let memories = self.memories()?;
        if memories.len() != sizes.len() {
            return Err(impossible(format!(
                "it has {} memories, the module {}",
                sizes.len(),
                memories.len()
            )));
        }
        for (memory, size) in memories.iter().zip(sizes) {
            let now = memory.data_size(&self.store) as u64;
            let more = size
                .checked_sub(now)
                .ok_or_else(|| impossible(format!("a memory of {size} bytes starts with {now}")))?;
            if size > self.program.limits.memory_bytes_max {
                return Err(impossible(format!("a memory of {size} bytes")));
            }
            memory
                .grow(&mut self.store, more >> 16)
                .map_err(|e| Refusal::Instantiate(format!("no memory of {size} bytes: {e:#}")))?;
        }
        Ok(())
    }

    /// Everything but the memories.
    pub(crate) fn restore_state(&mut self, checkpoint: &Checkpoint) -> Result<(), Refusal> {
        let handles = self.handles()?;
        let tables = &handles.tables;
        if tables.len() != checkpoint.tables.len() {
            return Err(impossible(format!("it has {} tables", checkpoint.tables.len())));
        }
        if self.program.compile(self.variant, &())?.tables_change {
            for (table, state) in tables.iter().zip(&checkpoint.tables) {
                self.restore_table(*table, state)?;
            }
        }
        if handles.globals.len() != checkpoint.globals.len() {
            return Err(impossible(format!("it has {} globals", checkpoint.globals.len())));
        }
        for ((global, ty), datum) in handles.globals.iter().zip(&checkpoint.globals) {
            let value = self.value(datum, ty)?;
            global.set(&mut self.store, value).map_err(|e| impossible(format!("{e:#}")))?;
        }
        // Those that are dropped already stay so.
        let already = [self.dropped(&handles.dropped[0]), self.dropped(&handles.dropped[1])];
        for (kind, dropped, already) in [
            ("drop_data", &checkpoint.dropped_data, &already[0]),
            ("drop_elements", &checkpoint.dropped_elements, &already[1]),
        ] {
            for segment in dropped.iter().filter(|segment| !already.contains(segment)) {
                let function = self.part(&format!("{kind}.{segment}"))?.into_func();
                let function = function.ok_or_else(|| impossible("a segment".to_owned()))?;
                self.call(function, &[]).map_err(failed)?;
            }
        }
        self.phase = checkpoint.phase;
        self.pause = checkpoint.pause.clone();
        let begun = !checkpoint.frames.is_empty() || matches!(self.pause, Pause::Call { .. });
        self.frames = begun.then(|| checkpoint.frames.clone());
        if checkpoint.tick.0 > i64::MAX as u64 {
            return Err(impossible(format!("tick {}", checkpoint.tick.0)));
        }
        if self.events() != checkpoint.event {
            return Err(impossible(format!("its host is at event {}", self.events())));
        }
        self.set_tick(checkpoint.tick);
        self.stopped_at = checkpoint.tick;
        Ok(())
    }

    fn restore_table(&mut self, table: Table, state: &TableState) -> Result<(), Refusal> {
        let size = table.size(&self.store);
        let wanted: u64 = state.elements.iter().map(|(_, count)| u64::from(*count)).sum();
        if wanted > self.program.limits.table_elements_max.max(size) {
            return Err(impossible(format!("a table of {wanted} elements")));
        }
        let more = wanted.checked_sub(size).ok_or_else(|| {
            impossible(format!("a table of {wanted} elements starts with {size}"))
        })?;
        if let (true, Some((last, _))) = (more > 0, state.elements.last()) {
            // Not with null: the table's type may have none.
            let last = self.reference_of(last, &table)?;
            table.grow(&mut self.store, more, last).map_err(|e| impossible(format!("{e:#}")))?;
        }
        if self.table_state(table)? == *state {
            return Ok(());
        }
        let mut index = 0;
        for (datum, count) in &state.elements {
            let reference = self.reference_of(datum, &table)?;
            table
                .fill(&mut self.store, index, reference, u64::from(*count))
                .map_err(|e| impossible(format!("{e:#}")))?;
            index += u64::from(*count);
        }
        Ok(())
    }

    // --- values ---

    pub(crate) fn datum(&mut self, value: Val) -> Result<Datum, Refusal> {
        Ok(match value {
            Val::I32(v) => Datum::I32(v),
            Val::I64(v) => Datum::I64(v),
            Val::F32(bits) => Datum::F32(bits),
            Val::F64(bits) => Datum::F64(bits),
            Val::V128(v) => Datum::V128(v.as_u128().to_le_bytes()),
            Val::FuncRef(function) => return self.datum_of(Ref::Func(function)),
            Val::ExternRef(reference) => return self.datum_of(Ref::Extern(reference)),
            Val::ExnRef(exception) => return self.datum_of(Ref::Exn(exception)),
            other => return Err(Refusal::Engine(format!("{other:?} cannot be saved"))),
        })
    }

    pub(crate) fn datum_of(&mut self, reference: Ref) -> Result<Datum, Refusal> {
        match reference {
            Ref::Func(None) | Ref::Extern(None) | Ref::Exn(None) => Ok(Datum::Null),
            Ref::Func(Some(function)) => {
                let raw = function.to_raw(&mut self.store) as usize;
                let known = self.function_indices()?.get(&raw).copied();
                known
                    .map(Datum::Func)
                    .ok_or_else(|| Refusal::Engine("a reference to a host function".to_owned()))
            }
            Ref::Exn(Some(exception)) => {
                let tag = exception.tag(&mut self.store).map_err(failed)?;
                let tags = self.tags()?;
                let tag = tags.iter().position(|known| Tag::eq(known, &tag, &self.store));
                let tag = tag.ok_or_else(|| Refusal::Engine("an unknown tag".to_owned()))? as u32;
                let fields: Vec<Val> = exception.fields(&mut self.store).map_err(failed)?.collect();
                let fields = fields.into_iter().map(|field| self.datum(field));
                Ok(Datum::Exn { tag, fields: fields.collect::<Result<_, _>>()? })
            }
            other => Err(Refusal::Engine(format!("{other:?} cannot be saved"))),
        }
    }

    fn value(&mut self, datum: &Datum, ty: &wasmtime::ValType) -> Result<Val, Refusal> {
        Ok(match (datum, ty) {
            (Datum::I32(v), _) => Val::I32(*v),
            (Datum::I64(v), _) => Val::I64(*v),
            (Datum::F32(v), _) => Val::F32(*v),
            (Datum::F64(v), _) => Val::F64(*v),
            (Datum::V128(v), _) => Val::V128(u128::from_le_bytes(*v).into()),
            (datum, wasmtime::ValType::Ref(ty)) => match self.reference(datum, ty.heap_type())? {
                Ref::Func(f) => Val::FuncRef(f),
                Ref::Extern(e) => Val::ExternRef(e),
                Ref::Exn(e) => Val::ExnRef(e),
                other => return Err(impossible(format!("{other:?}"))),
            },
            (datum, ty) => return Err(impossible(format!("{datum:?} for a {ty}"))),
        })
    }

    pub(crate) fn reference_of(&mut self, datum: &Datum, table: &Table) -> Result<Ref, Refusal> {
        let ty = table.ty(&self.store).element().heap_type().clone();
        self.reference(datum, &ty)
    }

    fn reference(&mut self, datum: &Datum, ty: &wasmtime::HeapType) -> Result<Ref, Refusal> {
        match datum {
            Datum::Null => Ok(Ref::null(ty)),
            Datum::Func(index) => {
                let place = self
                    .program
                    .compile(self.variant, &())?
                    .parts
                    .referenceable
                    .binary_search(index)
                    .map_err(|_| impossible(format!("a reference to function {index}")))?;
                let table = self.functions_table()?;
                table
                    .get(&mut self.store, place as u64)
                    .ok_or_else(|| impossible(format!("a reference to function {index}")))
            }
            Datum::Exn { tag, fields } => {
                let tags = self.tags()?;
                let tag = tags
                    .get(*tag as usize)
                    .copied()
                    .ok_or_else(|| impossible(format!("an exception with tag {tag}")))?;
                let tag_ty = tag.ty(&self.store);
                let params: Vec<wasmtime::ValType> = tag_ty.ty().params().collect();
                if params.len() != fields.len() {
                    return Err(impossible("an exception with other fields".to_owned()));
                }
                let mut values = Vec::with_capacity(fields.len());
                for (field, ty) in fields.iter().zip(&params) {
                    values.push(self.value(field, ty)?);
                }
                let ty = ExnType::from_tag_type(&tag_ty).map_err(failed)?;
                let allocator = ExnRefPre::new(&mut self.store, ty);
                let exception = ExnRef::new(&mut self.store, &allocator, &tag, &values)
                    .map_err(|e| impossible(format!("{e:#}")))?;
                Ok(Ref::Exn(Some(exception)))
            }
            other => Err(impossible(format!("{other:?} for a reference"))),
        }
    }

    fn functions_table(&mut self) -> Result<Table, Refusal> {
        let part = self.part("functions")?.into_table();
        part.ok_or_else(|| Refusal::Engine("the table of functions is none".to_owned()))
    }

    fn tags(&mut self) -> Result<Vec<Tag>, Refusal> {
        let mut tags = Vec::new();
        while let Ok(part) = self.part(&format!("e{}", tags.len())) {
            tags.extend(part.into_tag());
        }
        Ok(tags)
    }

    /// The original index of every function that a reference can be made to, by its address in this instance.
    fn function_indices(&mut self) -> Result<&HashMap<usize, u32>, Refusal> {
        if self.indices.is_none() {
            let table = self.functions_table()?;
            let program = self.program.clone();
            let referenceable = &program.compile(self.variant, &())?.parts.referenceable;
            let mut indices = HashMap::with_capacity(referenceable.len());
            for (place, &index) in referenceable.iter().enumerate() {
                if let Some(Ref::Func(Some(function))) = table.get(&mut self.store, place as u64) {
                    indices.insert(function.to_raw(&mut self.store) as usize, index);
                }
            }
            self.indices = Some(indices);
        }
        Ok(self.indices.as_ref().expect("it was just made"))
    }

    // --- looking at it ---

    /// The stack of the stopped guest, innermost first, in terms of the original module.
    ///
    /// # Errors
    /// A frame that cannot be, from a checkpoint that does not fit the module.
    pub fn stack(&self) -> Result<Vec<StackFrame>, Refusal> {
        let frames = self.frames.as_deref().unwrap_or_default().iter().rev();
        frames
            .map(|frame| {
                let layouts = self.program.layouts(frame.function)?;
                let layout = layout_of(&layouts, frame.function, frame.site)?;
                let values = layout.values.iter().zip(&frame.values);
                Ok(StackFrame {
                    function: frame.function,
                    name: self.program.function_name(frame.function),
                    site: frame.site,
                    offset: layout.at.0,
                    values: values.map(|((place, _), value)| (*place, value.clone())).collect(),
                })
            })
            .collect()
    }

    /// What the stopped guest is in.
    #[must_use]
    pub fn pause(&self) -> &Pause {
        &self.pause
    }

    /// How many memories the module has.
    ///
    /// # Errors
    /// The variant cannot be compiled, which it could before.
    pub fn memory_count(&self) -> Result<u32, Refusal> {
        Ok(self.program.compile(self.variant, &())?.parts.memories)
    }

    /// The bytes of a memory of the original module; `None` if there is no such memory.
    pub fn memory_bytes(&mut self, index: u32) -> Option<&[u8]> {
        let memory = *self.handles().ok()?.memories.get(index as usize)?;
        Some(memory.data(&self.store))
    }

    /// BLAKE3 of the guest's state in a canonical form: position, frames, globals, tables, dropped segments, and the
    /// bytes of all memories. What the host knows is not in it.
    ///
    /// # Errors
    /// As [`Guest::state`].
    pub fn state_hash(&mut self) -> Result<[u8; 32], Refusal> {
        let state = self.state()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&state.to_canonical_bytes());
        for memory in self.memories()? {
            let hash =
                *blake3::Hasher::new().update_rayon(memory.data(&self.store)).finalize().as_bytes();
            hasher.update(&hash);
        }
        Ok(*hasher.finalize().as_bytes())
    }
}
