//! What the host of a guest knows at one moment, as a checkpoint holds it: open descriptors, standard
//! input, the world of `--deterministic`.
//!
//! Plain data. Who computes it from events, checks it and opens the descriptors again is `wrr-wasi`.
//! Invariant: everything here is a function of the manifest and the events, so that a replay on any
//! machine arrives at the same value; nothing of the host (its paths, handles, inodes) is in it.

use crate::manifest::Manifest;
use serde::{Deserialize, Serialize};

/// The state of the host between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// The open descriptors, by ascending number.
    pub descriptors: Vec<OpenDescriptor>,
    /// The number of the next descriptor to be opened, or the first free one above it.
    pub next_fd: u32,
    /// The position in standard input: how many bytes were consumed, unless the guest moved it.
    pub stdin_bytes: u64,
    /// The world of `--deterministic`, if the recording has it.
    pub world: Option<WorldState>,
    /// There were more descriptors, or longer paths, than a checkpoint can hold; some are missing.
    pub overflowed: bool,
}

/// An open descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDescriptor {
    /// Its number.
    pub fd: u32,
    /// What it refers to.
    pub target: Target,
    /// Its fdflags, as far as the guest has set them, when it was opened or later.
    pub fdflags: Option<u16>,
    /// The virtual inode number that the guest was told for it; only with a virtual world.
    pub inode: Option<u64>,
}

/// What a descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A listening socket of the manifest, counted from 0.
    Socket(u32),
    /// A connection that the guest accepted.
    Connection,
    /// A preopened directory of the manifest, counted from 0.
    Preopen(u32),
    /// A file or directory that the guest opened.
    Opened(OpenedFile),
}

/// A file or directory that the guest opened: where it is now, and how it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedFile {
    /// Where it is, after all renames that the guest made.
    pub place: Place,
    /// The guest has removed its name, or given that name to another file.
    pub unlinked: bool,
    /// The oflags it was opened with.
    pub oflags: u16,
    /// The fdflags it was opened with.
    pub open_fdflags: u16,
    /// The rights it was opened with.
    pub rights: u64,
    /// The inheriting rights it was opened with.
    pub inheriting: u64,
    /// Whether a symbolic link at its place was followed.
    pub follow: bool,
    /// What the guest knows of its type.
    pub shape: Shape,
    /// The position, in bytes; `None` if it is the end of the file, wherever that is (after an append).
    pub position: Option<u64>,
    /// The file is at least this long, in bytes, as far as the guest knows.
    pub size: u64,
}

/// A place in the guest's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The preopened directory, counted from 0.
    pub preopen: u32,
    /// The names from there on, joined by `/`, without empty ones, `.` and `..`; empty for the directory itself.
    pub path: String,
}

/// What is known of a file's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// Nothing.
    #[default]
    Unknown,
    /// It is not a directory: the guest has read from it, for example.
    NotDirectory,
    /// The number of its type.
    Told(u8),
}

/// The state of the world of `--deterministic`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldState {
    /// What the clocks have advanced, in nanoseconds.
    pub elapsed_ns: u64,
    /// How many random bytes were taken.
    pub random_bytes: u64,
    /// The highest inode number that the guest has seen.
    pub inode_last: u64,
}

impl HostState {
    /// The state before the first event.
    #[must_use]
    pub fn at_start(manifest: &Manifest) -> HostState {
        let preopens = u32::try_from(manifest.preopens.len()).unwrap_or(u32::MAX);
        HostState::for_world(manifest.sockets, preopens, manifest.deterministic)
    }

    /// The state before the first event of a guest that has so many listening sockets and preopened
    /// directories. Of each at most 65,536: no host gives more, but a damaged manifest may claim so.
    #[must_use]
    pub fn for_world(sockets: u32, preopens: u32, deterministic: bool) -> HostState {
        let (sockets, preopens) = (sockets.min(1 << 16), preopens.min(1 << 16));
        let targets = [Target::Stdin, Target::Stdout, Target::Stderr]
            .into_iter()
            .chain((0..sockets).map(Target::Socket))
            .chain((0..preopens).map(Target::Preopen));
        let descriptors: Vec<OpenDescriptor> = (0..)
            .zip(targets)
            .map(|(fd, target)| OpenDescriptor { fd, target, fdflags: None, inode: None })
            .collect();
        HostState {
            next_fd: descriptors.len() as u32,
            descriptors,
            stdin_bytes: 0,
            world: deterministic.then(WorldState::default),
            overflowed: false,
        }
    }
}
