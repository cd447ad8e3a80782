//! What a guest changed in its private layer of files, step by step.
//!
//! An [`Edit`] needs no path to be resolved and nothing of the host to be known: it names files by the numbers that they have in
//! the layer. Whoever applies the edits up to a moment has the layer of that moment; `wrr-wasi` does both.
//!
//! Numbers: the preopened directories have 0, 1 and so on; then every [`Edit::Adopt`] and every [`Edit::Make`] brings the
//! next one. Plain data; whether edits are possible is for who applies them to find out.

use crate::host_state::Place;
use serde::{Deserialize, Serialize};

/// The most bytes that one [`Edit::Write`] holds: 1 MiB.
pub const EDIT_DATA_BYTES_MAX: usize = 1 << 20;
/// The longest name or target of a link in an edit, in bytes.
pub const EDIT_NAME_BYTES_MAX: usize = 64 << 10;

/// A step, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerEdit {
    /// After so many events it had happened.
    pub after: u64,
    /// What happened.
    pub edit: Edit,
}

impl LayerEdit {
    /// Appends it as a trace has it.
    pub(crate) fn encode(after: u64, edit: &Edit, out: &mut Vec<u8>) {
        let bytes = postcard::to_extend(&(after, edit), std::mem::take(out));
        *out = bytes.expect("plain data into a growing vector cannot fail");
    }
}

/// A step. Times are nanoseconds since 1970, and 0 in deterministic recordings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// What is below under a name is in the layer from now on, unchanged: somebody is about to change it.
    Adopt {
        /// The directory.
        parent: u64,
        /// The name.
        name: String,
        /// What is there.
        below: Below,
    },
    /// A new file under a name that is free.
    Make {
        /// The directory.
        parent: u64,
        /// The name.
        name: String,
        /// What it is.
        what: Made,
        /// When.
        time_ns: u64,
    },
    /// Bytes at an offset of a file, which becomes as long as it must.
    Write {
        /// The file.
        node: u64,
        /// Where, in bytes.
        offset: u64,
        /// The bytes.
        #[serde(with = "raw_bytes")]
        data: Vec<u8>,
        /// When.
        time_ns: u64,
    },
    /// A new length of a file.
    Resize {
        /// The file.
        node: u64,
        /// The length, in bytes.
        size: u64,
        /// When.
        time_ns: u64,
    },
    /// One more name.
    Link {
        /// The file.
        node: u64,
        /// The directory of the name.
        parent: u64,
        /// The name.
        name: String,
        /// When.
        time_ns: u64,
    },
    /// A name in the layer goes.
    Remove {
        /// The directory.
        parent: u64,
        /// The name.
        name: String,
        /// When.
        time_ns: u64,
    },
    /// A name in the layer becomes another one. What is in the layer under that one goes.
    Rename {
        /// The directory.
        parent: u64,
        /// The name.
        name: String,
        /// The other directory.
        to_parent: u64,
        /// The other name.
        to_name: String,
        /// When.
        time_ns: u64,
    },
    /// Other times.
    Times {
        /// The file.
        node: u64,
        /// Of the last access, if that changes.
        accessed_ns: Option<u64>,
        /// Of the last change, if that changes.
        modified_ns: Option<u64>,
    },
}

/// A file below the layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Below {
    /// What it is.
    pub kind: BelowKind,
    /// Its length in bytes; of anything but a file 0.
    pub size: u64,
    /// How many names it has; of a directory 1.
    pub links: u64,
    /// When it was read last.
    pub accessed_ns: u64,
    /// When it was changed last.
    pub modified_ns: u64,
    /// When it was made.
    pub created_ns: u64,
}

/// What a file below the layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BelowKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Link(String),
    /// Something else: the number of the file type.
    Other(u8),
}

/// What a guest made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    /// An empty file.
    File,
    /// An empty directory.
    Directory,
    /// A symbolic link with this target.
    Link(String),
}

impl Edit {
    /// Whether it keeps the bounds that a trace has for names and data.
    ///
    /// # Errors
    /// A sentence that says what is too long.
    pub fn check(&self) -> Result<(), String> {
        let target = |kind: &BelowKind| match kind {
            BelowKind::Link(target) => target.len(),
            _ => 0,
        };
        let (names, data) = match self {
            Edit::Adopt { name, below, .. } => (name.len().max(target(&below.kind)), 0),
            Edit::Make { name, what: Made::Link(target), .. } => (name.len().max(target.len()), 0),
            Edit::Make { name, .. } | Edit::Link { name, .. } | Edit::Remove { name, .. } => {
                (name.len(), 0)
            }
            Edit::Rename { name, to_name, .. } => (name.len().max(to_name.len()), 0),
            Edit::Write { data, .. } => (0, data.len()),
            Edit::Resize { .. } | Edit::Times { .. } => (0, 0),
        };
        if names > EDIT_NAME_BYTES_MAX {
            return Err(format!("a name of {names} bytes, at most are {EDIT_NAME_BYTES_MAX}"));
        }
        if data > EDIT_DATA_BYTES_MAX {
            return Err(format!("{data} bytes written at once, at most {EDIT_DATA_BYTES_MAX}"));
        }
        Ok(())
    }
}

impl Place {
    /// The place of a name in the directory that this is.
    #[must_use]
    pub fn at(&self, name: &str) -> Place {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        };
        Place { preopen: self.preopen, path }
    }
}

/// Bytes as they are; serde would take them one by one.
mod raw_bytes {
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(data)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, data: &[u8]) -> Result<Vec<u8>, E> {
                Ok(data.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
