//! A trace file that is read: its bytes at any offset, from any thread.
//!
//! Invariant: reading moves no cursor, so iterators over one file do not disturb each other.

use crate::chunk::{self, CHUNK_HEADER_BYTES, ChunkHeader};
use crate::error::TraceError;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::PathBuf;

#[derive(Debug)]
pub(crate) struct Source {
    pub path: PathBuf,
    pub file: File,
    /// The version of its format.
    pub version: u32,
}

impl Source {
    /// Fills `out` with the bytes from `offset` on.
    pub(crate) fn read_at(&self, out: &mut [u8], offset: u64) -> Result<(), TraceError> {
        read_exact_at(&self.file, out, offset).map_err(TraceError::io(&self.path, "read"))
    }

    /// The header at `offset`, in its bytes.
    pub(crate) fn header_at(&self, offset: u64) -> Result<[u8; CHUNK_HEADER_BYTES], TraceError> {
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        self.read_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// A chunk's payload, verified and decoded.
    pub(crate) fn payload(&self, offset: u64, header: &ChunkHeader) -> Result<Vec<u8>, TraceError> {
        let stored = self.stored(offset, header)?;
        chunk::decode(header, stored).map_err(|what| self.damaged(offset, what))
    }

    /// A chunk's payload as it lies in the file, unchecked.
    pub(crate) fn stored(&self, offset: u64, header: &ChunkHeader) -> Result<Vec<u8>, TraceError> {
        // The scan saw that the file is this long, so the reservation is bounded by the file.
        let mut stored = vec![0; header.stored_bytes as usize];
        self.read_at(&mut stored, offset + CHUNK_HEADER_BYTES as u64)?;
        Ok(stored)
    }

    pub(crate) fn damaged(&self, offset: u64, what: String) -> TraceError {
        TraceError::Damaged { path: self.path.clone(), offset, what }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut out: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                out = &mut out[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

/// Checks the count at the front of a list before it is decoded.
pub(crate) fn check_count(payload: &[u8], most: u64) -> Result<(), String> {
    let (count, _) = postcard::take_from_bytes::<u64>(payload).map_err(|e| e.to_string())?;
    if count > most { Err(format!("{count} entries, at most {most} make sense")) } else { Ok(()) }
}

/// A whole payload as a value.
pub(crate) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(e) => Err(e.to_string()),
    }
}
