//! Puts checkpoints into a trace that is being recorded.
//!
//! Invariant: a checkpoint that was accepted makes sense in the file; the caller is told otherwise.

use super::chunk_file::{ChunkFile, PAGE_CHUNK_BYTES};
use super::{Close, Shared, State};
use crate::checkpoint::Checkpoint;
use crate::chunk::PAGE_BYTES;
use crate::delta::Rewritten;
use crate::error::TraceError;
use crate::manifest::CheckpointPlan;
use std::sync::{Arc, MutexGuard};

/// A caller that puts more than this waits until the writer has caught up.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// With more than this waiting, pages are compressed on all processors, this many bytes at a time.
const PARALLEL_BYTES: usize = 4 << 20;

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

    /// Puts pages that a later checkpoint names, in the order of their ids. Waits only if the
    /// writer has not caught up, so that what waits stays within some tens of megabytes.
    ///
    /// # Errors
    /// [`TraceError::BadCheckpoint`] if these are not whole pages, or too many, and nothing is stored;
    /// [`TraceError::RecordingEnded`] once the recording is being finished; the writer's error, once it has failed.
    pub fn put_pages(&self, new_pages: Vec<u8>) -> Result<(), TraceError> {
        if new_pages.is_empty() {
            return Ok(());
        }
        let bytes = new_pages.len();
        let mut state = self.has_room_for(bytes)?;
        state.pages = pages_after(state.pages, &new_pages).map_err(|what| self.bad(what))?;
        self.push(state, Pending::Pages { pages: new_pages, written: 0 }, bytes);
        Ok(())
    }

    /// Puts a checkpoint, after `new_pages`. With more than one thread that puts, it is for them to
    /// agree about ids.
    ///
    /// # Errors
    /// As [`CheckpointSink::put_pages`]; [`TraceError::BadCheckpoint`] if it names pages or events that are not there.
    pub fn put(&self, new_pages: Vec<u8>, checkpoint: Checkpoint) -> Result<(), TraceError> {
        self.put_with(new_pages, checkpoint, None)
    }

    /// As [`CheckpointSink::put`], with what was written since an earlier checkpoint, if that is
    /// known: it is written down if that is the one before.
    ///
    /// # Errors
    /// As [`CheckpointSink::put`].
    pub fn put_with(
        &self,
        new_pages: Vec<u8>,
        checkpoint: Checkpoint,
        rewritten: Option<Rewritten>,
    ) -> Result<(), TraceError> {
        let pages = pages_after(self.page_count(), &new_pages).map_err(|what| self.bad(what))?;
        checkpoint.check_to_store(pages).map_err(|what| self.bad(what))?;
        let events = self.0.lock().encoder.next_event();
        if checkpoint.event > events {
            let what =
                format!("it stands at event {}, after {} events", checkpoint.event, events.0);
            return Err(self.bad(what));
        }
        self.put_pages(new_pages)?;
        let state = self.has_room_for(0)?;
        self.push(state, Pending::Checkpoint(Box::new((checkpoint, rewritten))), 0);
        Ok(())
    }

    /// Notes how checkpoints are taken from here on.
    ///
    /// # Errors
    /// As [`CheckpointSink::put_pages`].
    pub fn put_plan(&self, plan: CheckpointPlan) -> Result<(), TraceError> {
        let state = self.has_room_for(0)?;
        self.push(state, Pending::Plan(plan), 0);
        Ok(())
    }

    fn bad(&self, what: String) -> TraceError {
        TraceError::BadCheckpoint { path: self.0.path.clone(), what }
    }

    fn has_room_for(&self, bytes: usize) -> Result<MutexGuard<'_, State>, TraceError> {
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
            if state.checkpoint_bytes == 0 || state.checkpoint_bytes + bytes <= QUEUE_BYTES_MAX {
                return Ok(state);
            }
            state = self.0.wait_for_room(state);
        }
    }

    fn push(&self, mut state: MutexGuard<'_, State>, pending: Pending, bytes: usize) {
        state.checkpoint_bytes += bytes;
        state.checkpoints.push_back(pending);
        self.0.work.notify_one();
    }
}

/// How many pages a file of `before` pages has with `new_pages`.
///
/// # Errors
/// A sentence: these are not whole pages, or there are more than ids.
pub(super) fn pages_after(before: u32, new_pages: &[u8]) -> Result<u32, String> {
    if !new_pages.len().is_multiple_of(PAGE_BYTES) {
        return Err(format!("{} bytes are not whole pages", new_pages.len()));
    }
    u32::try_from(new_pages.len() / PAGE_BYTES)
        .ok()
        .and_then(|new| before.checked_add(new))
        .filter(|pages| *pages < u32::MAX)
        .ok_or_else(|| "more pages than numbers for them".to_owned())
}

/// What waits to be written, or is partly.
pub(super) enum Pending {
    Pages { pages: Vec<u8>, written: usize },
    Plan(CheckpointPlan),
    Checkpoint(Box<(Checkpoint, Option<Rewritten>)>),
}

impl Pending {
    /// Whether events have to be written before it.
    pub(super) fn waits_for(&self, events: u64) -> bool {
        matches!(self, Pending::Checkpoint(pending) if pending.0.event.0 > events)
    }

    /// Writes the next part of it. Gives how many bytes of pages that were, and whether it was the
    /// last part.
    pub(super) fn write_part(&mut self, file: &mut ChunkFile) -> Result<(usize, bool), TraceError> {
        match self {
            Pending::Checkpoint(pending) => {
                let (checkpoint, rewritten) = &**pending;
                // `put` has seen that it fits.
                let bad = |what| TraceError::BadCheckpoint { path: file.path.clone(), what };
                let encoded =
                    file.encode_checkpoint(checkpoint, rewritten.as_ref()).map_err(bad)?;
                file.write_checkpoint(checkpoint, encoded)?;
                Ok((0, true))
            }
            Pending::Plan(plan) => {
                file.write_plan(plan)?;
                Ok((0, true))
            }
            Pending::Pages { pages, written } => {
                let rest = &pages[*written..];
                let bytes = match rest.len() > PARALLEL_BYTES {
                    true => {
                        file.write_pages(&rest[..PARALLEL_BYTES])?;
                        PARALLEL_BYTES
                    }
                    false => {
                        let part = &rest[..rest.len().min(PAGE_CHUNK_BYTES)];
                        file.write_page_chunk(part)?;
                        part.len()
                    }
                };
                *written += bytes;
                Ok((bytes, *written == pages.len()))
            }
        }
    }
}
