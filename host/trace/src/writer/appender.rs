//! Adds checkpoints to a trace that was recorded before.
//!
//! The file is only appended to: an old index stays where it is, and a new one after what was added
//! takes its place. So whenever it is interrupted, the trace is as valid as it was.

use super::Saved;
use super::chunk_file::{ChunkFile, own};
use super::sink::pages_after;
use crate::checkpoint::Checkpoint;
use crate::error::TraceError;
use crate::event::EventIndex;
use crate::reader::{Tail, TraceReader};
use std::fs::File;
use std::path::Path;

/// Adds checkpoints to a complete or cut-off trace.
///
/// Dropped without [`TraceAppender::finish`], it leaves what was put, without an index.
pub struct TraceAppender {
    file: ChunkFile,
    pages: u32,
    events: EventIndex,
    /// The run has an ending, so the file gets an index.
    ended: bool,
    /// Something was added, or there was no index to begin with.
    wants_index: bool,
}

impl TraceAppender {
    /// Opens a trace, takes its lock and cuts off an incomplete chunk at its end.
    ///
    /// # Errors
    /// Those of [`TraceReader::open`]; [`TraceError::BeingWritten`] if somebody writes to it;
    /// [`TraceError::NothingRecorded`] if its module is not complete; [`TraceError::Damaged`] if there is no
    /// index and one cannot be made.
    pub fn open(path: &Path) -> Result<TraceAppender, TraceError> {
        Ok(TraceAppender::open_with_reader(path)?.0)
    }

    /// As [`TraceAppender::open`], with a reader of the file as it is now that nobody else can
    /// write to it. Page ids and checkpoints that are read from it stay right for as long as the
    /// appender lives.
    ///
    /// # Errors
    /// As [`TraceAppender::open`].
    pub fn open_with_reader(path: &Path) -> Result<(TraceAppender, TraceReader), TraceError> {
        if !std::fs::metadata(path).map_err(TraceError::io(path, "open"))?.is_file() {
            let found = "it is not a regular file".to_owned();
            return Err(TraceError::NotATrace { path: path.to_owned(), found });
        }
        let file = own(path, File::options().read(true).write(true), "open for writing")?;
        let reading = for_reading(&file, path).map_err(TraceError::io(path, "open"))?;
        let reader = TraceReader::from_file(path, reading)?.sound()?;
        if !reader.has_module() {
            return Err(TraceError::NothingRecorded {
                path: path.to_owned(),
                len_bytes: reader.file_bytes(),
                missing: "the end of its module",
            });
        }
        let index = reader.full_index()?;
        let events = index.iter().map(|entry| entry.events).sum();
        let file = ChunkFile::append_to(path, file, reader.complete_bytes(), index)?;
        let appender = TraceAppender {
            file,
            pages: reader.page_count(),
            events: EventIndex(events),
            ended: reader.ending().is_some(),
            wants_index: !matches!(reader.tail(), Tail::Complete),
        };
        Ok((appender, reader))
    }

    /// How many pages are stored; the next new one gets the id after this number.
    #[must_use]
    pub fn page_count(&self) -> u32 {
        self.pages
    }

    /// Adds a checkpoint, and the pages that it is the first to name, in the order of their ids.
    ///
    /// # Errors
    /// [`TraceError::BadCheckpoint`], and nothing is added. [`TraceError::Io`]: the file is cut back to its
    /// last complete chunk, and the appender must not be used any further.
    pub fn put(&mut self, new_pages: &[u8], checkpoint: &Checkpoint) -> Result<(), TraceError> {
        if checkpoint.event > self.events {
            let what =
                format!("it stands at event {}, after {} events", checkpoint.event, self.events);
            return Err(TraceError::BadCheckpoint { path: self.file.path.clone(), what });
        }
        let bad = |what| TraceError::BadCheckpoint { path: self.file.path.clone(), what };
        let pages = pages_after(self.pages, new_pages).map_err(bad)?;
        checkpoint.check(pages).map_err(bad)?;
        let encoded = self.file.encode_checkpoint(checkpoint, None).map_err(bad)?;
        self.wants_index = true;
        self.change(|file| {
            file.write_pages(new_pages)?;
            file.write_checkpoint(checkpoint, encoded)
        })?;
        self.pages = pages;
        Ok(())
    }

    /// Writes a new index, if the run has an ending and something was added.
    ///
    /// # Errors
    /// [`TraceError::Io`]; what was put is in the file, without an index.
    pub fn finish(mut self) -> Result<Saved, TraceError> {
        if self.ended && self.wants_index {
            self.change(ChunkFile::write_index)?;
        }
        Ok(Saved { events: self.file.events, file_bytes: self.file.end })
    }

    fn change(
        &mut self,
        action: impl FnOnce(&mut ChunkFile) -> Result<(), TraceError>,
    ) -> Result<(), TraceError> {
        let result = action(&mut self.file);
        if result.is_err() {
            self.file.cut_back();
        }
        result
    }
}

/// The same file once more, for reading while it is written to.
#[cfg(not(windows))]
fn for_reading(file: &File, _path: &Path) -> std::io::Result<File> {
    file.try_clone()
}

/// The same file once more, for reading while it is written to. A clone would share its position,
/// which reading moves here.
#[cfg(windows)]
fn for_reading(_file: &File, path: &Path) -> std::io::Result<File> {
    File::open(path)
}
