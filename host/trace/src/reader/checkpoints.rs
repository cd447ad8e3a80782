//! Checkpoints and pages of a trace.
//!
//! Invariant: a damaged checkpoint or page is an error of whoever asks for it, never of the rest.

use super::TraceReader;
use crate::checkpoint::{Checkpoint, CheckpointHead, PageId};
use crate::chunk::{self, CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, Encoding, PAGE_BYTES};
use crate::delta::{self, CHAIN_BYTES_MAX, CHAIN_MAX, Changes, WrittenSince};
use crate::error::TraceError;
use crate::event::{EventIndex, Tick};
use crate::source::Source;
use rayon::prelude::*;
use std::sync::{Arc, PoisonError};

/// What is known of a checkpoint without decoding it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointEntry {
    /// The guest's time.
    pub tick: Tick,
    /// How many events were before it.
    pub event: EventIndex,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Length in the file of the checkpoint's chunk, without its pages.
    pub stored_bytes: u64,
    /// Length in the file of the chunks of pages that were added with it.
    pub page_bytes_stored: u64,
    /// Its place among the checkpoints of the file.
    place: usize,
}

/// A page and where it is wanted.
type Wanted<'a> = (PageId, &'a mut [u8]);

/// A checkpoint that was decoded.
#[derive(Clone, Debug)]
pub(super) struct Decoded {
    /// Its place among the checkpoints of the file.
    place: usize,
    /// How many others it is based on.
    depth: usize,
    /// What the payloads of all of these take.
    chain_bytes: u64,
    checkpoint: Arc<Checkpoint>,
}

fn not_before(place: usize, base: u32) -> String {
    format!("checkpoint {place} is based on checkpoint {base}, which is not before it")
}

fn too_long() -> String {
    format!("more than {CHAIN_MAX} checkpoints or {CHAIN_BYTES_MAX} bytes have to be read for it")
}

/// Where the pages and checkpoints of a file are; from the headers alone.
#[derive(Debug, Default)]
pub(super) struct Stored {
    batches: Vec<PageBatch>,
    pages: u32,
    checkpoints: Vec<CheckpointChunk>,
}

#[derive(Debug)]
struct PageBatch {
    /// The id of its first page.
    first: u32,
    pages: u32,
    offset: u64,
    header: ChunkHeader,
}

#[derive(Debug)]
struct CheckpointChunk {
    offset: u64,
    header: ChunkHeader,
    /// The pages that stand before it, which it may name.
    pages: u32,
    page_bytes_stored: u64,
}

impl Stored {
    /// Finds them. The error is where there are more pages than numbers.
    pub(super) fn find(chunks: &[(u64, ChunkHeader)]) -> Result<Stored, (u64, String)> {
        let mut stored = Stored::default();
        let mut page_bytes_stored = 0;
        for &(offset, header) in chunks {
            if header.kind == ChunkKind::PAGES {
                // A header's check sees to it that these are 1 to 16 whole pages.
                let pages = (header.raw_bytes / PAGE_BYTES as u64) as u32;
                let first = stored.pages + 1;
                stored.pages = stored
                    .pages
                    .checked_add(pages)
                    .filter(|pages| *pages < u32::MAX)
                    .ok_or((offset, "more pages than numbers for them".to_owned()))?;
                stored.batches.push(PageBatch { first, pages, offset, header });
                page_bytes_stored += header.stored_bytes + CHUNK_HEADER_BYTES as u64;
            } else if header.kind.is_checkpoint() {
                let page_bytes_stored = std::mem::take(&mut page_bytes_stored);
                let pages = stored.pages;
                stored.checkpoints.push(CheckpointChunk {
                    offset,
                    header,
                    pages,
                    page_bytes_stored,
                });
            }
        }
        Ok(stored)
    }
}

impl TraceReader {
    /// How many pages are stored; their ids are 1 to this number.
    #[must_use]
    pub fn page_count(&self) -> u32 {
        self.stored.pages
    }

