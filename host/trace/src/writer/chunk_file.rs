//! A trace file that grows: chunks are written behind each other, and the index grows with them.
//!
//! Invariant: what was written is never changed; after a failed write the file is cut back to its last
//! complete chunk.

use super::{Batch, Mark};
use crate::checkpoint::Checkpoint;
use crate::chunk::{
    self, CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, FILE_HEADER_BYTES, MAGIC, PAGE_BYTES,
    PAGES_PER_CHUNK_MAX,
};
use crate::delta::{self, Base, Encoded, Rewritten};
use crate::error::TraceError;
use crate::event::Tick;
use crate::finding::Finding;
use crate::manifest::{CheckpointPlan, EndNote, HostNote, IndexEntry};
use crate::times::TimeStamp;
use rayon::prelude::*;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Chunks in a file, and the index that grows with them.
pub(super) struct ChunkFile {
    pub(super) path: PathBuf,
    file: File,
    /// Where the last complete chunk ends.
    pub(super) end: u64,
    /// Events in complete chunks.
    pub(super) events: u64,
    /// Pages in complete chunks that this writer has written.
    pages: u32,
    /// Checkpoints in complete chunks.
    checkpoints: u32,
    /// The checkpoint that was written last, unless it was taken back.
    base: Option<Base>,
    index: Vec<IndexEntry>,
    compressor: Compressor,
}

pub(super) type Compressor = zstd::bulk::Compressor<'static>;
/// A chunk's header, and its payload if that is not stored as it is.
pub(super) type EncodedChunk = (ChunkHeader, Option<Vec<u8>>);

pub(super) const PAGE_CHUNK_BYTES: usize = PAGES_PER_CHUNK_MAX * PAGE_BYTES;
const PAGES_PIECE_BYTES: usize = 256 * PAGE_CHUNK_BYTES;

/// The module is cut into pieces of this size.
const MODULE_PIECE_BYTES: usize = 2 << 20;

/// Chunks are compressed while the guest runs, so speed counts.
const COMPRESSION_LEVEL: i32 = 1;

pub(super) fn compressor(path: &Path) -> Result<Compressor, TraceError> {
    zstd::bulk::Compressor::new(COMPRESSION_LEVEL)
        .map_err(TraceError::io(path, "start the compressor for"))
}

impl ChunkFile {
    /// Creates the file with its header and its manifest, in one write: a file that is not empty says
    /// what it is a recording of.
    pub(super) fn create(
        path: &Path,
        manifest: &[u8],
        version: u32,
    ) -> Result<ChunkFile, TraceError> {
        if manifest.len() as u64 > ChunkKind::MANIFEST.bytes_max() {
            return Err(TraceError::ManifestTooLong { len_bytes: manifest.len() });
        }
        let mut compressor = compressor(path)?;
        let (header, compressed) = chunk::encode(ChunkKind::MANIFEST, manifest, &mut compressor)
            .map_err(TraceError::io(path, "compress"))?;
        let mut head = MAGIC.to_vec();
        head.extend(version.to_le_bytes());
        head.resize(FILE_HEADER_BYTES, 0);
        head.extend(header.to_bytes());
        head.extend(compressed.as_deref().unwrap_or(manifest));
        let mut file = open_alone(path)?;
        file.write_all(&head).map_err(TraceError::io(path, "write the trace"))?;
        let offset = FILE_HEADER_BYTES as u64;
        Ok(ChunkFile {
            path: path.to_owned(),
            file,
            end: head.len() as u64,
            events: 0,
            pages: 0,
            checkpoints: 0,
            base: None,
            index: vec![IndexEntry { kind: header.kind.0, offset, ..IndexEntry::default() }],
            compressor,
        })
    }

