//! Reads a trace: checks it, finds its parts, yields its [`Event`]s in recorded order.
//!
//! Never interprets events (that is the `wasi` crate's) and never decides where to seek.
//! Invariant: a chunk's checksums are verified before any of its payload is decoded.

mod checkpoints;
mod events;
mod layer;
mod module;
mod scan;

pub use checkpoints::CheckpointEntry;
pub use events::Events;
pub use layer::LayerEdits;
pub use module::StoredModule;

use crate::checkpoint::check_name;
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, FILE_HEADER_BYTES};
use crate::codec::BatchDecoder;
use crate::error::TraceError;
use crate::event::{EventIndex, Tick};
use crate::finding::Finding;
use crate::manifest::{CheckpointPlan, EndNote, Ending, HostNote, IndexEntry, Manifest};
use crate::source::{Source, check_count, decode};
use crate::times::TimeStamp;
use checkpoints::{Decoded, Stored};
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

/// The largest module that a trace may hold, in bytes (the limit of the JavaScript API specification).
const MODULE_BYTES_MAX: u64 = 1 << 30;

/// What stands at the end of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The footer: the recording was finished.
    Complete,
    /// The file stops: the recorder was killed, or the file was cut off.
    CutOff {
        /// Bytes after the last complete chunk, which are passed over.
        ignored_bytes: u64,
    },
    /// Something that no recorder wrote. Only [`TraceReader::open_damaged`] yields this.
    Damaged {
        /// Where, in bytes from the beginning of the file.
        offset: u64,
        /// What was found.
        what: String,
    },
}

/// The head of an event batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub first: u64,
    pub events: u64,
    pub tick: Tick,
}

/// An open trace.
#[derive(Debug)]
pub struct TraceReader {
    source: Arc<Source>,
    file_bytes: u64,
    version: u32,
    manifest: Manifest,
    note: Option<HostNote>,
    plan: Option<CheckpointPlan>,
    finding: Option<Finding>,
    end: Option<EndNote>,
    chunks: Vec<(u64, ChunkHeader)>,
    /// What the last index says about the chunks before it; empty if there is none.
    index: Vec<IndexEntry>,
    /// The entries of checkpoints in it.
    indexed_checkpoints: Vec<usize>,
    stored: Stored,
    checkpoints: OnceLock<Vec<CheckpointEntry>>,
    /// The checkpoint that was decoded last: others may be stored as what differs from it.
    decoded: Mutex<Option<Decoded>>,
    batches: OnceLock<Vec<BatchHead>>,
    tail: Tail,
}

impl TraceReader {
    /// Opens a trace, complete or cut off.
    ///
    /// # Errors
    /// [`TraceError::NotATrace`], [`TraceError::Version`], [`TraceError::Damaged`],
    /// [`TraceError::NothingRecorded`] if it is cut off before its manifest is complete, or
    /// [`TraceError::Io`].
    pub fn open(path: &Path) -> Result<TraceReader, TraceError> {
        Self::open_damaged(path)?.sound()
    }

    /// Itself, unless it is damaged.
    pub(crate) fn sound(self) -> Result<TraceReader, TraceError> {
        match &self.tail {
            Tail::Damaged { offset, what } => Err(self.damaged(*offset, what.clone())),
            Tail::Complete | Tail::CutOff { .. } => Ok(self),
        }
    }

    /// Like [`TraceReader::open`], but if chunks are damaged it yields what stands before them.
    ///
    /// # Errors
    /// As [`TraceReader::open`], if not even the manifest can be read.
    pub fn open_damaged(path: &Path) -> Result<TraceReader, TraceError> {
        // Asked before it is opened: opening a pipe would wait for somebody to write to it.
        let metadata = std::fs::metadata(path).map_err(TraceError::io(path, "open"))?;
        if !metadata.is_file() {
            let what = if metadata.is_dir() { "a directory" } else { "not a regular file" };
            return Err(TraceError::NotATrace {
                path: path.to_owned(),
                found: format!("it is {what}"),
            });
        }
        let file = File::open(path).map_err(TraceError::io(path, "open"))?;
        Self::from_file(path, file)
    }

