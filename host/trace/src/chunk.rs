//! Chunks: the length-prefixed, checksummed pieces that a trace file consists of.
//!
//! ```text
//! file   := magic[8] version:u32 zero:u32 chunk*
//! chunk  := header payload[stored_bytes]
//! header :=  0  kind          4 ASCII letters
//!            4  encoding      u8: 0 stored, 1 zstd
//!            5  zero          3 bytes
//!            8  stored_bytes  u64, length of the payload in the file
//!           16  raw_bytes     u64, length of the payload once decoded
//!           24  payload_sum   u64, XXH3-64 of the stored payload
//!           32  header_sum    u64, XXH3-64 of bytes 0..32
//! ```
//!
//! All integers are little-endian. The header has a sum of its own so that a cut-off file (a valid
//! header whose payload passes the end) can be told from a damaged one (an invalid header).

use xxhash_rust::xxh3::xxh3_64;

/// The version of the file format, independent of the program's version.
pub const FORMAT_VERSION: u32 = 2;

/// The first eight bytes of every trace. Bytes that text-mode transfers destroy make such damage obvious.
pub const MAGIC: [u8; 8] = *b"\x89wrr\r\n\x1a\n";

/// Length of the magic, the version and the reserved zero, in bytes.
pub const FILE_HEADER_BYTES: usize = 16;

/// Length of a chunk's header in bytes.
pub const CHUNK_HEADER_BYTES: usize = 40;

/// The largest payload of one chunk, in bytes, stored or decoded.
///
/// Two events of the largest size fit, which is what a batch can hold at most.
pub const CHUNK_BYTES_MAX: u64 = 160 << 20;

/// Length of a page of guest memory in bytes. (64 KiB is always a "wasm page".)
pub const PAGE_BYTES: usize = 4096;

/// The most pages that one chunk holds.
pub const PAGES_PER_CHUNK_MAX: usize = 16;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkKind(pub [u8; 4]);

impl ChunkKind {
    /// The manifest, always the first chunk.
    pub const MANIFEST: ChunkKind = ChunkKind(*b"MNFT");
    /// A piece of the module; the pieces follow each other.
    pub const MODULE: ChunkKind = ChunkKind(*b"MODL");
    /// A batch of events.
    pub const EVENTS: ChunkKind = ChunkKind(*b"EVNT");
    /// How the run ended. A trace without it is incomplete.
    pub const ENDING: ChunkKind = ChunkKind(*b"ENDG");
    /// The index of all chunks before it.
    pub const INDEX: ChunkKind = ChunkKind(*b"INDX");
    /// Where the last index is; always the last chunk of a complete trace.
    pub const FOOTER: ChunkKind = ChunkKind(*b"FOOT");
    /// When and on what host the recording was made; optional.
    pub const HOST: ChunkKind = ChunkKind(*b"host");
    /// Wall-clock stamps of events; optional.
    pub const TIMES: ChunkKind = ChunkKind(*b"time");
    /// 1 to [`PAGES_PER_CHUNK_MAX`] pages of guest memory; optional.
    pub const PAGES: ChunkKind = ChunkKind(*b"page");
    /// How checkpoints are taken; optional.
    pub const PLAN: ChunkKind = ChunkKind(*b"plan");
    /// A checkpoint; optional.
    pub const CHECKPOINT: ChunkKind = ChunkKind(*b"ckpt");
    /// A checkpoint as what differs from an earlier one; optional.
    pub const CHANGES: ChunkKind = ChunkKind(*b"ckpd");
    /// Steps by which the private layer above the directories changed; optional.
    pub const OVERLAY: ChunkKind = ChunkKind(*b"ovly");
    /// What a fuzzer found in this run; optional.
    pub const FINDING: ChunkKind = ChunkKind(*b"fuzz");

    /// Whether it holds a checkpoint, whole or as changes.
    #[must_use]
    pub fn is_checkpoint(self) -> bool {
        matches!(self, Self::CHECKPOINT | Self::CHANGES)
    }

    /// Whether a reader that does not know this kind may pass over it: lower-case first letter.
    #[must_use]
    pub fn is_optional(self) -> bool {
        self.0[0].is_ascii_lowercase()
    }

    /// The largest payload of a chunk of this kind, in bytes, stored or decoded. Kinds that are decoded as a
    /// whole have tighter bounds, as their values take many times the room of their bytes.
    #[must_use]
    pub fn bytes_max(self) -> u64 {
        match self {
            Self::MANIFEST => 8 << 20,
            Self::HOST | Self::PLAN | Self::ENDING | Self::FOOTER => 1 << 20,
            Self::INDEX | Self::TIMES | Self::CHECKPOINT | Self::CHANGES => 64 << 20,
            Self::OVERLAY => 4 << 20,
            Self::FINDING => 20 << 20,
            Self::PAGES => (PAGES_PER_CHUNK_MAX * PAGE_BYTES) as u64,
            _ => CHUNK_BYTES_MAX,
        }
    }

    /// Whether this version of the format defines the kind.
    #[must_use]
    pub fn is_known(self) -> bool {
        [
            Self::MANIFEST,
            Self::MODULE,
            Self::EVENTS,
            Self::ENDING,
            Self::INDEX,
            Self::FOOTER,
            Self::HOST,
            Self::TIMES,
            Self::PAGES,
            Self::PLAN,
            Self::CHECKPOINT,
            Self::CHANGES,
            Self::OVERLAY,
            Self::FINDING,
        ]
        .contains(&self)
    }
}

impl std::fmt::Display for ChunkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

/// How a chunk's payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Stored,
    /// One zstd frame (RFC 8878).
    Zstd,
}

