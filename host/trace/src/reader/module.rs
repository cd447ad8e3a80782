//! The module of a trace: unpacked, or only checked.

use super::TraceReader;
use crate::chunk::{self, CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, Encoding, FILE_HEADER_BYTES};
use crate::error::TraceError;
use crate::manifest::ModuleId;
use crate::source::Source;
use std::sync::Arc;

/// Where a trace holds its module. Independent of the reader that gave it, so that it can be read
/// on another thread. Uses no threads of a pool: those may be waiting for it.
#[derive(Clone, Debug)]
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
    /// The module's bytes, checked against the manifest.
    ///
    /// # Errors
    /// [`TraceError::NothingRecorded`] if the recording was cut off before the module was complete,
    /// [`TraceError::Damaged`] if the module is not the one that the manifest names.
    pub fn read(&self) -> Result<Vec<u8>, TraceError> {
        let mut module = vec![0; self.claimed_bytes()? as usize];
        let mut rest = &mut module[..];
        let mut hasher = blake3::Hasher::new();
        let mut unpacker = Unpacker::new(&self.source)?;
        for (offset, header) in &self.pieces {
            let (piece, others) = rest.split_at_mut(header.raw_bytes as usize);
            unpacker.unpack(*offset, header, piece)?;
            hasher.update(piece);
            rest = others;
        }
        self.compare(ModuleId(*hasher.finalize().as_bytes()))?;
        Ok(module)
    }

    /// Checks the module against the manifest without keeping it.
    ///
    /// # Errors
    /// As [`StoredModule::read`].
    pub fn check(&self) -> Result<(), TraceError> {
        self.claimed_bytes()?;
        let mut hasher = blake3::Hasher::new();
        let mut unpacker = Unpacker::new(&self.source)?;
        // Used again and again, it stays in the processor's cache.
        let mut piece: Vec<u8> = Vec::new();
        for (offset, header) in &self.pieces {
            piece.clear();
            piece.reserve(header.raw_bytes as usize);
            unpacker.unpack(*offset, header, &mut piece)?;
            hasher.update(&piece);
        }
        self.compare(ModuleId(*hasher.finalize().as_bytes()))
    }

    /// How many bytes all pieces claim to have, at most as many as the manifest says.
    fn claimed_bytes(&self) -> Result<u64, TraceError> {
        let mut claimed = 0;
        for (offset, header) in &self.pieces {
            claimed += header.raw_bytes;
            if claimed > self.module_bytes {
                let what = format!(
                    "the module is longer than the {} bytes that the manifest names",
                    self.module_bytes
                );
                return Err(self.source.damaged(*offset, what));
            }
        }
        Ok(claimed)
    }

    fn compare(&self, found: ModuleId) -> Result<(), TraceError> {
        let named = self.named;
        if found == named {
            return Ok(());
        }
        match self.pieces.first() {
            Some((offset, _)) if self.complete => Err(self.source.damaged(
                *offset,
                format!("the manifest names module {named}, the trace contains {found}"),
            )),
            None if self.complete => Err(self.source.damaged(
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

/// Unpacks chunks one after the other, without reserving memory for each.
struct Unpacker<'a> {
    source: &'a Source,
    stored: Vec<u8>,
    zstd: zstd::bulk::Decompressor<'static>,
}

impl<'a> Unpacker<'a> {
    fn new(source: &'a Source) -> Result<Unpacker<'a>, TraceError> {
        let zstd = zstd::bulk::Decompressor::new()
            .map_err(TraceError::io(&source.path, "start to decompress"))?;
        Ok(Unpacker { source, stored: Vec::new(), zstd })
    }

    /// Verifies a chunk and puts its payload into `out`, which has room for as much as the header
    /// says.
    fn unpack(
        &mut self,
        offset: u64,
        header: &ChunkHeader,
        out: &mut (impl Room + ?Sized),
    ) -> Result<(), TraceError> {
        let damaged = |what| self.source.damaged(offset, what);
        // The scan saw that the file is this long.
        self.stored.resize(header.stored_bytes as usize, 0);
        self.source.read_at(&mut self.stored, offset + CHUNK_HEADER_BYTES as u64)?;
        chunk::verify(header, &self.stored).map_err(damaged)?;
        let wanted = header.raw_bytes;
        let found = match header.encoding {
            Encoding::Stored => {
                out.put(&self.stored);
                self.stored.len()
            }
            Encoding::Zstd => self.zstd.decompress_to_buffer(&self.stored, out).map_err(|e| {
                damaged(format!("chunk MODL does not decompress to {wanted} bytes: {e}"))
            })?,
        };
        match found as u64 == wanted {
            true => Ok(()),
            false => {
                Err(damaged(format!("chunk MODL decompresses to {found} bytes, not {wanted}")))
            }
        }
    }
}

/// Memory that a payload is put into.
trait Room: zstd::zstd_safe::WriteBuf {
    /// Puts bytes there that fit.
    fn put(&mut self, bytes: &[u8]);
}

impl Room for [u8] {
    fn put(&mut self, bytes: &[u8]) {
        self.copy_from_slice(bytes);
    }
}

impl Room for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
