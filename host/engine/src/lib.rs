//! Runs a guest: checks a module, compiles it (or takes it from the cache), instantiates it with wrr's
//! host, and tells how it ended.
//!
//! The only crate that names wasmtime. Settings are those of the design's section 4: canonical NaNs,
//! deterministic relaxed SIMD, fixed limits, nothing that depends on time.
//!
//! Invariant: two runs of one [`Program`] with equal outcomes of all host calls do the same.

mod admit;
mod cache;
mod program;
mod run;

pub use admit::{Refusal, module_bytes};
pub use cache::CodeCache;
pub use program::{Observer, Program};
pub use run::{Backtrace, Ended, Entry, Frame, How};
