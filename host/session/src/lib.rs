//! Record a WebAssembly program, replay it bit for bit.
//!
//! ```
//! use wrr::{Job, RecordOptions, ReplayOutput, Trace};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("answer.wrr");
//! let module = wat::parse_str(r#"(module
//!     (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
//!     (memory (export "memory") 1)
//!     (func (export "_start") (call $exit (i32.const 42))))"#)?;
//!
//! let recorded = wrr::record(Job::new(module, "answer.wasm"), &path, RecordOptions::default())?;
//! assert_eq!(recorded.end.exit_code(), Some(42));
//!
//! let replayed = Trace::open(&path)?.replay(ReplayOutput::discard())?;
//! assert_eq!(replayed.end.unwrap().exit_code(), Some(42));
//! # Ok(()) }
//! ```
//!
//! A [`Session`] is a program under control: it runs to a moment, goes back to its checkpoints, and forks. [`branch`] does one
//! thing from one moment with many data.
//!
//! The command line is one front end of this crate; it has no abilities of its own.

mod branch;
mod checked;
mod compare;
mod error;
mod files;
mod index;
mod job;
mod line;
mod moment;
mod playback;
mod recording;
mod resume;
mod session;
mod trace;
mod verify;
mod walker;

pub use branch::{Branch, Branching, CAPTURED_BYTES_MAX, Captured, DataTo, branch};
pub use compare::{Difference, diff};
pub use error::{CheckpointError, Error};
pub use files::ChangedFile;
pub use index::Indexed;
pub use job::{Engine, Files, Interrupt, Job, RecordOptions, Recorded, record, run};
pub use moment::Moment;
pub use playback::{Playback, Played, Seek, SeekOptions};
pub use recording::{Checkpoints, Spacing};
pub use resume::{OnLine, ResumeOptions, ResumeTo};
pub use session::{CheckpointId, ForkOptions, Reached, Session};
pub use trace::{Replayed, Trace};
pub use walker::{
    Backward, Diversion, Diverted, Judged, Progress, Quest, Searched, Walked, Walker, WalkerStats,
};

pub use wrr_engine::{
    BACKTRACE_FRAMES_MAX, Backtrace, Bound, CodeCache, Comparison, Entry, FUZZER_RESULT, Frame,
    Look, LookAt, Looked, Looker, Observer, Operands, Place, ReactorError, Refusal, StackFrame,
    Test, TrackerError, TrackerKind, Until, Variant, View, exports_function, fuzz_command,
    is_reactor, module_bytes,
};
pub use wrr_timeline::{Position, Target};
pub use wrr_trace as format;
pub use wrr_trace::{Ending, TraceError};
pub use wrr_wasi::{
    Change, ChangeKind, CommitError, Committed, Divergence, Fault, FileSystem, Injected,
    LiveConfig, NotTakenBack, OnTraceError, Output, Overlay, OverlayOptions, Preopen, ReplayOutput,
    Stdin,
};

/// The end of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How it ended.
    pub ending: Ending,
    /// For a trap: what the engine says about it, and where it was.
    pub trap: Option<(String, Backtrace)>,
}

impl End {
    /// The exit code that a process would have: the guest's own, 134 for a trap (as after `abort`),
    /// 0 for an export that returned. `None` if the host could not go on.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.ending {
            Ending::Exited { code } => Some(code as i32),
            Ending::Returned { .. } => Some(0),
            Ending::Trapped { .. } => Some(134),
            Ending::Interrupted => Some(130),
            Ending::HostFailed { .. } => None,
        }
    }
}
