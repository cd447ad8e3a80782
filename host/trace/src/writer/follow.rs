//! Reads a trace while it is written: events come out of the file as soon as the writer has put them there.
//!
//! Nothing is kept in memory for a follower, however far it is behind, and the guest's thread does nothing
//! for it. Invariant: only bytes that the writer has announced are read, so there is no half a chunk.

use super::Shared;
use super::chunk_file::ChunkFile;
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, FILE_HEADER_BYTES};
use crate::codec::BatchDecoder;
use crate::error::TraceError;
use crate::event::{Event, EventIndex, Tick};
use crate::manifest::{EndNote, Ending};
use crate::reader::open_batch;
use crate::source::Source;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

/// What is in the file.
#[derive(Default)]
pub(super) struct Progress {
    /// Where the last complete chunk ends.
    end: u64,
    events: u64,
    /// Nothing more will come.
    over: bool,
    /// How many events there will be, once that is known.
    total: Option<u64>,
    ending: Option<EndNote>,
    failed: Option<TraceError>,
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells followers what is in the file by now.
    pub(super) fn publish(&self, file: &ChunkFile) {
        let mut progress = self.progress();
        if progress.end != file.end {
            (progress.end, progress.events) = (file.end, file.events);
            self.progressed.notify_all();
        }
    }

    /// Tells followers that nothing more will come.
    pub(super) fn publish_over(
        &self,
        file: &ChunkFile,
        ending: Option<EndNote>,
        failed: Option<TraceError>,
    ) {
        let (end, events) = (file.end, file.events);
        *self.progress() =
            Progress { end, events, over: true, total: Some(events), ending, failed };
        self.progressed.notify_all();
    }
}

/// Yields the events of a trace that is being recorded, from the first one on.
///
/// As an iterator it waits for the next event, and ends with the recording or when it is cancelled. So who
/// wants to know whether an event is the last has to wait for the one behind it.
pub struct Follow {
    shared: Arc<Shared>,
    source: Source,
    cancelled: Arc<AtomicBool>,
    /// The chunk that is to be read next.
    at: u64,
    batch: Option<(u64, BatchDecoder)>,
    next: EventIndex,
    tick: Tick,
    /// An error was given; there is nothing more.
    broken: bool,
}

/// Wakes a [`Follow`] that waits, from another thread.
#[derive(Clone)]
pub struct CancelHandle {
    shared: Arc<Shared>,
    cancelled: Arc<AtomicBool>,
}

impl CancelHandle {
    /// The follower gives no more events.
    pub fn cancel(&self) {
        // Under the lock, so that nobody goes to sleep between looking and being woken.
        let _progress = self.shared.progress();
        self.cancelled.store(true, Ordering::Relaxed);
        self.shared.progressed.notify_all();
    }

    /// There will be so many events: a follower that asks for another one gets none instead of waiting.
    pub fn expect(&self, events: u64) {
        self.shared.progress().total = Some(events);
        self.shared.progressed.notify_all();
    }
}

impl Follow {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Follow, TraceError> {
        let path = shared.path.clone();
        // Asked before it is opened: opening a pipe would wait for its other end.
        if !std::fs::metadata(&path).is_ok_and(|m| m.is_file()) {
            return Err(TraceError::NotFollowable { path });
        }
        let file = File::open(&path).map_err(TraceError::io(&path, "follow"))?;
        Ok(Follow {
            shared,
            source: Source { path, file, version: crate::FORMAT_VERSION },
            cancelled: Arc::new(AtomicBool::new(false)),
            at: FILE_HEADER_BYTES as u64,
            batch: None,
            next: EventIndex(0),
            tick: Tick(0),
            broken: false,
        })
    }

    /// The next event, waiting for it if it is not in the file yet. `None` if the recording has ended or
    /// the follower was cancelled.
    ///
    /// # Errors
    /// [`TraceError::Damaged`] if somebody else has written to the file; the writer's error, behind the last
    /// event that is in the file. After an error there are no more events.
    pub fn next_event(&mut self) -> Result<Option<Event>, TraceError> {
        if self.broken {
            return Ok(None);
        }
        let result = self.advance();
        self.broken = result.is_err();
        result
    }

    fn advance(&mut self) -> Result<Option<Event>, TraceError> {
        loop {
            if self.is_cancelled() {
                return Ok(None);
            }
            if let Some((offset, batch)) = &mut self.batch {
                match batch.decode_next() {
                    Ok(Some(event)) => {
                        self.next.0 += 1;
                        self.tick = event.tick;
                        return Ok(Some(event));
                    }
                    Ok(None) => self.batch = None,
                    Err(what) => return Err(self.source.damaged(*offset, what)),
                }
            }
            let end = {
                let next = self.next.0;
                let waits = |p: &mut Progress| {
                    let comes = p.total.is_none_or(|total| next < total);
                    p.end <= self.at && !p.over && comes && !self.is_cancelled()
                };
                let progress = self.shared.progressed.wait_while(self.shared.progress(), waits);
                let progress = progress.unwrap_or_else(PoisonError::into_inner);
                if progress.end <= self.at {
                    return match &progress.failed {
                        Some(error) if !self.is_cancelled() => Err(error.again()),
                        _ => Ok(None),
                    };
                }
                progress.end
            };
            self.read_chunk(end)?;
        }
    }

    /// Reads the next chunk, if it is one of events. It ends at `end` at the latest.
    fn read_chunk(&mut self, end: u64) -> Result<(), TraceError> {
        let offset = self.at;
        let header = ChunkHeader::from_bytes(&self.source.header_at(offset)?)
            .map_err(|what| self.source.damaged(offset, what))?;
        self.at = offset + CHUNK_HEADER_BYTES as u64 + header.stored_bytes;
        if self.at > end {
            let what = "the chunk passes the end of what was written".to_owned();
            return Err(self.source.damaged(offset, what));
        }
        if header.kind == ChunkKind::EVENTS {
            let payload = self.source.payload(offset, &header)?;
            let batch = open_batch(&self.source, offset, payload, self.next, self.tick)?;
            self.batch = Some((offset, batch));
        }
        Ok(())
    }

    /// How the recording ended and at which tick; `None` while it goes on, and if it was cut off. Certainly
    /// known when [`Follow::next_event`] has given `None`, unless that was because of cancelling.
    #[must_use]
    pub fn ending(&self) -> Option<(Ending, Tick)> {
        let progress = self.shared.progress();
        progress.ending.as_ref().map(|end| (end.ending.clone(), end.tick))
    }

    /// Whether nothing more will be written. There may be events that were not taken yet.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.progress().over
    }

    /// How many events are in the file that were not taken yet: 0 if the follower has caught up.
    #[must_use]
    pub fn events_waiting(&self) -> u64 {
        self.shared.progress().events.saturating_sub(self.next.0)
    }

    /// The number of the event that comes next.
    #[must_use]
    pub fn position(&self) -> EventIndex {
        self.next
    }

    /// A handle that stops the follower from another thread.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { shared: Arc::clone(&self.shared), cancelled: Arc::clone(&self.cancelled) }
    }

    /// Whether it was stopped so.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Iterator for Follow {
    type Item = Result<Event, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_event().transpose()
    }
}
