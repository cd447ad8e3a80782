//! Reads a trace: checks it, finds its parts, yields its [`Event`]s in recorded order.
//!
//! Never interprets events (that is the `wasi` crate's) and never seeks by tick.
//! Invariant: a chunk's checksums are verified before any of its payload is decoded.

use crate::chunk::{
    self, CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, FILE_HEADER_BYTES, FORMAT_VERSION, MAGIC,
};
use crate::codec::BatchDecoder;
use crate::error::TraceError;
use crate::event::{Event, EventIndex};
use crate::manifest::{Ending, HostNote, IndexEntry, Manifest, ModuleId, TimeStamp};
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// The file, shared with the iterators over it.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: File,
}

impl Source {
    fn payload(&self, offset: u64, header: &ChunkHeader) -> Result<Vec<u8>, TraceError> {
        let stored = self.stored(offset, header)?;
        chunk::decode(header, stored).map_err(|what| self.damaged(offset, what))
    }

    /// A chunk's payload as it lies in the file, unchecked.
    fn stored(&self, offset: u64, header: &ChunkHeader) -> Result<Vec<u8>, TraceError> {
        // The scan saw that the file is this long, so the reservation is bounded by the file.
        let mut stored = vec![0; header.stored_bytes as usize];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset + CHUNK_HEADER_BYTES as u64))
            .and_then(|_| file.read_exact(&mut stored))
            .map_err(TraceError::io(&self.path, "read"))?;
        Ok(stored)
    }

    fn damaged(&self, offset: u64, what: String) -> TraceError {
        TraceError::Damaged { path: self.path.clone(), offset, what }
    }
}