    /// Like [`TraceReader::open_damaged`], with a file that is open already.
    pub(crate) fn from_file(path: &Path, file: File) -> Result<TraceReader, TraceError> {
        let file_bytes = file.metadata().map_err(TraceError::io(path, "open"))?.len();
        let mut source = Source { path: path.to_owned(), file, version: crate::FORMAT_VERSION };
        let version = scan::check_file_header(&source, file_bytes)?;
        source.version = version;
        let scan::Scan { chunks, tail } = scan::scan(&source, file_bytes)?;
        let Some(&(manifest_at, manifest_header)) = chunks.first() else {
            return Err(match tail {
                Tail::Damaged { offset, what } => {
                    TraceError::Damaged { path: path.to_owned(), offset, what }
                }
                Tail::Complete | Tail::CutOff { .. } => TraceError::NothingRecorded {
                    path: path.to_owned(),
                    len_bytes: file_bytes,
                    missing: "its manifest",
                },
            });
        };
        if manifest_header.kind != ChunkKind::MANIFEST {
            let what = format!("the first chunk is {}, not the manifest", manifest_header.kind);
            return Err(source.damaged(manifest_at, what));
        }
        let payload = source.payload(manifest_at, &manifest_header)?;
        let manifest: Manifest = decode(&payload).map_err(|e| source.damaged(manifest_at, e))?;
        if manifest.module_bytes > MODULE_BYTES_MAX {
            let what = format!(
                "the manifest claims a module of {} bytes, the most is {MODULE_BYTES_MAX}",
                manifest.module_bytes
            );
            return Err(source.damaged(manifest_at, what));
        }
        let mut tail = match scan::out_of_order(&chunks) {
            Some((offset, what)) => Tail::Damaged { offset, what },
            None => tail,
        };
        let stored = Stored::find(&chunks).unwrap_or_else(|(offset, what)| {
            tail = Tail::Damaged { offset, what };
            Stored::default()
        });
        let mut reader = TraceReader {
            source: Arc::new(source),
            file_bytes,
            version,
            manifest,
            note: None,
            plan: None,
            finding: None,
            end: None,
            chunks,
            index: Vec::new(),
            indexed_checkpoints: Vec::new(),
            stored,
            checkpoints: OnceLock::new(),
            decoded: Mutex::default(),
            batches: OnceLock::new(),
            tail,
        };
        if let Err(error) = reader.read_small_chunks() {
            match error {
                TraceError::Damaged { offset, what, .. } if reader.tail_is_sound() => {
                    reader.tail = Tail::Damaged { offset, what };
                }
                TraceError::Damaged { .. } => {}
                other => return Err(other),
            }
        }
        Ok(reader)
    }

    fn tail_is_sound(&self) -> bool {
        !matches!(self.tail, Tail::Damaged { .. })
    }

    fn read_small_chunks(&mut self) -> Result<(), TraceError> {
        for (offset, header) in self.chunks.clone() {
            match header.kind {
                ChunkKind::HOST => self.note = Some(self.decode_chunk(offset, &header)?),
                ChunkKind::PLAN => self.plan = Some(self.decode_chunk(offset, &header)?),
                ChunkKind::FINDING => self.finding = Some(self.decode_chunk(offset, &header)?),
                ChunkKind::ENDING => self.end = Some(self.decode_chunk(offset, &header)?),
                ChunkKind::INDEX => self.index = self.checked_index(offset, &header)?,
                ChunkKind::FOOTER => self.check_footer(offset, &header)?,
                _ => {}
            }
        }
        let entries = self.index.iter().enumerate();
        let checkpoints = entries.filter(|(_, e)| ChunkKind(e.kind).is_checkpoint());
        self.indexed_checkpoints = checkpoints.map(|(i, _)| i).collect();
        Ok(())
    }

    /// The index must name exactly the chunks before it.
    fn checked_index(
        &self,
        offset: u64,
        header: &ChunkHeader,
    ) -> Result<Vec<IndexEntry>, TraceError> {
        let payload = self.payload(offset, header)?;
        let before = self.chunks.partition_point(|(at, _)| *at < offset);
        check_count(&payload, before as u64).map_err(|what| self.damaged(offset, what))?;
        let index: Vec<IndexEntry> =
            decode(&payload).map_err(|what| self.damaged(offset, format!("chunk INDX: {what}")))?;
        let named = index.iter().map(|e| (e.offset, e.kind));
        let found = self
            .chunks
            .iter()
            .filter(|(at, h)| {
                *at < offset && !matches!(h.kind, ChunkKind::INDEX | ChunkKind::FOOTER)
            })
            .map(|(at, h)| (*at, h.kind.0));
        if !named.eq(found) {
            return Err(self.damaged(offset, "the index does not name the chunks before it".into()));
        }
        let (mut next, mut tick) = (0, 0);
        for entry in index.iter().filter(|e| e.kind == ChunkKind::EVENTS.0) {
            if entry.event != next || entry.events == 0 || entry.tick < tick {
                let what = "the index's batches do not follow each other".to_owned();
                return Err(self.damaged(offset, what));
            }
            next = next.saturating_add(entry.events);
            tick = entry.tick;
        }
        for entry in &index {
            check_name(entry.name.as_deref())
                .map_err(|what| self.damaged(offset, format!("chunk INDX: {what}")))?;
        }
        Ok(index)
    }

