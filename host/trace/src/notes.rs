//! What a person has noted about a trace while debugging it: names of moments, numbers of objects.
//!
//! A file of its own beside the trace, so that the trace stays as it was recorded:
//!
//! ```text
//! "wrrnotes"   8 bytes
//! version      u32, little-endian
//! checksum     BLAKE3 of the rest, 32 bytes
//! run          BLAKE3 of what identifies the run, 32 bytes
//! notes        postcard
//! ```
//!
//! Invariant: the checksum is verified before anything is decoded. Notes about another run are none.

use crate::{Ending, EventIndex, TraceError, TraceReader};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"wrrnotes";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 8 + 4 + 32;
const ID_BYTES: usize = 32;

/// The largest file of notes that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// So many events identify a run, with everything else that is known about it.
const EVENTS_SEEN: usize = 512;

/// A moment that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedMoment {
    /// The name.
    pub name: String,
    /// Its tick.
    pub tick: u64,
    /// How many events were before it.
    pub event: u64,
    /// Whether it is in the call of that event.
    pub in_call: bool,
}

/// An object that has a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedObject {
    /// The number.
    pub number: u32,
    /// Where it is in memory 0.
    pub address: u32,
    /// What the debugger tells it from other objects with.
    pub identity: u64,
    /// Its type's name.
    pub type_name: String,
    /// The first and the last tick at which it is known to live.
    pub lives: (u64, u64),
    /// The last tick before it was created, if that is known.
    pub before: Option<u64>,
    /// The first tick after it was gone, if that is known.
    pub after: Option<u64>,
}

/// The notes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Moments.
    pub moments: Vec<NamedMoment>,
    /// Objects.
    pub objects: Vec<NumberedObject>,
}

/// The file with the notes about a trace: the trace's name with `.notes` behind it.
#[must_use]
pub fn notes_file(trace: &Path) -> PathBuf {
    let mut name = trace.as_os_str().to_owned();
    name.push(".notes");
    PathBuf::from(name)
}

/// What tells a run from others, recorded of the same program or not.
fn run_id(reader: &TraceReader) -> Result<[u8; ID_BYTES], TraceError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&reader.manifest().module.0);
    for arg in &reader.manifest().args {
        hasher.update(&(arg.len() as u64).to_le_bytes());
        hasher.update(arg.as_bytes());
    }
    let code = match reader.ending() {
        Some(Ending::Exited { code }) => i64::from(*code),
        _ => i64::MIN,
    };
    hasher.update(&code.to_le_bytes());
    hasher.update(&reader.end_tick().map_or(0, |tick| tick.0).to_le_bytes());
    for event in reader.events_from(EventIndex(0))?.take(EVENTS_SEEN) {
        let event = event?;
        hasher.update(&event.tick.0.to_le_bytes());
        hasher.update(&event.outcome.data);
    }
    Ok(*hasher.finalize().as_bytes())
}

impl Notes {
    /// Reads the notes about a trace. There are none if there is no such file, or it is about another run.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged; the trace cannot be read.
    pub fn read(reader: &TraceReader) -> Result<Notes, TraceError> {
        let path = notes_file(reader.path());
        let failed = |source| TraceError::Io { path: path.clone(), action: "read", source };
        let bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Notes::default());
            }
            Err(error) => return Err(failed(error)),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(damaged(&path, format!("{} bytes are too many", metadata.len())));
            }
            Ok(_) => std::fs::read(&path).map_err(failed)?,
        };
        let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else {
            return Err(damaged(&path, format!("{} bytes are too few", bytes.len())));
        };
        let (magic, head) = head.split_at(MAGIC.len());
        let (version, checksum) = head.split_at(4);
        if magic != MAGIC {
            return Err(damaged(&path, "no file of notes".to_owned()));
        }
        let version = u32::from_le_bytes(version.try_into().unwrap_or_default());
        if version != VERSION {
            return Err(TraceError::Version { path, found: version, supported: VERSION });
        }
        if blake3::hash(rest).as_bytes() != checksum {
            return Err(damaged(&path, "its checksum is another one".to_owned()));
        }
        let Some((id, notes)) = rest.split_at_checked(ID_BYTES) else {
            return Err(damaged(&path, "it ends too early".to_owned()));
        };
        if id != run_id(reader)? {
            return Ok(Notes::default());
        }
        postcard::from_bytes(notes).map_err(|error| damaged(&path, error.to_string()))
    }

    /// Writes the notes about a trace, all at once: who reads them sees the old ones or the new ones.
    ///
    /// # Errors
    /// The file cannot be written; the trace cannot be read.
    pub fn write(&self, reader: &TraceReader) -> Result<(), TraceError> {
        let path = notes_file(reader.path());
        let mut rest = run_id(reader)?.to_vec();
        let notes = postcard::to_stdvec(self);
        rest.extend(notes.map_err(|error| damaged(&path, error.to_string()))?);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&rest).as_bytes());
        bytes.extend(rest);
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}", std::process::id()));
        let aside = PathBuf::from(aside);
        let written = std::fs::File::create(&aside)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| std::fs::rename(&aside, &path));
        written.map_err(|source| {
            let _ = std::fs::remove_file(&aside);
            TraceError::Io { path, action: "write", source }
        })
    }
}

fn damaged(path: &Path, what: String) -> TraceError {
    TraceError::Notes { path: path.to_owned(), what }
}
