//! Runs a guest: checks a module, compiles it (or takes it from the cache), instantiates it with wrr's
//! host, and tells how it ended.
//!
//! The only crate that names wasmtime. Settings are those of the design's section 4: canonical NaNs,
//! deterministic relaxed SIMD, fixed limits, nothing that depends on time.
//!
//! Invariant: two runs of one [`Program`] with equal outcomes of all host calls do the same.

mod accesses;
mod admit;
mod aside;
mod cache;
mod compares;
mod ending;
mod entry;
mod frames;
mod guest;
mod images;
mod kept;
mod limiter;
mod look;
mod mappings;
mod pieces;
mod preview1;
mod program;
mod readiness;
mod snapshot;
#[cfg(test)]
mod tests;
mod written;

pub use admit::{Refusal, fuzz_command, module_bytes};
pub use aside::Aside;
pub use cache::CodeCache;
pub use compares::{Comparison, Operands};
pub use ending::{BACKTRACE_FRAMES_MAX, Backtrace, Ended, Frame, How};
pub use entry::Entry;
pub use guest::{Beat, Bound, Guest, Heart, Reached, Until};
pub use kept::Kept;
pub use look::{Look, LookAt, Looked, Looker, Test, View};
pub use program::{ModuleBytes, Observer, Program, Purpose};
pub use snapshot::StackFrame;
pub use wrr_pages::{PageId, PageStore, TrackerError, TrackerKind};
pub use wrr_transform::{
    FUZZER_RESULT, Place, ReactorError, Variant, exports_function, has_passages, is_reactor,
};