    /// All checkpoints, by tick and event. Without an index they are decoded when this is first called;
    /// damaged ones are then left out.
    pub fn checkpoints(&self) -> &[CheckpointEntry] {
        if let Some(entries) = self.checkpoints.get() {
            return entries;
        }
        let chunks = self.stored.checkpoints.par_iter().enumerate();
        let mut entries: Vec<CheckpointEntry> = chunks
            .filter_map(|(place, chunk)| {
                let head = self.checkpoint_head(place).ok()?;
                Some(CheckpointEntry {
                    tick: head.tick,
                    event: head.event,
                    name: head.name,
                    stored_bytes: chunk.header.stored_bytes + CHUNK_HEADER_BYTES as u64,
                    page_bytes_stored: chunk.page_bytes_stored,
                    place,
                })
            })
            .collect();
        entries.sort_by_key(|entry| (entry.tick, entry.event));
        // Not computed while others wait for it: a thread of the pool that waits may be needed here.
        self.checkpoints.get_or_init(|| entries)
    }

    /// The longest time without a checkpoint, from the start to the end of the recording, in
    /// nanoseconds; `None` if the trace has no times or no checkpoints.
    ///
    /// # Errors
    /// [`TraceError::Damaged`].
    pub fn checkpoint_gap_ns_max(&self) -> Result<Option<u64>, TraceError> {
        let Some(end) = self.time_stamps()?.last().map(|stamp| stamp.elapsed_ns) else {
            return Ok(None);
        };
        let (mut before, mut longest) = (0, 0);
        for entry in self.checkpoints() {
            if let Some(at) = self.elapsed_ns_at_tick(entry.tick)? {
                longest = longest.max(at.saturating_sub(before));
                before = at;
            }
        }
        let last = end.saturating_sub(before);
        Ok((!self.checkpoints().is_empty()).then_some(longest.max(last)))
    }

    /// The front of a checkpoint, from the index if that names it.
    pub(crate) fn checkpoint_head(&self, place: usize) -> Result<CheckpointHead, TraceError> {
        if let Some(head) = self.indexed_head(place) {
            return Ok(head);
        }
        let chunk = &self.stored.checkpoints[place];
        let payload = self.payload(chunk.offset, &chunk.header)?;
        let head = match chunk.header.kind {
            ChunkKind::CHANGES => delta::head_of(payload),
            _ => CheckpointHead::decode(&payload),
        };
        head.map_err(|what| self.bad_checkpoint(chunk, what))
    }

    /// The index names the chunks before it, so it has the first checkpoints of the file.
    fn indexed_head(&self, place: usize) -> Option<CheckpointHead> {
        let entry = self.indexed_checkpoints.get(place).and_then(|i| self.index.get(*i))?;
        Some(CheckpointHead {
            tick: Tick(entry.tick),
            event: EventIndex(entry.event),
            name: entry.name.clone(),
        })
    }

    fn bad_checkpoint(&self, chunk: &CheckpointChunk, what: String) -> TraceError {
        self.damaged(chunk.offset, format!("chunk {}: {what}", chunk.header.kind))
    }

    /// A checkpoint, by its place in [`TraceReader::checkpoints`].
    ///
    /// Requires: there is one.
    ///
    /// # Errors
    /// [`TraceError::Damaged`], also if it names pages that do not stand before it.
    pub fn checkpoint(&self, i: usize) -> Result<Checkpoint, TraceError> {
        self.decode_checkpoint(self.checkpoints()[i].place)
    }

