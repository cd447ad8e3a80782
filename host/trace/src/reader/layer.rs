//! Reads by which steps the private layer above the directories came to be what it was.

use super::TraceReader;
use crate::chunk::{ChunkHeader, ChunkKind};
use crate::error::TraceError;
use crate::event::EventIndex;
use crate::layer::{Edit, LayerEdit};
use crate::source::Source;
use std::sync::Arc;

/// Iterates over the edits of a layer, in order.
pub struct LayerEdits {
    source: Arc<Source>,
    chunks: std::vec::IntoIter<(u64, ChunkHeader)>,
    /// Where the chunk is, and the part of it that was not decoded yet.
    rest: (u64, Vec<u8>, usize),
    /// After so many events the last edit had happened.
    after: u64,
    until: EventIndex,
}

impl TraceReader {
    /// Whether the program wrote to a private layer and not to its directories.
    #[must_use]
    pub fn has_layer(&self) -> bool {
        self.of_kind(ChunkKind::OVERLAY).next().is_some()
    }

    /// The edits that made the layer what it was behind the first `until` events. An item may be an error, after which there
    /// are no more.
    #[must_use]
    pub fn layer_edits(&self, until: EventIndex) -> LayerEdits {
        let chunks: Vec<_> = self.of_kind(ChunkKind::OVERLAY).copied().collect();
        let source = Arc::clone(&self.source);
        LayerEdits { source, chunks: chunks.into_iter(), rest: (0, Vec::new(), 0), after: 0, until }
    }
}

impl LayerEdits {
    /// The next edit with the number of events after which it had happened.
    pub(crate) fn advance(&mut self) -> Result<Option<LayerEdit>, TraceError> {
        loop {
            let (offset, payload, at) = &mut self.rest;
            if *at < payload.len() {
                let damaged =
                    |what: String| self.source.damaged(*offset, format!("chunk ovly: {what}"));
                let (edit, left) = postcard::take_from_bytes::<LayerEdit>(&payload[*at..])
                    .map_err(|error| damaged(error.to_string()))?;
                edit.edit.check().map_err(damaged)?;
                if edit.after < self.after {
                    return Err(damaged("its edits are before those of the last chunk".to_owned()));
                }
                *at = payload.len() - left.len();
                self.after = edit.after;
                return Ok(Some(edit).filter(|edit| edit.after <= self.until.0));
            }
            let Some((offset, header)) = self.chunks.next() else { return Ok(None) };
            self.rest = (offset, self.source.payload(offset, &header)?, 0);
        }
    }
}

impl Iterator for LayerEdits {
    /// After how many events the edit had happened, and the edit.
    type Item = Result<(EventIndex, Edit), TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.rest = (0, Vec::new(), 0);
            self.chunks = Vec::new().into_iter();
        }
        item.map(|item| item.map(|edit| (EventIndex(edit.after), edit.edit)))
    }
}