    fn check_footer(&self, offset: u64, header: &ChunkHeader) -> Result<(), TraceError> {
        let payload = self.payload(offset, header)?;
        let index_at =
            self.chunks.iter().rev().find(|(at, h)| *at < offset && h.kind == ChunkKind::INDEX);
        let expected = index_at.map(|(at, _)| at.to_le_bytes());
        if expected.as_ref().map(|e| &e[..]) != Some(&payload[..]) {
            return Err(self.damaged(offset, "the footer does not point to the index".into()));
        }
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The file's length in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The version of the format that the file is in.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What was run, with what.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where and when it was recorded, if the trace says so.
    #[must_use]
    pub fn host_note(&self) -> Option<&HostNote> {
        self.note.as_ref()
    }

    /// How checkpoints were taken while it was recorded, if the trace says so; where that changed,
    /// how in the end.
    #[must_use]
    pub fn checkpoint_plan(&self) -> Option<&CheckpointPlan> {
        self.plan.as_ref()
    }

    /// What a fuzzer found in this run, if it is one of a fuzzer's.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    /// How the run ended; `None` if the recording is incomplete.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        self.end.as_ref().map(|end| &end.ending)
    }

    /// The tick at which the run ended; `None` if the recording is incomplete.
    #[must_use]
    pub fn end_tick(&self) -> Option<Tick> {
        self.end.as_ref().map(|end| end.tick)
    }

    /// What stands at the end of the file.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// All events, in order.
    ///
    /// # Errors
    /// None at once; each item may be one, after which there are no more.
    pub fn events(&self) -> Result<Events, TraceError> {
        self.events_from(EventIndex(0))
    }

    /// The events from this number on. If the trace has an index, nothing before the batch that holds it
    /// is read, otherwise it is decompressed.
    ///
    /// # Errors
    /// As [`TraceReader::events`], and those of passing over the events before.
    pub fn events_from(&self, from: EventIndex) -> Result<Events, TraceError> {
        // The index is checked to be gapless; that it fits the batches is checked as they are read.
        let indexed: Vec<_> = self.indexed_batches().collect();
        let before = indexed.iter().filter(|b| b.first.saturating_add(b.events) <= from.0).count();
        let chunks: Vec<_> = self.of_kind(ChunkKind::EVENTS).skip(before).copied().collect();
        let next = match before.checked_sub(1).map(|i| indexed[i]) {
            Some(last) => last.first.saturating_add(last.events),
            None => 0,
        };
        let mut events = Events::new(Arc::clone(&self.source), chunks, EventIndex(next));
        events.pass_over(from)?;
        Ok(events)
    }

    /// How many events have a tick that is not behind this one. Decodes one batch, and without an index
    /// decompresses all when this is first asked.
    ///
    /// # Errors
    /// [`TraceError::Damaged`].
    pub fn event_before_tick(&self, tick: Tick) -> Result<EventIndex, TraceError> {
        let batches = self.batches()?;
        // Ticks never go back, so the last batch that starts before it holds the last such event.
        let Some(i) = batches.partition_point(|batch| batch.tick <= tick).checked_sub(1) else {
            return Ok(EventIndex(0));
        };
        let Some((offset, header)) = self.of_kind(ChunkKind::EVENTS).nth(i) else {
            return Ok(EventIndex(0));
        };
        let damaged = |what| self.damaged(*offset, what);
        let mut batch = BatchDecoder::new(self.payload(*offset, header)?).map_err(damaged)?;
        let mut count = batch.next_event();
        while let Some(event) = batch.decode_next().map_err(damaged)? {
            if event.tick > tick {
                break;
            }
            count = EventIndex(event.index.0 + 1);
        }
        Ok(count)
    }