    /// What was written to memories before a checkpoint, since an earlier one; by its place in
    /// [`TraceReader::checkpoints`]. `None` if the file does not say.
    ///
    /// Requires: there is such a checkpoint.
    ///
    /// # Errors
    /// As [`TraceReader::checkpoint`].
    pub fn written_before_checkpoint(&self, i: usize) -> Result<Option<WrittenSince>, TraceError> {
        let place = self.checkpoints()[i].place;
        let chunk = &self.stored.checkpoints[place];
        if chunk.header.kind != ChunkKind::CHANGES {
            return Ok(None);
        }
        let payload = self.payload(chunk.offset, &chunk.header)?;
        let changes = Changes::from_payload(payload, chunk.pages, self.version());
        let changes = changes.map_err(|what| self.bad_checkpoint(chunk, what))?;
        let Some((base, pages)) = changes.written() else { return Ok(None) };
        if base as usize >= place {
            return Err(self.bad_checkpoint(chunk, not_before(place, base)));
        }
        let CheckpointHead { tick, event, .. } = self.checkpoint_head(base as usize)?;
        Ok(Some(WrittenSince { since: (tick, event), pages }))
    }

    fn decode_checkpoint(&self, place: usize) -> Result<Checkpoint, TraceError> {
        let decoded = || self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        let known = decoded().clone();
        // From here back to a whole checkpoint, or to one that is known.
        let mut chain: Vec<(&CheckpointChunk, Vec<u8>)> = Vec::new();
        let mut at = place;
        let (mut checkpoint, mut depth, mut chain_bytes) = loop {
            if let Some(known) = known.as_ref().filter(|known| known.place == at) {
                break (Checkpoint::clone(&known.checkpoint), known.depth, known.chain_bytes);
            }
            let chunk = &self.stored.checkpoints[at];
            let payload = self.payload(chunk.offset, &chunk.header)?;
            let bad = |what| self.bad_checkpoint(chunk, what);
            if chunk.header.kind != ChunkKind::CHANGES {
                let bytes = payload.len() as u64;
                let whole = Checkpoint::from_payload(payload, chunk.pages, self.version());
                break (whole.map_err(bad)?, 0, bytes);
            }
            let base = delta::base_of(&payload).map_err(bad)?;
            if base as usize >= at {
                return Err(bad(not_before(at, base)));
            }
            if chain.len() == CHAIN_MAX {
                return Err(bad(too_long()));
            }
            chain.push((chunk, payload));
            at = base as usize;
        };
        for (chunk, payload) in chain.into_iter().rev() {
            (depth, chain_bytes) = (depth + 1, chain_bytes + payload.len() as u64);
            let is_short = depth <= CHAIN_MAX && chain_bytes <= CHAIN_BYTES_MAX;
            checkpoint = is_short
                .then(|| Changes::from_payload(payload, chunk.pages, self.version()))
                .ok_or_else(too_long)
                .and_then(|changes| changes?.apply(&checkpoint))
                .and_then(|applied| applied.check(chunk.pages).map(|()| applied))
                .map_err(|what| self.bad_checkpoint(chunk, what))?;
        }
        let chunk = &self.stored.checkpoints[place];
        let Checkpoint { tick, event, name, .. } = &checkpoint;
        let lies =
            |head: CheckpointHead| (head.tick, head.event, &head.name) != (*tick, *event, name);
        if self.indexed_head(place).is_some_and(lies) {
            return Err(self.bad_checkpoint(chunk, "the index does not fit it".to_owned()));
        }
        let known = Arc::new(checkpoint.clone());
        *decoded() = Some(Decoded { place, depth, chain_bytes, checkpoint: known });
        Ok(checkpoint)
    }