    /// Goes on behind the last complete chunk of a trace that `file` holds.
    pub(super) fn append_to(
        path: &Path,
        mut file: File,
        end: u64,
        index: Vec<IndexEntry>,
    ) -> Result<ChunkFile, TraceError> {
        file.set_len(end)
            .and_then(|()| file.seek(SeekFrom::Start(end)))
            .map_err(TraceError::io(path, "cut off the incomplete end of"))?;
        let events = index.iter().map(|entry| entry.events).sum();
        let checkpoints = index.iter().filter(|e| ChunkKind(e.kind).is_checkpoint()).count() as u32;
        Ok(ChunkFile {
            path: path.to_owned(),
            file,
            end,
            events,
            pages: 0,
            checkpoints,
            base: None,
            index,
            compressor: compressor(path)?,
        })
    }

    fn encode(&mut self, kind: ChunkKind, raw: &[u8]) -> Result<EncodedChunk, TraceError> {
        chunk::encode(kind, raw, &mut self.compressor)
            .map_err(TraceError::io(&self.path, "compress"))
    }

    fn write_chunk(&mut self, kind: ChunkKind, raw: &[u8]) -> Result<(), TraceError> {
        let encoded = self.encode(kind, raw)?;
        self.write_encoded(&encoded, raw, IndexEntry::default())
    }

    /// Writes a chunk. `entry` is what the index says about it, but for its kind and its place.
    fn write_encoded(
        &mut self,
        (header, compressed): &EncodedChunk,
        raw: &[u8],
        entry: IndexEntry,
    ) -> Result<(), TraceError> {
        let payload = compressed.as_deref().unwrap_or(raw);
        self.file
            .write_all(&header.to_bytes())
            .and_then(|()| self.file.write_all(payload))
            .map_err(TraceError::io(&self.path, "write the trace"))?;
        self.events += entry.events;
        if header.kind == ChunkKind::PAGES {
            self.pages += (raw.len() / PAGE_BYTES) as u32;
        }
        self.checkpoints += u32::from(header.kind.is_checkpoint());
        self.index.push(IndexEntry { kind: header.kind.0, offset: self.end, ..entry });
        self.end += (CHUNK_HEADER_BYTES + payload.len()) as u64;
        Ok(())
    }

    pub(super) fn write_head(
        &mut self,
        note: Option<&HostNote>,
        finding: Option<&Finding>,
        module: &[u8],
        overlay: bool,
    ) -> Result<(), TraceError> {
        if let Some(note) = note {
            self.write_chunk(ChunkKind::HOST, &to_bytes(note))?;
        }
        if let Some(finding) = finding {
            self.write_chunk(ChunkKind::FINDING, &to_bytes(finding))?;
        }
        // Events can only follow the module, so it is compressed on all cores; it comes out the same on any number.
        let pieces: Vec<&[u8]> = module.chunks(MODULE_PIECE_BYTES).collect();
        let encoded: Vec<_> = pieces
            .par_iter()
            .map(|piece| {
                let mut compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?;
                chunk::encode(ChunkKind::MODULE, piece, &mut compressor)
            })
            .collect();
        for (piece, encoded) in pieces.into_iter().zip(encoded) {
            let encoded = encoded.map_err(TraceError::io(&self.path, "compress"))?;
            self.write_encoded(&encoded, piece, IndexEntry::default())?;
        }
        if overlay {
            // Tells that there is one, also if nothing is ever changed in it.
            self.write_edits(&[])?;
        }
        Ok(())
    }

    /// Writes edits of the layer, which are encoded.
    pub(super) fn write_edits(&mut self, edits: &[u8]) -> Result<(), TraceError> {
        self.write_chunk(ChunkKind::OVERLAY, edits)
    }

    /// Writes a batch, behind the edits that its events have made. There may be nothing but those.
    pub(super) fn write_events(&mut self, batch: &Batch) -> Result<(), TraceError> {
        if !batch.edits.is_empty() {
            self.write_edits(&batch.edits)?;
        }
        if batch.next == batch.first {
            return Ok(());
        }
        let entry = IndexEntry {
            event: batch.first.0,
            events: batch.next.0 - batch.first.0,
            tick: batch.first_tick.0,
            ..IndexEntry::default()
        };
        match &batch.chunk {
            Some(chunk) => self.write_encoded(chunk, &batch.payload, entry),
            None => {
                let encoded = self.encode(ChunkKind::EVENTS, &batch.payload)?;
                self.write_encoded(&encoded, &batch.payload, entry)
            }
        }
    }

