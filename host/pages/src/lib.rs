//! Guest memory: where it lives, which of its pages were written, and pages stored once each.
//!
//! - [`Mapping`] is the address range that a linear memory lives in: reserved once, grown in place.
//! - [`DirtyTracker`] tells which pages were written since it was asked last; [`choose`] picks one.
//! - [`Image`] is what a memory held at a moment; many memories can show it, and share its pages.
//! - [`PageStore`] gives equal pages the same number; [`PageMap`] says which page of a memory holds which.
//!
//! Knows no wasm engine and nothing of the trace format: it hands out bytes and numbers, and takes
//! them back with checks. A *page* is always [`PAGE_BYTES`]; 64 KiB is a wasm page.
//!
//! Invariant: a tracker may report too many pages, never too few.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wrr_pages::{COMPARE_BYTES_MAX, Mapping, PageMap, PageStore, choose};
//!
//! let mut memory = Mapping::reserve(64 << 10, 1 << 20, 0)?;
//! let mut tracker = choose(memory.len(), COMPARE_BYTES_MAX, None)?;
//! let mut store = PageStore::new();
//! let mut map = PageMap::new();
//!
//! // SAFETY: the tracker is dropped before the mapping, and only this thread touches either.
//! unsafe { tracker.attach(memory.region()?)? };
//! tracker.before_host_write(5000..5001)?;
//! memory.bytes_mut()[5000] = 1;
//!
//! let dirty = tracker.take()?;
//! assert!(dirty.contains(1));
//! map.update(&dirty, memory.bytes(), &mut store)?;
//! assert_eq!(map.runs().count(), 1);
//! drop(tracker);
//! # Ok(()) }
//! ```

mod dirty;
mod error;
mod image;
mod map;
mod mapping;
mod region;
mod store;
mod tracker;

pub use dirty::Dirty;
pub use error::{PageError, TrackerError};
pub use image::Image;
pub use map::{PageMap, Run};
pub use mapping::Mapping;
pub use region::Region;
pub use store::{Page, PageId, PageStore};
pub use tracker::{COMPARE_BYTES_MAX, DirtyTracker, TrackerKind, choose};

/// The unit in which memory is tracked and stored.
pub const PAGE_BYTES: usize = 4096;