/// A decoded chunk header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// What the chunk holds.
    pub kind: ChunkKind,
    /// How the payload is stored.
    pub encoding: Encoding,
    /// Length of the payload in the file.
    pub stored_bytes: u64,
    /// Length of the payload once decoded.
    pub raw_bytes: u64,
    /// XXH3-64 of the stored payload.
    pub payload_sum: u64,
}

impl ChunkHeader {
    /// The header in its 40 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CHUNK_HEADER_BYTES] {
        let mut out = [0; CHUNK_HEADER_BYTES];
        out[0..4].copy_from_slice(&self.kind.0);
        out[4] = match self.encoding {
            Encoding::Stored => 0,
            Encoding::Zstd => 1,
        };
        out[8..16].copy_from_slice(&self.stored_bytes.to_le_bytes());
        out[16..24].copy_from_slice(&self.raw_bytes.to_le_bytes());
        out[24..32].copy_from_slice(&self.payload_sum.to_le_bytes());
        let sum = xxh3_64(&out[..32]);
        out[32..40].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Decodes and checks a header.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the bytes: the checksum, an unknown encoding, a size
    /// over [`CHUNK_BYTES_MAX`], or a kind that this version must not pass over.
    pub fn from_bytes(bytes: &[u8; CHUNK_HEADER_BYTES]) -> Result<ChunkHeader, String> {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let (found, expected) = (word(32), xxh3_64(&bytes[..32]));
        if found != expected {
            return Err(format!(
                "the checksum of a chunk header is {found:016x}, its bytes give {expected:016x}"
            ));
        }
        let kind = ChunkKind(bytes[0..4].try_into().expect("4 bytes"));
        let encoding = match bytes[4] {
            0 => Encoding::Stored,
            1 => Encoding::Zstd,
            other => return Err(format!("chunk {kind} has encoding {other}, known are 0 and 1")),
        };
        if bytes[5..8] != [0; 3] {
            return Err(format!("chunk {kind} has non-zero reserved bytes"));
        }
        let header = ChunkHeader {
            kind,
            encoding,
            stored_bytes: word(8),
            raw_bytes: word(16),
            payload_sum: word(24),
        };
        for (name, len) in [("stored", header.stored_bytes), ("decoded", header.raw_bytes)] {
            let most = kind.bytes_max();
            if len > most {
                return Err(format!("chunk {kind} claims {len} bytes {name}, the most is {most}"));
            }
        }
        if encoding == Encoding::Stored && header.stored_bytes != header.raw_bytes {
            return Err(format!("chunk {kind} is stored as it is, but has two different lengths"));
        }
        let page_bytes = PAGE_BYTES as u64;
        if kind == ChunkKind::PAGES
            && (header.raw_bytes == 0 || !header.raw_bytes.is_multiple_of(page_bytes))
        {
            return Err(format!("chunk page claims {} bytes, not whole pages", header.raw_bytes));
        }
        if !kind.is_known() && !kind.is_optional() {
            return Err(format!("chunk of unknown kind {kind}, which may not be passed over"));
        }
        Ok(header)
    }
}

/// Encodes `raw` into a payload and its header. Incompressible payloads are stored as they are.
///
/// # Errors
/// Those of zstd, which can only be out-of-memory.
pub fn encode(
    kind: ChunkKind,
    raw: &[u8],
    compressor: &mut zstd::bulk::Compressor<'_>,
) -> std::io::Result<(ChunkHeader, Option<Vec<u8>>)> {
    // Below this length a zstd frame is hardly ever shorter than its content.
    const COMPRESS_BYTES_MIN: usize = 64;
    // Stamps stay as they are: their number is bounded by the bytes that they take in the file.
    let compressed = if raw.len() >= COMPRESS_BYTES_MIN && kind != ChunkKind::TIMES {
        Some(compressor.compress(raw)?).filter(|c| c.len() < raw.len())
    } else {
        None
    };
    let stored = compressed.as_deref().unwrap_or(raw);
    let header = ChunkHeader {
        kind,
        encoding: if compressed.is_some() { Encoding::Zstd } else { Encoding::Stored },
        stored_bytes: stored.len() as u64,
        raw_bytes: raw.len() as u64,
        payload_sum: xxh3_64(stored),
    };
    Ok((header, compressed))
}

/// Verifies the checksum of a stored payload.
///
/// # Errors
/// A sentence with both sums.
pub fn verify(header: &ChunkHeader, stored: &[u8]) -> Result<(), String> {
    let sum = xxh3_64(stored);
    if sum == header.payload_sum {
        return Ok(());
    }
    let (kind, expected) = (header.kind, header.payload_sum);
    Err(format!("the checksum of chunk {kind} is {expected:016x}, its bytes give {sum:016x}"))
}

/// Verifies a stored payload against its header and decodes it.
///
/// # Errors
/// A sentence that says what is wrong: the checksum, or a frame that does not decode to exactly `raw_bytes`.
pub fn decode(header: &ChunkHeader, stored: Vec<u8>) -> Result<Vec<u8>, String> {
    let kind = header.kind;
    verify(header, &stored)?;
    match header.encoding {
        Encoding::Stored => Ok(stored),
        Encoding::Zstd => {
            // `decompress` stops with an error at this capacity, whatever the frame expands to.
            let capacity = header.raw_bytes as usize;
            let raw = zstd::bulk::decompress(&stored, capacity).map_err(|e| {
                format!("chunk {kind} does not decompress to {capacity} bytes: {e}")
            })?;
            if raw.len() == capacity {
                Ok(raw)
            } else {
                Err(format!("chunk {kind} decompresses to {} bytes, not {capacity}", raw.len()))
            }
        }
    }
}
