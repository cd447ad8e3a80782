//! Walks over a file's chunk headers: where each chunk lies, what stands at the end, what is out of order.
//!
//! Reads no payload.

use super::Tail;
use crate::chunk::{
    CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, FILE_HEADER_BYTES, FORMAT_VERSION, MAGIC,
};
use crate::error::TraceError;
use crate::source::Source;
use std::path::Path;

/// Checks what stands before the first chunk, and gives the format's version.
pub(super) fn check_file_header(source: &Source, file_bytes: u64) -> Result<u32, TraceError> {
    let path: &Path = &source.path;
    let mut head = vec![0; file_bytes.min(FILE_HEADER_BYTES as u64) as usize];
    source.read_at(&mut head, 0)?;
    let magic = &head[..head.len().min(MAGIC.len())];
    if head.is_empty() || !MAGIC.starts_with(magic) {
        let found = if head.is_empty() {
            "the file is empty".to_owned()
        } else if head.starts_with(b"\0asm") {
            "it is a WebAssembly module".to_owned()
        } else {
            format!("it starts with \"{}\"", magic.escape_ascii())
        };
        return Err(TraceError::NotATrace { path: path.to_owned(), found });
    }
    if head.len() < FILE_HEADER_BYTES {
        return Err(TraceError::NothingRecorded {
            path: path.to_owned(),
            len_bytes: file_bytes,
            missing: "the end of its header",
        });
    }
    let version = u32::from_le_bytes(head[8..12].try_into().expect("4 bytes"));
    if !(1..=FORMAT_VERSION).contains(&version) {
        return Err(TraceError::Version {
            path: path.to_owned(),
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    if head[12..16] != [0; 4] {
        let what = "the reserved bytes of the file header are not zero".to_owned();
        return Err(source.damaged(12, what));
    }
    Ok(version)
}

pub(super) struct Scan {
    pub chunks: Vec<(u64, ChunkHeader)>,
    pub tail: Tail,
}

/// Walks over the chunk headers.
pub(super) fn scan(source: &Source, file_bytes: u64) -> Result<Scan, TraceError> {
    let mut chunks: Vec<(u64, ChunkHeader)> = Vec::new();
    let mut offset = FILE_HEADER_BYTES as u64;
    let tail = loop {
        let left = file_bytes - offset;
        if left == 0 && chunks.last().is_some_and(|(_, h)| h.kind == ChunkKind::FOOTER) {
            break Tail::Complete;
        }
        if left < CHUNK_HEADER_BYTES as u64 {
            break Tail::CutOff { ignored_bytes: left };
        }
        let bytes = source.header_at(offset)?;
        let header = match ChunkHeader::from_bytes(&bytes) {
            Ok(header) => header,
            // After a power failure a file can end in zeros that were never written.
            Err(_) if bytes == [0; CHUNK_HEADER_BYTES] => {
                break Tail::CutOff { ignored_bytes: left };
            }
            Err(what) => break Tail::Damaged { offset, what },
        };
        let chunk_bytes = CHUNK_HEADER_BYTES as u64 + header.stored_bytes;
        if chunk_bytes > left {
            break Tail::CutOff { ignored_bytes: left };
        }
        chunks.push((offset, header));
        offset += chunk_bytes;
    };
    Ok(Scan { chunks, tail })
}

/// The first chunk that must not stand where it does.
pub(super) fn out_of_order(chunks: &[(u64, ChunkHeader)]) -> Option<(u64, String)> {
    let (mut last_rank, mut last) = (0, None);
    for (offset, header) in chunks {
        let kind = header.kind;
        let ended = last_rank >= 5;
        let (rank, may_repeat) = match kind {
            ChunkKind::MANIFEST => (0, false),
            ChunkKind::HOST => (1, false),
            ChunkKind::FINDING => (2, false),
            ChunkKind::MODULE => (3, true),
            ChunkKind::PAGES | ChunkKind::CHECKPOINT | ChunkKind::CHANGES if !ended => (4, true),
            ChunkKind::EVENTS | ChunkKind::TIMES | ChunkKind::OVERLAY | ChunkKind::PLAN => {
                (4, true)
            }
            ChunkKind::ENDING => (5, false),
            ChunkKind::PAGES
            | ChunkKind::CHECKPOINT
            | ChunkKind::CHANGES
            | ChunkKind::INDEX
            | ChunkKind::FOOTER => (6, true),
            _ => continue,
        };
        let misplaced = match last {
            None => false,
            Some(last) => {
                rank < last_rank
                    || (rank == last_rank && !may_repeat)
                    || (kind == ChunkKind::INDEX && !ended)
                    || (kind == ChunkKind::FOOTER && last != ChunkKind::INDEX)
            }
        };
        if misplaced {
            let last = last.unwrap_or(ChunkKind::MANIFEST);
            return Some((*offset, format!("chunk {kind} after chunk {last}")));
        }
        (last_rank, last) = (rank, Some(kind));
    }
    None
}
