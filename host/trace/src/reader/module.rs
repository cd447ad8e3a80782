//! The module of a trace: unpacked and hashed, on another thread if that suits.

use super::TraceReader;
use crate::chunk::{ChunkHeader, ChunkKind, FILE_HEADER_BYTES};
use crate::error::TraceError;
use crate::manifest::ModuleId;
use crate::source::Source;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// The most threads that unpack.
const THREADS_MAX: usize = 4;
/// How many pieces each of them unpacks ahead.
const AHEAD: usize = 2;

/// Where a trace holds its module. Independent of the reader that gave it, so that it can be read on
/// another thread.
#[derive(Debug)]
pub struct StoredModule {
    source: Arc<Source>,
    pieces: Vec<(u64, ChunkHeader)>,
    named: ModuleId,
    module_bytes: u64,
    file_bytes: u64,
    /// Something stands in the file that can only follow a complete module.
    complete: bool,
}

impl TraceReader {
    /// The module's bytes, checked against the manifest.
    ///
    /// # Errors
    /// As [`StoredModule::read`].
    pub fn module(&self) -> Result<Vec<u8>, TraceError> {
        self.stored_module().read()
    }

    /// The module, unread.
    #[must_use]
    pub fn stored_module(&self) -> StoredModule {
        StoredModule {
            source: Arc::clone(&self.source),
            pieces: self.of_kind(ChunkKind::MODULE).copied().collect(),
            named: self.manifest.module,
            module_bytes: self.manifest.module_bytes,
            file_bytes: self.file_bytes,
            complete: self.end.is_some() || self.of_kind(ChunkKind::EVENTS).next().is_some(),
        }
    }
}

impl StoredModule {
    /// The module's bytes, checked against the manifest. Uses threads of its own, none of the pool's:
    /// those may be waiting for it.
    ///
    /// # Errors
    /// [`TraceError::NothingRecorded`] if the recording was cut off before the module was complete,
    /// [`TraceError::Damaged`] if the module is not the one that the manifest names.
    pub fn read(&self) -> Result<Vec<u8>, TraceError> {
        let damaged = |offset, what| self.source.damaged(offset, what);
        let mut module_bytes = 0;
        for (offset, header) in &self.pieces {
            module_bytes += header.raw_bytes;
            if module_bytes > self.module_bytes {
                let what = format!(
                    "the module is longer than the {} bytes that the manifest names",
                    self.module_bytes
                );
                return Err(damaged(*offset, what));
            }
        }
        let mut module = Vec::with_capacity(module_bytes as usize);
        let mut hasher = blake3::Hasher::new();
        std::thread::scope(|scope| {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            let threads = (processors / 2).clamp(1, THREADS_MAX).min(self.pieces.len());
            let unpacked: Vec<Receiver<Result<Vec<u8>, TraceError>>> = (0..threads)
                .map(|first| {
                    let (send, receive) = sync_channel(AHEAD);
                    let unpack = move || {
                        for (offset, header) in self.pieces.iter().skip(first).step_by(threads) {
                            // Nobody receives after the first error.
                            if send.send(self.source.payload(*offset, header)).is_err() {
                                return;
                            }
                        }
                    };
                    std::thread::Builder::new()
                        .spawn_scoped(scope, unpack)
                        .map_err(TraceError::io(&self.source.path, "start a thread to read"))?;
                    Ok(receive)
                })
                .collect::<Result<_, TraceError>>()?;
            for number in 0..self.pieces.len() {
                let piece = unpacked[number % threads].recv().unwrap_or_else(|_| {
                    Err(damaged(self.pieces[number].0, "it cannot be unpacked".to_owned()))
                })?;
                hasher.update(&piece);
                module.extend_from_slice(&piece);
            }
            Ok(())
        })?;
        let found = ModuleId(*hasher.finalize().as_bytes());
        if found == self.named {
            return Ok(module);
        }
        let named = self.named;
        match self.pieces.first() {
            Some((offset, _)) if self.complete => Err(damaged(
                *offset,
                format!("the manifest names module {named}, the trace contains {found}"),
            )),
            None if self.complete => Err(damaged(
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
}