    /// Writes stamps, as varints of their differences (postcard's).
    pub(super) fn write_stamps(&mut self, stamps: &[TimeStamp]) -> Result<(), TraceError> {
        if stamps.is_empty() {
            return Ok(());
        }
        self.write_chunk(ChunkKind::TIMES, &to_bytes(&TimeStamp::deltas(stamps)))
    }

    /// Writes how checkpoints are taken from here on.
    pub(super) fn write_plan(&mut self, plan: &CheckpointPlan) -> Result<(), TraceError> {
        self.write_chunk(ChunkKind::PLAN, &to_bytes(plan))
    }

    /// Writes one chunk of pages.
    ///
    /// Requires: 1 to [`PAGES_PER_CHUNK_MAX`] of them.
    pub(super) fn write_page_chunk(&mut self, pages: &[u8]) -> Result<(), TraceError> {
        self.write_chunk(ChunkKind::PAGES, pages)
    }

    /// Writes pages, compressed on all cores.
    pub(super) fn write_pages(&mut self, pages: &[u8]) -> Result<(), TraceError> {
        // In pieces, so that not everything is in memory twice.
        for piece in pages.chunks(PAGES_PIECE_BYTES) {
            let chunks: Vec<&[u8]> = piece.chunks(PAGE_CHUNK_BYTES).collect();
            let encoded: Vec<_> = chunks
                .par_iter()
                .map_init(
                    || zstd::bulk::Compressor::new(COMPRESSION_LEVEL),
                    |compressor, raw| match compressor {
                        Ok(compressor) => chunk::encode(ChunkKind::PAGES, raw, compressor),
                        Err(e) => Err(std::io::Error::new(e.kind(), e.to_string())),
                    },
                )
                .collect();
            for (raw, encoded) in chunks.into_iter().zip(encoded) {
                let encoded = encoded.map_err(TraceError::io(&self.path, "compress"))?;
                self.write_encoded(&encoded, raw, IndexEntry::default())?;
            }
        }
        Ok(())
    }

    /// Encodes a checkpoint to be written next, as differences from the one before if that is
    /// smaller.
    ///
    /// # Errors
    /// A sentence, if it takes more room than a chunk has.
    pub(super) fn encode_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        rewritten: Option<&Rewritten>,
    ) -> Result<Encoded, String> {
        delta::encode(checkpoint, self.checkpoints, self.base.as_ref(), rewritten)
    }

    /// Writes a checkpoint whose pages and events are in the file, encoded by
    /// [`ChunkFile::encode_checkpoint`] with nothing but pages and events written since.
    pub(super) fn write_checkpoint(
        &mut self,
        checkpoint: &Checkpoint,
        Encoded { kind, payload, base }: Encoded,
    ) -> Result<(), TraceError> {
        let encoded = self.encode(kind, &payload)?;
        let entry = IndexEntry {
            event: checkpoint.event.0,
            tick: checkpoint.tick.0,
            name: checkpoint.name.clone(),
            ..IndexEntry::default()
        };
        self.write_encoded(&encoded, &payload, entry)?;
        self.base = Some(base);
        Ok(())
    }

    pub(super) fn write_tail(&mut self, end: &EndNote) -> Result<(), TraceError> {
        self.write_chunk(ChunkKind::ENDING, &to_bytes(end))?;
        self.write_index()
    }

    /// Writes an index of all chunks so far, and where it is.
    pub(super) fn write_index(&mut self) -> Result<(), TraceError> {
        let index_at = self.end;
        let index = to_bytes(&self.index);
        if index.len() as u64 > ChunkKind::INDEX.bytes_max() {
            // After days of recording. A trace without an index can be read as well, only slower.
            return Ok(());
        }
        self.write_chunk(ChunkKind::INDEX, &index)?;
        self.write_chunk(ChunkKind::FOOTER, &index_at.to_le_bytes())?;
        // An index does not name these.
        self.index.truncate(self.index.len() - 2);
        Ok(())
    }

    /// This place.
    pub(super) fn mark(&self, tick: Tick) -> Mark {
        let ChunkFile { end, events, pages, checkpoints, .. } = *self;
        Mark { end, chunks: self.index.len(), events, pages, checkpoints, tick }
    }

    /// Goes back to a place.
    pub(super) fn rewind(&mut self, mark: &Mark) -> Result<(), TraceError> {
        self.file
            .set_len(mark.end)
            .and_then(|()| self.file.seek(SeekFrom::Start(mark.end)))
            .map_err(TraceError::io(&self.path, "take events back in"))?;
        (self.end, self.events, self.pages) = (mark.end, mark.events, mark.pages);
        if self.checkpoints != mark.checkpoints {
            (self.checkpoints, self.base) = (mark.checkpoints, None);
        }
        self.index.truncate(mark.chunks);
        Ok(())
    }

    /// After a failed write: leaves no half a chunk behind. If even that fails, a reader passes over it.
    pub(super) fn cut_back(&mut self) {
        let _ = self.file.set_len(self.end);
        let _ = self.file.seek(SeekFrom::Start(self.end));
    }
}