    /// The heads of all event batches, from the index if there is one.
    pub(crate) fn batches(&self) -> Result<&[BatchHead], TraceError> {
        if let Some(batches) = self.batches.get() {
            return Ok(batches);
        }
        // Event batches stand before any index, so an index names all of them.
        let batches = if self.index.is_empty() {
            self.decode_batch_heads()?
        } else {
            self.indexed_batches().collect()
        };
        Ok(self.batches.get_or_init(|| batches))
    }

    fn indexed_batches(&self) -> impl Iterator<Item = BatchHead> {
        let entries = self.index.iter().filter(|e| e.kind == ChunkKind::EVENTS.0);
        entries.map(|e| BatchHead { first: e.event, events: e.events, tick: Tick(e.tick) })
    }

    fn decode_batch_heads(&self) -> Result<Vec<BatchHead>, TraceError> {
        let chunks: Vec<_> = self.of_kind(ChunkKind::EVENTS).collect();
        let heads: Vec<_> = chunks
            .par_iter()
            .map(|(offset, header)| {
                let batch = BatchDecoder::new(self.payload(*offset, header)?)
                    .map_err(|what| self.damaged(*offset, what))?;
                let (first, events) = (batch.next_event().0, batch.events_left());
                Ok(BatchHead { first, events, tick: batch.tick() })
            })
            .collect();
        // Not collected in one go: the first error is wanted.
        let mut batches: Vec<BatchHead> = Vec::with_capacity(heads.len());
        for ((offset, _), head) in chunks.into_iter().zip(heads) {
            let head = head?;
            let last =
                batches.last().copied().unwrap_or(BatchHead { first: 0, events: 0, tick: Tick(0) });
            if head.first != last.first.saturating_add(last.events) || head.tick < last.tick {
                let what = "the batch does not go on where the one before ended".to_owned();
                return Err(self.damaged(*offset, what));
            }
            batches.push(head);
        }
        Ok(batches)
    }

    /// The wall-clock stamps, in order; empty if the trace has none.
    ///
    /// # Errors
    /// [`TraceError::Damaged`].
    pub fn time_stamps(&self) -> Result<Vec<TimeStamp>, TraceError> {
        let mut stamps: Vec<TimeStamp> = Vec::new();
        for (offset, header) in self.of_kind(ChunkKind::TIMES) {
            let damaged = |what| self.damaged(*offset, format!("chunk time: {what}"));
            let payload = self.payload(*offset, header)?;
            // At least a byte in the file for each, so hostile files cannot make many out of little.
            check_count(&payload, header.stored_bytes).map_err(damaged)?;
            let added = TimeStamp::from_deltas(decode(&payload).map_err(damaged)?)
                .ok_or_else(|| damaged("a stamp passes the largest number".to_owned()))?;
            if let (Some(last), Some(first)) = (stamps.last(), added.first())
                && !first.follows(last)
            {
                return Err(damaged("its stamps are before those of the last chunk".to_owned()));
            }
            stamps.extend(added);
        }
        Ok(stamps)
    }

    /// Where the guest was after so many nanoseconds of the recording (see [`TimeStamp::tick_at`]).
    ///
    /// # Errors
    /// [`TraceError::Damaged`].
    pub fn tick_at_elapsed_ns(&self, elapsed_ns: u64) -> Result<Option<Tick>, TraceError> {
        Ok(TimeStamp::tick_at(&self.time_stamps()?, elapsed_ns))
    }

    /// After how many nanoseconds of the recording the guest was there (see [`TimeStamp::elapsed_ns_at`]).
    ///
    /// # Errors
    /// [`TraceError::Damaged`].
    pub fn elapsed_ns_at_tick(&self, tick: Tick) -> Result<Option<u64>, TraceError> {
        Ok(TimeStamp::elapsed_ns_at(&self.time_stamps()?, tick))
    }

