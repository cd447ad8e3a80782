//! Rewrites a finished recording of `--deterministic`, so that it does not depend on when what was flushed
//! and when checkpoints were taken out of it.
//!
//! A canonical file has batches of fixed sizes and no stamps. Edits of a layer stand before the first one, in batches of fixed
//! sizes. Its pages and checkpoints stand between the
//! last batch and the ending, checkpoints by tick and event, each behind the pages that it is the first to
//! need, in the order in which it names them. Equal pages are stored once; zero pages are in no run; runs
//! are as long as they can be.

use super::chunk_file::{ChunkFile, PAGE_CHUNK_BYTES, to_bytes};
use super::{BATCH_BYTES, Batch, Saved};
use crate::checkpoint::{Checkpoint, MemoryState, PageId, PageRun};
use crate::chunk::PAGE_BYTES;
use crate::codec::BatchEncoder;
use crate::error::TraceError;
use crate::event::{EventIndex, Tick};
use crate::layer::LayerEdit;
use crate::manifest::EndNote;
use crate::reader::TraceReader;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Pages are read in pieces of this many: 16 MiB.
const PAGES_READ_MAX: usize = 4096;

/// Rewrites a finished trace so that its batches do not depend on when they were flushed.
pub(super) fn make_canonical(path: &Path) -> Result<Saved, TraceError> {
    // The file behind a link is the one to be replaced.
    let path = &match std::fs::canonicalize(path) {
        Ok(path) => path,
        // Some file systems of Windows cannot tell; they have no links either.
        Err(_) if cfg!(windows) => path.to_owned(),
        Err(error) => return Err(TraceError::io(path, "find the trace")(error)),
    };
    let metadata = std::fs::metadata(path).map_err(TraceError::io(path, "find the trace"))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    if temporary.exists() {
        return Err(TraceError::WouldOverwrite { path: temporary });
    }
    let result = rewrite(path, &temporary).and_then(|saved| {
        std::fs::set_permissions(&temporary, metadata.permissions())
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(TraceError::io(path, "replace the trace"))?;
        Ok(saved)
    });
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

fn rewrite(from: &Path, to: &Path) -> Result<Saved, TraceError> {
    let reader = TraceReader::open(from)?;
    let (Some(ending), Some(tick)) = (reader.ending().cloned(), reader.end_tick()) else {
        unreachable!("only finished traces are rewritten");
    };
    let mut file = ChunkFile::create(to, &to_bytes(reader.manifest()), reader.version())?;
    file.write_head(None, reader.finding(), &reader.module()?, reader.has_layer())?;
    let mut edits = Vec::new();
    let mut steps = reader.layer_edits(EventIndex(u64::MAX));
    while let Some(step) = steps.advance()? {
        LayerEdit::encode(step.after, &step.edit, &mut edits);
        if edits.len() >= BATCH_BYTES {
            file.write_edits(&std::mem::take(&mut edits))?;
        }
    }
    if !edits.is_empty() {
        file.write_edits(&edits)?;
    }
    let mut encoder = BatchEncoder::new(EventIndex(0), Tick(0));
    for event in reader.events()? {
        let event = event?;
        encoder.push(event.tick, &event.call, &event.outcome);
        if encoder.len_bytes() >= BATCH_BYTES {
            file.write_events(&Batch::seal(&mut encoder))?;
        }
    }
    if !encoder.is_empty() {
        file.write_events(&Batch::seal(&mut encoder))?;
    }
    let mut pages = Pages { reader: &reader, new_ids: HashMap::new(), by_content: HashMap::new() };
    for i in 0..reader.checkpoints().len() {
        let mut checkpoint = reader.checkpoint(i)?;
        pages.write_missing(&checkpoint, &mut file)?;
        for memory in &mut checkpoint.memories {
            pages.renumber(memory);
        }
        let bad = |what| TraceError::BadCheckpoint { path: from.to_owned(), what };
        let encoded = file.encode_checkpoint(&checkpoint, None).map_err(bad)?;
        file.write_checkpoint(&checkpoint, encoded)?;
    }
    file.write_tail(&EndNote { ending, tick })?;
    Ok(Saved { events: file.events, file_bytes: file.end })
}

/// The pages of a trace, and which of them are in its canonical form already.
struct Pages<'a> {
    reader: &'a TraceReader,
    /// The canonical id of each page that was met; 0 if it is zero.
    new_ids: HashMap<u32, u32>,
    /// The canonical id of each content that is stored.
    by_content: HashMap<[u8; 32], u32>,
}

impl Pages<'_> {
    /// Writes the pages that a checkpoint names and that are not in the file yet.
    fn write_missing(
        &mut self,
        checkpoint: &Checkpoint,
        file: &mut ChunkFile,
    ) -> Result<(), TraceError> {
        let mut missing = Vec::new();
        for run in checkpoint.memories.iter().flat_map(|memory| &memory.runs) {
            for id in run.id.0..run.id.0 + run.count {
                // Marked now, so that a page that is named twice is read once; put right below.
                self.new_ids.entry(id).or_insert_with(|| {
                    missing.push(id);
                    0
                });
            }
        }
        let mut fresh = Vec::new();
        for ids in missing.chunks(PAGES_READ_MAX) {
            let mut contents = vec![0; ids.len() * PAGE_BYTES];
            let wanted =
                ids.iter().map(|id| PageId(*id)).zip(contents.chunks_exact_mut(PAGE_BYTES));
            self.reader.read_pages(wanted.collect())?;
            for (id, content) in ids.iter().zip(contents.chunks_exact(PAGE_BYTES)) {
                if content.iter().all(|byte| *byte == 0) {
                    continue;
                }
                let next = self.by_content.len() as u32 + 1;
                let hash = *blake3::hash(content).as_bytes();
                let new_id = *self.by_content.entry(hash).or_insert_with(|| {
                    fresh.extend_from_slice(content);
                    next
                });
                self.new_ids.insert(*id, new_id);
            }
            // Only whole chunks, so that how much is read at once does not show.
            let whole = fresh.len() - fresh.len() % PAGE_CHUNK_BYTES;
            file.write_pages(&fresh[..whole])?;
            fresh.drain(..whole);
        }
        file.write_pages(&fresh)
    }

    /// Gives the pages of a memory their canonical ids.
    fn renumber(&self, memory: &mut MemoryState) {
        let mut runs: Vec<PageRun> = Vec::new();
        for run in &memory.runs {
            for i in 0..run.count {
                let page = run.page + i;
                let id = self.new_ids[&(run.id.0 + i)];
                match runs.last_mut() {
                    _ if id == 0 => {}
                    Some(last)
                        if last.page + last.count == page && last.id.0 + last.count == id =>
                    {
                        last.count += 1;
                    }
                    _ => runs.push(PageRun { page, id: PageId(id), count: 1 }),
                }
            }
        }
        memory.runs = runs;
    }
}