/// An open trace.
#[derive(Debug)]
pub struct TraceReader {
    source: Arc<Source>,
    file_bytes: u64,
    version: u32,
    manifest: Manifest,
    note: Option<HostNote>,
    ending: Option<Ending>,
    chunks: Vec<(u64, ChunkHeader)>,
    /// Where each event batch starts; known from the index, otherwise empty.
    index: Vec<IndexEntry>,
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
        let reader = Self::open_damaged(path)?;
        match &reader.tail {
            Tail::Damaged { offset, what } => Err(reader.damaged(*offset, what.clone())),
            Tail::Complete | Tail::CutOff { .. } => Ok(reader),
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
        let mut file = File::open(path).map_err(TraceError::io(path, "open"))?;
        let file_bytes = metadata.len();
        let version = check_file_header(path, &mut file, file_bytes)?;
        let Scan { chunks, tail } = scan(path, &mut file, file_bytes)?;
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
        let source = Source { path: path.to_owned(), file };
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
        let tail = match out_of_order(&chunks) {
            Some((offset, what)) => Tail::Damaged { offset, what },
            None => tail,
        };
        let mut reader = TraceReader {
            source: Arc::new(source),
            file_bytes,
            version,
            manifest,
            note: None,
            ending: None,
            chunks,
            index: Vec::new(),
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
                ChunkKind::ENDING => self.ending = Some(self.decode_chunk(offset, &header)?),
                ChunkKind::INDEX => self.index = self.checked_index(offset, &header)?,
                ChunkKind::FOOTER => self.check_footer(offset, &header)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The index must name exactly the chunks before it.
    fn checked_index(
        &self,
        offset: u64,
        header: &ChunkHeader,
    ) -> Result<Vec<IndexEntry>, TraceError> {
        let payload = self.payload(offset, header)?;
        let before = self.chunks.iter().filter(|(at, _)| *at < offset).count();
        check_count(&payload, before).map_err(|what| self.damaged(offset, what))?;
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
        let mut next = 0;
        for entry in index.iter().filter(|e| e.kind == ChunkKind::EVENTS.0) {
            if entry.first_event != next || entry.events == 0 {
                let what = "the index's batches do not follow each other".to_owned();
                return Err(self.damaged(offset, what));
            }
            next = next.saturating_add(entry.events);
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

    /// How the run ended; `None` if the recording is incomplete.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// What stands at the end of the file.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The module's bytes, checked against the manifest.
    ///
    /// # Errors
    /// [`TraceError::NothingRecorded`] if the recording was cut off before the module was complete,
    /// [`TraceError::Damaged`] if the module is not the one that the manifest names.
    pub fn module(&self) -> Result<Vec<u8>, TraceError> {
        let pieces: Vec<_> = self.of_kind(ChunkKind::MODULE).collect();
        let first_at = pieces.first().map(|(offset, _)| *offset);
        let mut module_bytes = 0;
        let mut stored = Vec::with_capacity(pieces.len());
        for (offset, header) in &pieces {
            module_bytes += header.raw_bytes;
            if module_bytes > self.manifest.module_bytes {
                let what = format!(
                    "the module is longer than the {} bytes that the manifest names",
                    self.manifest.module_bytes
                );
                return Err(self.damaged(*offset, what));
            }
            stored.push(self.source.stored(*offset, header)?);
        }
        let decoded: Vec<_> = pieces
            .par_iter()
            .zip(stored)
            .map(|((_, header), stored)| chunk::decode(header, stored))
            .collect();
        let mut module = Vec::with_capacity(module_bytes as usize);
        for ((offset, _), piece) in pieces.iter().zip(decoded) {
            module.append(&mut piece.map_err(|what| self.damaged(*offset, what))?);
        }
        let (found, named) = (ModuleId::of(&module), self.manifest.module);
        if found == named {
            return Ok(module);
        }
        let complete = self.ending.is_some() || self.of_kind(ChunkKind::EVENTS).next().is_some();
        match first_at {
            Some(offset) if complete => Err(self.damaged(
                offset,
                format!("the manifest names module {named}, the trace contains {found}"),
            )),
            None if complete => Err(self.damaged(
                FILE_HEADER_BYTES as u64,
                format!("the manifest names module {named}, the trace contains none"),
            )),
            _ => Err(TraceError::NothingRecorded {
                path: self.source.path.clone(),
                len_bytes: self.file_bytes,
                missing: "the end of its module",
            }),
        }
    }

    /// All events, in order.
    ///
    /// # Errors
    /// None at once; each item may be one, after which there are no more.
    pub fn events(&self) -> Result<Events, TraceError> {
        self.events_from(EventIndex(0))
    }

    /// The events from this number on. Batches before it are not decoded if the trace has an index.
    ///
    /// # Errors
    /// As [`TraceReader::events`], and those of passing over the events before.
    pub fn events_from(&self, from: EventIndex) -> Result<Events, TraceError> {
        // The index is checked to be gapless; that it fits the batches is checked as they are read.
        let before = self
            .index
            .iter()
            .filter(|e| e.kind == ChunkKind::EVENTS.0)
            .take_while(|e| e.first_event.saturating_add(e.events) <= from.0)
            .count();
        let chunks: Vec<_> = self.of_kind(ChunkKind::EVENTS).copied().collect();
        let first = self.index.iter().filter(|e| e.kind == ChunkKind::EVENTS.0).nth(before);
        let mut events = Events {
            source: Arc::clone(&self.source),
            next: EventIndex(if before == 0 { 0 } else { first.map_or(from.0, |e| e.first_event) }),
            chunks: chunks.into_iter().skip(before).collect::<Vec<_>>().into_iter(),
            batch: None,
        };
        while events.next < from {
            match events.next() {
                Some(event) => drop(event?),
                None => break,
            }
        }
        Ok(events)
    }

    /// The wall-clock stamps, in order; empty if the trace has none.
    ///
    /// # Errors
    /// [`TraceError::Damaged`].
    pub fn time_stamps(&self) -> Result<Vec<TimeStamp>, TraceError> {
        let mut stamps = Vec::new();
        for (offset, header) in self.of_kind(ChunkKind::TIMES) {
            let payload = self.payload(*offset, header)?;
            // One for each batch, so hostile files cannot make many out of little.
            let batches = self.of_kind(ChunkKind::EVENTS).count();
            check_count(&payload, batches.saturating_sub(stamps.len()))
                .map_err(|what| self.damaged(*offset, what))?;
            let pairs: Vec<(u64, u64)> = decode(&payload)
                .map_err(|what| self.damaged(*offset, format!("chunk time: {what}")))?;
            stamps.extend(
                pairs
                    .into_iter()
                    .map(|(event, elapsed_ns)| TimeStamp { event: EventIndex(event), elapsed_ns }),
            );
        }
        Ok(stamps)
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
        for (offset, header) in &self.chunks {
            // Kinds that nothing else reads; the others are decoded below.
            if !header.kind.is_known() {
                self.payload(*offset, header)?;
            }
        }
        self.module()?;
        self.events()?.try_for_each(|event| event.map(drop))?;
        // The batches follow each other, and so does the index: only the last one's length is left.
        let indexed = self.index.iter().rfind(|e| e.kind == ChunkKind::EVENTS.0);
        let last = self.of_kind(ChunkKind::EVENTS).last();
        if let (Some(entry), Some((offset, header))) = (indexed, last) {
            let batch = BatchDecoder::new(self.payload(*offset, header)?)
                .map_err(|what| self.damaged(*offset, what))?;
            if (batch.next_event().0, batch.events_left()) != (entry.first_event, entry.events) {
                let what = "the index does not fit the batch here".to_owned();
                return Err(self.damaged(*offset, what));
            }
        }
        Ok(())
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

    fn of_kind(&self, kind: ChunkKind) -> impl Iterator<Item = &(u64, ChunkHeader)> {
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

/// The first chunk that must not stand where it does.
fn out_of_order(chunks: &[(u64, ChunkHeader)]) -> Option<(u64, String)> {
    let kind_at = |i: usize| chunks[i].1.kind;
    let rank = |kind: ChunkKind| match kind {
        ChunkKind::MANIFEST => Some(0),
        ChunkKind::MODULE => Some(1),
        ChunkKind::EVENTS => Some(2),
        ChunkKind::ENDING => Some(3),
        ChunkKind::INDEX => Some(4),
        ChunkKind::FOOTER => Some(5),
        _ => None,
    };
    let mut last = (None, ChunkKind::MANIFEST);
    for (i, (offset, header)) in chunks.iter().enumerate() {
        let kind = header.kind;
        let Some(own) = rank(kind) else {
            if i > 0 && kind_at(i - 1) == ChunkKind::FOOTER {
                return Some((*offset, format!("chunk {kind} after the footer")));
            }
            continue;
        };
        let may_repeat = matches!(kind, ChunkKind::MODULE | ChunkKind::EVENTS);
        if last.0.is_some_and(|last| own < last || (own == last && !may_repeat)) {
            return Some((*offset, format!("chunk {kind} after chunk {}", last.1)));
        }
        last = (Some(own), kind);
    }
    None
}

/// Iterates over the events of a trace.
pub struct Events {
    source: Arc<Source>,
    chunks: std::vec::IntoIter<(u64, ChunkHeader)>,
    batch: Option<(u64, BatchDecoder)>,
    next: EventIndex,
}

impl Events {
    fn advance(&mut self) -> Result<Option<Event>, TraceError> {
        loop {
            if let Some((offset, batch)) = &mut self.batch {
                match batch.decode_next() {
                    Ok(Some(event)) => {
                        self.next.0 += 1;
                        return Ok(Some(event));
                    }
                    Ok(None) => self.batch = None,
                    Err(what) => return Err(self.source.damaged(*offset, what)),
                }
            }
            let Some((offset, header)) = self.chunks.next() else { return Ok(None) };
            let payload = self.source.payload(offset, &header)?;
            let batch =
                BatchDecoder::new(payload).map_err(|what| self.source.damaged(offset, what))?;
            if batch.next_event() != self.next {
                let what = format!(
                    "a batch starts with event {}, expected was {}",
                    batch.next_event(),
                    self.next
                );
                return Err(self.source.damaged(offset, what));
            }
            self.batch = Some((offset, batch));
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance().transpose();
        if matches!(item, Some(Err(_))) {
            self.batch = None;
            self.chunks = Vec::new().into_iter();
        }
        item
    }
}

/// Checks the count at the front of a list before it is decoded.
fn check_count(payload: &[u8], most: usize) -> Result<(), String> {
    let (count, _) = postcard::take_from_bytes::<u64>(payload).map_err(|e| e.to_string())?;
    if count > most as u64 {
        Err(format!("{count} entries, at most {most} make sense"))
    } else {
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(e) => Err(e.to_string()),
    }
}

fn check_file_header(path: &Path, file: &mut File, file_bytes: u64) -> Result<u32, TraceError> {
    let mut head = Vec::new();
    file.take(FILE_HEADER_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(TraceError::io(path, "read"))?;
    let magic = &head[..head.len().min(MAGIC.len())];
    if head.is_empty() || !MAGIC.starts_with(magic) {
        let found = if head.is_empty() {
            "the file is empty".to_owned()
        } else if head.starts_with(b"\0asm") {
            "it is a WebAssembly module".to_owned()
        } else {
            format!("it starts with \"{}\"", magic.escape_ascii())
        };
        return Err(TraceError::NotATrace { path: path.to_owned(), found });
    }
    if head.len() < FILE_HEADER_BYTES {
        return Err(TraceError::NothingRecorded {
            path: path.to_owned(),
            len_bytes: file_bytes,
            missing: "the end of its header",
        });
    }
    let version = u32::from_le_bytes(head[8..12].try_into().expect("4 bytes"));
    if version != FORMAT_VERSION {
        return Err(TraceError::Version {
            path: path.to_owned(),
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    if head[12..16] != [0; 4] {
        return Err(TraceError::Damaged {
            path: path.to_owned(),
            offset: 12,
            what: "the reserved bytes of the file header are not zero".to_owned(),
        });
    }
    Ok(version)
}

struct Scan {
    chunks: Vec<(u64, ChunkHeader)>,
    tail: Tail,
}

/// Walks over the chunk headers. Payloads are not read.
fn scan(path: &Path, file: &mut File, file_bytes: u64) -> Result<Scan, TraceError> {
    let mut chunks: Vec<(u64, ChunkHeader)> = Vec::new();
    let mut offset = FILE_HEADER_BYTES as u64;
    let tail = loop {
        let left = file_bytes - offset;
        if left == 0 && chunks.last().is_some_and(|(_, h)| h.kind == ChunkKind::FOOTER) {
            break Tail::Complete;
        }
        if left < CHUNK_HEADER_BYTES as u64 {
            break Tail::CutOff { ignored_bytes: left };
        }
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(TraceError::io(path, "read"))?;
        let header = match ChunkHeader::from_bytes(&bytes) {
            Ok(header) => header,
            // After a power failure a file can end in zeros that were never written.
            Err(_) if bytes == [0; CHUNK_HEADER_BYTES] => {
                break Tail::CutOff { ignored_bytes: left };
            }
            Err(what) => break Tail::Damaged { offset, what },
        };
        let chunk_bytes = CHUNK_HEADER_BYTES as u64 + header.stored_bytes;
        if chunk_bytes > left {
            break Tail::CutOff { ignored_bytes: left };
        }
        chunks.push((offset, header));
        offset += chunk_bytes;
    };
    Ok(Scan { chunks, tail })
}