    /// Copies pages to where they are wanted. Each batch of pages is decoded once, on all cores.
    ///
    /// Requires: each destination has [`PAGE_BYTES`].
    ///
    /// # Errors
    /// [`TraceError::Damaged`]; the destinations may then hold anything. It is an error as well if a page
    /// is not in the file.
    pub fn read_pages(&self, mut wanted: Vec<(PageId, &mut [u8])>) -> Result<(), TraceError> {
        wanted.sort_unstable_by_key(|(id, _)| *id);
        let mut jobs: Vec<(&PageBatch, Vec<Wanted<'_>>)> = Vec::new();
        for (id, out) in wanted {
            assert_eq!(out.len(), PAGE_BYTES, "a page's destination is as long as a page");
            if id == PageId(0) {
                out.fill(0);
                continue;
            }
            match jobs.last_mut() {
                Some((batch, pages)) if id.0 - batch.first < batch.pages => pages.push((id, out)),
                _ => jobs.push((self.batch_of(id)?, vec![(id, out)])),
            }
        }
        jobs.into_par_iter().try_for_each_init(PageDecoder::default, |decoder, (batch, pages)| {
            let raw = decoder.decode(&self.source, batch)?;
            for (id, out) in pages {
                let at = (id.0 - batch.first) as usize * PAGE_BYTES;
                out.copy_from_slice(&raw[at..at + PAGE_BYTES]);
            }
            Ok(())
        })
    }

    fn batch_of(&self, id: PageId) -> Result<&PageBatch, TraceError> {
        let after = self.stored.batches.partition_point(|batch| batch.first <= id.0);
        match after.checked_sub(1).map(|i| &self.stored.batches[i]) {
            Some(batch) if id.0 - batch.first < batch.pages => Ok(batch),
            _ => {
                let what = format!("page {} is not in it, but 1 to {}", id.0, self.page_count());
                Err(self.damaged(self.file_bytes, what))
            }
        }
    }

    /// Decodes all pages and checkpoints; `events_before` tells how many events stand before an offset.
    pub(super) fn check_stored(
        &self,
        events_before: impl Fn(u64) -> u64 + Sync,
    ) -> Result<(), TraceError> {
        let batches = self.stored.batches.par_iter();
        let bad_page = batches
            .map_init(PageDecoder::default, |decoder, batch| {
                decoder.decode(&self.source, batch).map(|_| ()).err()
            })
            .find_map_first(|error| error);
        if let Some(error) = bad_page {
            return Err(error);
        }
        for (place, chunk) in self.stored.checkpoints.iter().enumerate() {
            let checkpoint = self.decode_checkpoint(place)?;
            let before = events_before(chunk.offset);
            if checkpoint.event.0 > before {
                let what =
                    format!("it stands at event {}, behind {before} events", checkpoint.event);
                return Err(self.bad_checkpoint(chunk, what));
            }
        }
        Ok(())
    }
}

/// Decodes batches of pages, one after the other, without reserving memory for each.
#[derive(Default)]
struct PageDecoder {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    stored: Vec<u8>,
    raw: Vec<u8>,
}

impl PageDecoder {
    fn decode(&mut self, source: &Source, batch: &PageBatch) -> Result<&[u8], TraceError> {
        let (offset, header) = (batch.offset, &batch.header);
        // Both lengths were bounded when the header was checked: 64 KiB.
        self.stored.resize(header.stored_bytes as usize, 0);
        source.read_at(&mut self.stored, offset + CHUNK_HEADER_BYTES as u64)?;
        chunk::verify(header, &self.stored).map_err(|what| source.damaged(offset, what))?;
        if header.encoding == Encoding::Stored {
            return Ok(&self.stored);
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(
                zstd::bulk::Decompressor::new()
                    .map_err(TraceError::io(&source.path, "start to decompress"))?,
            ),
        };
        self.raw.resize(header.raw_bytes as usize, 0);
        let found = zstd.decompress_to_buffer(&self.stored, &mut self.raw[..]);
        match found {
            Ok(len) if len as u64 == header.raw_bytes => Ok(&self.raw),
            Ok(len) => {
                let what =
                    format!("chunk page decompresses to {len} bytes, not {}", header.raw_bytes);
                Err(source.damaged(offset, what))
            }
            Err(e) => Err(source.damaged(offset, format!("chunk page does not decompress: {e}"))),
        }
    }
}
