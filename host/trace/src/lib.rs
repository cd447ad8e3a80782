//! The `.wrr` trace: what a recording is made of, and how it lies in a file.
//!
//! A trace is one file of checksummed [chunks](chunk): a [`Manifest`] (what was run, with what),
//! the module itself, batches of [`Event`]s (one per host call, in order), an [`Ending`], an index. Between
//! them, or added later, [`Checkpoint`]s of the guest's state, whose pages are stored once each.
//! `docs/trace-format.md` specifies it to the byte; this crate is the only place that serialises.
//!
//! ```
//! use wrr_trace::{Ending, Manifest, Tick, TraceReader, TraceWriter, WriterOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("empty.wrr");
//! let module: std::sync::Arc<[u8]> = std::sync::Arc::from(&b"\0asm\x01\0\0\0"[..]);
//! let writer = TraceWriter::create(&path, &Manifest::for_module(&module), module, WriterOptions::default())?;
//! let (saved, error) = writer.finish(Ending::Exited { code: 0 }, Tick(5));
//! assert!(error.is_none() && saved.events == 0);
//!
//! let reader = TraceReader::open(&path)?;
//! assert_eq!(reader.ending(), Some(&Ending::Exited { code: 0 }));
//! assert_eq!(reader.events()?.count(), 0);
//! # Ok(()) }
//! ```
//!
//! Knows no wasm engine and touches nothing of the host but the trace file.
//! Invariant: a chunk's checksums are verified before any of its payload is decoded, and every size
//! that a file claims is bounded before memory is reserved for it.

mod checkpoint;
pub mod chunk;
mod codec;
mod cursor;
mod delta;
mod error;
mod event;
mod finding;
mod host_state;
mod layer;
mod manifest;
mod notes;
mod preview1;
mod reader;
mod source;
mod times;
mod writer;

pub use checkpoint::{
    Checkpoint, Datum, EXCEPTION_DEPTH_MAX, FrameState, HOST_STATE_BYTES_MAX, MemoryState,
    NAME_BYTES_MAX, PageId, PageRun, Pause, Phase, TableState, VALUES_MAX,
};
pub use chunk::{FORMAT_VERSION, PAGE_BYTES};
pub use codec::{BatchDecoder, BatchEncoder};
pub use delta::{PagesOfMemories, Rewritten, WrittenSince};
pub use error::TraceError;
pub use event::{
    Call, Event, EventIndex, Fdstat, Filestat, Input, Iovec, Outcome, PollEvent, Reply, Tick,
    hash_output,
};
pub use finding::{Failure, FailureFrame, FailureKind, Finding, Given, INPUT_BYTES_MAX};
pub use host_state::{HostState, OpenDescriptor, OpenedFile, Place, Shape, Target, WorldState};
pub use layer::{Below, BelowKind, EDIT_DATA_BYTES_MAX, EDIT_NAME_BYTES_MAX, Edit, Made};
pub use manifest::{
    CheckpointPlan, Ending, HostNote, Limits, Manifest, ModuleId, Origin, TrapKind, Value,
};
pub use notes::{NamedMoment, Notes, NumberedObject, notes_file};
pub use preview1::{
    CONTROL, Errno, Function, InputKind, PARAMS_MAX, PREVIEW1, Param, ParamKind, ReplyKind,
    Signature, filetype_name,
};
pub use reader::{CheckpointEntry, Events, LayerEdits, StoredModule, Tail, TraceReader};
pub use times::TimeStamp;
pub use writer::{
    CheckpointSink, EditBy, Interrupter, Mark, Saved, TraceAppender, TraceWriter, WriterOptions,
};

/// The largest number of bytes one host call may deliver to the guest: 64 MiB.
///
/// The live host shortens reads to it, so that a reader of traces can bound what one event needs.
pub const EVENT_DATA_BYTES_MAX: usize = 64 << 20;
