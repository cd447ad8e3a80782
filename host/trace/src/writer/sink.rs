//! Puts checkpoints into a trace that is being recorded.
//!
//! Invariant: what is handed to the writer's thread can be stored; whoever puts it is told otherwise.

use super::chunk_file::ChunkFile;
use super::{Close, PAGE_CHUNK_BYTES, Shared};
use crate::checkpoint::{Checkpoint, CheckpointHead};
use crate::chunk::PAGE_BYTES;
use crate::error::TraceError;
use std::path::Path;
use std::sync::Arc;

/// Who puts more than this waits until the writer has caught up.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// A handle that puts checkpoints into a trace that is being recorded.
#[derive(Clone)]
pub struct CheckpointSink(Arc<Shared>);

impl CheckpointSink {
    pub(super) fn new(shared: Arc<Shared>) -> CheckpointSink {
        CheckpointSink(shared)
    }

    /// How many pages were put so far; the next new one gets the id after this number.
    #[must_use]
    pub fn page_count(&self) -> u32 {
        self.0.lock().pages
    }

    /// Puts a checkpoint, and the pages that it is the first to name, in the order of their ids. Waits only
    /// if the writer is behind. With more than one thread that puts, it is for them to agree about ids.
    ///
    /// # Errors
    /// [`TraceError::BadCheckpoint`], and nothing is stored; [`TraceError::RecordingEnded`] once the recording is
    /// being finished; the writer's error, once it has failed.
    pub fn put(&self, new_pages: Vec<u8>, checkpoint: Checkpoint) -> Result<(), TraceError> {
        let prepared = {
            let before = self.page_count();
            Prepared::new(&self.0.path, before, &new_pages, &checkpoint)?
        };
        let Prepared { head, payload, pages, before } = prepared;
        let pending = PendingCheckpoint { head, payload, pages: new_pages, written: 0 };
        let bytes = pending.len_bytes();
        let mut state = self.0.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.again());
            }
            match &state.closing {
                None => {}
                Some(Close::End(_) | Close::Abandon) => {
                    return Err(TraceError::RecordingEnded { path: self.0.path.clone() });
                }
            }
            let full = state.checkpoint_bytes + bytes > QUEUE_BYTES_MAX;
            if !full || state.checkpoints.is_empty() {
                break;
            }
            state = self.0.wait_for_room(state);
        }
        let (event, events) = (pending.head.event, state.encoder.next_event());
        let what = if event > events {
            Some(format!("it stands at event {event}, behind {} events", events.0))
        } else if state.pages != before {
            Some("another thread put pages at the same time".to_owned())
        } else {
            None
        };
        if let Some(what) = what {
            return Err(TraceError::BadCheckpoint { path: self.0.path.clone(), what });
        }
        state.pages = pages;
        state.checkpoint_bytes += bytes;
        state.checkpoints.push_back(pending);
        self.0.work.notify_one();
        Ok(())
    }
}

/// A checkpoint that can be stored.
pub(super) struct Prepared {
    pub head: CheckpointHead,
    pub payload: Vec<u8>,
    /// The pages before it, without and with its own.
    pub before: u32,
    pub pages: u32,
}

impl Prepared {
    pub(super) fn new(
        path: &Path,
        before: u32,
        new_pages: &[u8],
        checkpoint: &Checkpoint,
    ) -> Result<Prepared, TraceError> {
        let prepare = || {
            if !new_pages.len().is_multiple_of(PAGE_BYTES) {
                return Err(format!("{} bytes are not whole pages", new_pages.len()));
            }
            let pages = u32::try_from(new_pages.len() / PAGE_BYTES)
                .ok()
                .and_then(|new| before.checked_add(new))
                .filter(|pages| *pages < u32::MAX)
                .ok_or("more pages than numbers for them")?;
            checkpoint.check(pages)?;
            let payload = checkpoint.to_payload()?;
            Ok(Prepared { head: checkpoint.head(), payload, before, pages })
        };
        prepare().map_err(|what: String| TraceError::BadCheckpoint { path: path.to_owned(), what })
    }
}

/// A checkpoint that waits to be written, or is partly.
pub(super) struct PendingCheckpoint {
    head: CheckpointHead,
    payload: Vec<u8>,
    pages: Vec<u8>,
    /// How many bytes of pages are in the file.
    written: usize,
}

impl PendingCheckpoint {
    pub(super) fn len_bytes(&self) -> usize {
        self.payload.len() + self.pages.len()
    }

    /// Whether only events have to be written before it.
    pub(super) fn waits_for(&self, events: u64) -> bool {
        self.written == self.pages.len() && self.head.event.0 > events
    }

    /// Writes the next chunk of it; `true` if it was the last.
    pub(super) fn write_part(&mut self, file: &mut ChunkFile) -> Result<bool, TraceError> {
        let rest = &self.pages[self.written..];
        if rest.is_empty() {
            file.write_checkpoint(&self.head, &self.payload)?;
            return Ok(true);
        }
        let part = &rest[..rest.len().min(PAGE_CHUNK_BYTES)];
        file.write_page_chunk(part)?;
        self.written += part.len();
        Ok(false)
    }
}
