//! Iterates over recorded events, batch by batch.
//!
//! Invariant: events are never passed over in silence: a gap between batches is an error.

use crate::chunk::ChunkHeader;
use crate::codec::BatchDecoder;
use crate::error::TraceError;
use crate::event::{Event, EventIndex, Tick};
use crate::source::Source;
use std::sync::Arc;

/// Iterates over the events of a trace.
pub struct Events {
    source: Arc<Source>,
    chunks: std::vec::IntoIter<(u64, ChunkHeader)>,
    batch: Option<(u64, BatchDecoder)>,
    next: EventIndex,
    /// The tick of the last event.
    tick: Tick,
}

impl Events {
    /// The events of these batches, of which the first starts with event `next`.
    pub(super) fn new(
        source: Arc<Source>,
        chunks: Vec<(u64, ChunkHeader)>,
        next: EventIndex,
    ) -> Events {
        Events { source, chunks: chunks.into_iter(), batch: None, next, tick: Tick(0) }
    }

    /// Goes on to this event. Batches before it are decompressed, but not decoded.
    pub(super) fn pass_over(&mut self, until: EventIndex) -> Result<(), TraceError> {
        while self.next < until {
            if self.batch.is_none() && !self.open_batch()? {
                return Ok(());
            }
            let Some((_, batch)) = &self.batch else { return Ok(()) };
            let end = batch.next_event().0.saturating_add(batch.events_left());
            if end <= until.0 {
                self.next = EventIndex(end);
                self.batch = None;
            } else if self.advance()?.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Opens the next batch, if there is one.
    fn open_batch(&mut self) -> Result<bool, TraceError> {
        let Some((offset, header)) = self.chunks.next() else { return Ok(false) };
        let payload = self.source.payload(offset, &header)?;
        let batch = open_batch(&self.source, offset, payload, self.next, self.tick)?;
        self.tick = batch.tick();
        self.batch = Some((offset, batch));
        Ok(true)
    }

    fn advance(&mut self) -> Result<Option<Event>, TraceError> {
        loop {
            if let Some((offset, batch)) = &mut self.batch {
                match batch.decode_next() {
                    Ok(Some(event))
                        if event.call.function.is_control() && self.source.version < 2 =>
                    {
                        let number = event.call.function as u8;
                        let what = format!("function number {number} does not exist in version 1");
                        return Err(self.source.damaged(*offset, what));
                    }
                    Ok(Some(event)) => {
                        self.next.0 += 1;
                        self.tick = event.tick;
                        return Ok(Some(event));
                    }
                    Ok(None) => self.batch = None,
                    Err(what) => return Err(self.source.damaged(*offset, what)),
                }
            }
            if !self.open_batch()? {
                return Ok(None);
            }
        }
    }
}

/// Reads the head of a batch, which must go on where the one before ended.
pub(crate) fn open_batch(
    source: &Source,
    offset: u64,
    payload: Vec<u8>,
    next: EventIndex,
    tick: Tick,
) -> Result<BatchDecoder, TraceError> {
    let batch = BatchDecoder::new(payload).map_err(|what| source.damaged(offset, what))?;
    let found = batch.next_event();
    if found != next {
        let what = format!("a batch starts with event {found}, expected was {next}");
        return Err(source.damaged(offset, what));
    }
    if batch.events_left() == 0 {
        return Err(source.damaged(offset, "a batch without events".to_owned()));
    }
    if batch.tick() < tick {
        let what = format!("a batch starts with tick {}, before tick {}", batch.tick().0, tick.0);
        return Err(source.damaged(offset, what));
    }
    Ok(batch)
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