pub(super) fn to_bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data into a growing vector cannot fail")
}

pub(super) fn host_note() -> HostNote {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    HostNote {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        started_unix_ns: since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(0)),
    }
}

/// An existing regular file is only overwritten if it is empty or a trace.
pub(super) fn refuse_to_overwrite(path: &Path) -> Result<(), TraceError> {
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(path).is_ok_and(|m| m.is_file()) {
        return Ok(());
    }
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let mut magic = Vec::new();
    let _ = (&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic);
    if magic.is_empty() || magic == MAGIC {
        return Ok(());
    }
    Err(TraceError::WouldOverwrite { path: path.to_owned() })
}

/// Opens an empty file that no other recorder writes to.
pub(super) fn open_alone(path: &Path) -> Result<File, TraceError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let file = own(path, &mut options, "create the trace")?;
    if file.metadata().is_ok_and(|m| m.is_file()) {
        file.set_len(0).map_err(TraceError::io(path, "empty the old trace"))?;
    }
    Ok(file)
}

/// Opens a file to write to, alone: nobody else can for as long as it is open. Everybody can read it.
#[cfg(not(windows))]
pub(super) fn own(
    path: &Path,
    options: &mut OpenOptions,
    what: &'static str,
) -> Result<File, TraceError> {
    let file = options.open(path).map_err(TraceError::io(path, what))?;
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) if file.metadata().is_ok_and(|m| m.is_file()) => {
            Err(TraceError::BeingWritten { path: path.to_owned() })
        }
        _ => Ok(file),
    }
}

/// Opens a file to write to, alone: nobody else can for as long as it is open. Everybody can read it. (A lock would
/// keep readers out as well on Windows.)
#[cfg(windows)]
pub(super) fn own(
    path: &Path,
    options: &mut OpenOptions,
    what: &'static str,
) -> Result<File, TraceError> {
    use std::os::windows::fs::OpenOptionsExt as _;
    /// What others may do with the file: `FILE_SHARE_READ`, `FILE_SHARE_DELETE`.
    const SHARE_READ: u32 = 1;
    const SHARE_DELETE: u32 = 4;
    const ERROR_SHARING_VIOLATION: i32 = 32;
    options.share_mode(SHARE_READ | SHARE_DELETE).open(path).map_err(|error| {
        match error.raw_os_error() {
            Some(ERROR_SHARING_VIOLATION) => TraceError::BeingWritten { path: path.to_owned() },
            _ => TraceError::io(path, what)(error),
        }
    })
}