    /// Verifies every byte: all checksums, and that every chunk decodes.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_all(&self) -> Result<(), TraceError> {
        if let Tail::Damaged { offset, what } = &self.tail {
            return Err(self.damaged(*offset, what.clone()));
        }
        self.time_stamps()?;
        self.layer_edits(EventIndex(u64::MAX)).try_for_each(|edit| edit.map(drop))?;
        for (offset, header) in &self.chunks {
            // Kinds that nothing else reads; the others are decoded below.
            if !header.kind.is_known() {
                self.payload(*offset, header)?;
            }
        }
        self.module()?;
        let mut last_tick = Tick(0);
        self.events()?.try_for_each(|event| {
            last_tick = event?.tick;
            Ok(())
        })?;
        let heads = self.decode_batch_heads()?;
        let places = self.of_kind(ChunkKind::EVENTS).map(|(offset, _)| *offset);
        if !self.index.is_empty() {
            for ((offset, found), indexed) in places.clone().zip(&heads).zip(self.indexed_batches())
            {
                if *found != indexed {
                    let what = "the index does not fit the batch here".to_owned();
                    return Err(self.damaged(offset, what));
                }
            }
        }
        if let (Some(end), Some((offset, _))) = (&self.end, self.of_kind(ChunkKind::ENDING).next())
            && end.tick < last_tick
        {
            let (end, last) = (end.tick.0, last_tick.0);
            let what = format!("the run ends at tick {end}, before its last event at tick {last}");
            return Err(self.damaged(*offset, what));
        }
        let ends: Vec<(u64, u64)> =
            places.zip(&heads).map(|(offset, b)| (offset, b.first + b.events)).collect();
        self.check_stored(|offset| {
            let before = ends.partition_point(|(at, _)| *at < offset);
            before.checked_sub(1).map_or(0, |i| ends[i].1)
        })
    }

    /// How many chunks of each kind there are, with their stored and decoded bytes, in order of appearance.
    #[must_use]
    pub fn chunk_totals(&self) -> Vec<(ChunkKind, u64, u64, u64)> {
        let mut totals: Vec<(ChunkKind, u64, u64, u64)> = Vec::new();
        let mut places = HashMap::new();
        for (_, header) in &self.chunks {
            let i = *places.entry(header.kind).or_insert_with(|| {
                totals.push((header.kind, 0, 0, 0));
                totals.len() - 1
            });
            totals[i].1 += 1;
            totals[i].2 += header.stored_bytes;
            totals[i].3 += header.raw_bytes;
        }
        totals
    }

    /// Where the last complete chunk ends, in bytes from the beginning of the file.
    pub(crate) fn complete_bytes(&self) -> u64 {
        let end = |(at, h): &(u64, ChunkHeader)| at + CHUNK_HEADER_BYTES as u64 + h.stored_bytes;
        self.chunks.last().map_or(FILE_HEADER_BYTES as u64, end)
    }

    /// Whether all of the module is there; its bytes are not looked at.
    pub(crate) fn has_module(&self) -> bool {
        let pieces = self.of_kind(ChunkKind::MODULE);
        pieces.map(|(_, h)| h.raw_bytes).sum::<u64>() >= self.manifest.module_bytes
    }

    /// What an index of the whole file says.
    pub(crate) fn full_index(&self) -> Result<Vec<IndexEntry>, TraceError> {
        let mut batches = self.batches()?.iter();
        let mut place = 0;
        let mut entries = Vec::with_capacity(self.chunks.len());
        for (offset, header) in &self.chunks {
            let mut entry =
                IndexEntry { kind: header.kind.0, offset: *offset, ..IndexEntry::default() };
            match header.kind {
                ChunkKind::INDEX | ChunkKind::FOOTER => continue,
                ChunkKind::EVENTS => {
                    if let Some(batch) = batches.next() {
                        entry.event = batch.first;
                        entry.events = batch.events;
                        entry.tick = batch.tick.0;
                    }
                }
                kind if kind.is_checkpoint() => {
                    let head = self.checkpoint_head(place)?;
                    place += 1;
                    (entry.event, entry.tick) = (head.event.0, head.tick.0);
                    entry.name = head.name;
                }
                _ => {}
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn of_kind(&self, kind: ChunkKind) -> impl Iterator<Item = &(u64, ChunkHeader)> + Clone {
        self.chunks.iter().filter(move |(_, header)| header.kind == kind)
    }

    fn payload(&self, offset: u64, header: &ChunkHeader) -> Result<Vec<u8>, TraceError> {
        self.source.payload(offset, header)
    }

    fn decode_chunk<T: DeserializeOwned>(
        &self,
        offset: u64,
        header: &ChunkHeader,
    ) -> Result<T, TraceError> {
        let payload = self.payload(offset, header)?;
        decode(&payload).map_err(|e| self.damaged(offset, format!("chunk {}: {e}", header.kind)))
    }

    fn damaged(&self, offset: u64, what: String) -> TraceError {
        self.source.damaged(offset, what)
    }
}
