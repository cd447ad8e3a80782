//! What can go wrong, each with the numbers that a user needs to act on it.

use crate::TrackerKind;
use std::io;

/// A tracker cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackerError {
    /// The name of a tracker is not known.
    #[error("no dirty-page tracker is called `{name}`; use one of: {}", names(&TrackerKind::ALL))]
    UnknownKind {
        /// What was asked for.
        name: String,
    },
    /// The tracker does not work on this machine.
    #[error("the `{kind}` tracker does not work here: {found}; use one of: {}", names(available))]
    Unavailable {
        /// What was asked for.
        kind: TrackerKind,
        /// What happened when it was tried.
        found: String,
        /// Those that work.
        available: Vec<TrackerKind>,
    },
    /// The tracker exists only on other operating systems, or CPUs.
    #[error("the `{kind}` tracker is not part of wrr on this platform")]
    Unsupported {
        /// What was asked for.
        kind: TrackerKind,
    },
    /// A page was written, and the tracker did not see it.
    #[error("the `{kind}` tracker missed a write to page {page} {when}")]
    MissedWrite {
        /// Which tracker.
        kind: TrackerKind,
        /// The page that was written.
        page: u32,
        /// In which situation of the probe.
        when: &'static str,
    },
    /// The operating system refused something.
    #[error("the `{kind}` tracker: {call} failed")]
    Os {
        /// Which tracker.
        kind: TrackerKind,
        /// The system call.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// A method was called that needs an attached tracker.
    #[error("the `{kind}` tracker is not attached to a memory")]
    NotAttached {
        /// Which tracker.
        kind: TrackerKind,
    },
    /// Base or length of a memory are not on page boundaries.
    #[error(
        "a memory at {base:#x} of {len_bytes} bytes (reserved {reserve_bytes}) cannot be tracked: \
         base and reservation must be multiples of {align_bytes} bytes, the length of 4096"
    )]
    BadRegion {
        /// Its address.
        base: usize,
        /// What is accessible.
        len_bytes: usize,
        /// What is reserved.
        reserve_bytes: usize,
        /// The page size of this machine.
        align_bytes: usize,
    },
    /// A new length is below the old one, above the reservation or not a multiple of a page.
    #[error(
        "a tracked memory of {len_bytes} bytes cannot become {new_len_bytes} bytes (reserved {reserve_bytes}, in pages of 4096)"
    )]
    BadGrowth {
        /// What it was.
        len_bytes: usize,
        /// What it should become.
        new_len_bytes: usize,
        /// What is reserved.
        reserve_bytes: usize,
    },
    /// A range leaves the tracked memory.
    #[error("bytes {start}..{end} are not in a tracked memory of {len_bytes} bytes")]
    OutOfRange {
        /// First byte.
        start: usize,
        /// One past the last.
        end: usize,
        /// The memory.
        len_bytes: usize,
    },
    /// Somebody replaced the fault handler after it was installed.
    #[error(
        "the handler of signal {signal} was replaced after the `mprotect` tracker installed its own; \
         create the engine before attaching a tracker"
    )]
    HandlerReplaced {
        /// SIGSEGV or SIGBUS.
        signal: i32,
    },
    /// More memories are tracked at once than the fault handler can look through.
    #[error("the `mprotect` tracker watches at most {memories_max} memories at once")]
    TooManyMemories {
        /// The limit.
        memories_max: usize,
    },
}

fn names(kinds: &[TrackerKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

/// A page map or a page store was given something that cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// Sizes of memories are multiples of a page, and page numbers have 32 bits.
    #[error("a memory of {bytes} bytes has no whole number of 4096-byte pages below 2^32")]
    BadMemorySize {
        /// Its size.
        bytes: usize,
    },
    /// A dirty page lies outside of the memory.
    #[error("page {page} is said to be dirty, but the memory has {pages} pages")]
    DirtyOutside {
        /// The page.
        page: u32,
        /// Size of the memory.
        pages: u32,
    },
    /// A run has no pages, or names the zero page, which is never part of a run.
    #[error("the run at page {page} (id {id}, {count} pages) is empty or holds the zero page")]
    EmptyRun {
        /// Where it starts.
        page: u32,
        /// Its first page id.
        id: u32,
        /// Its length.
        count: u32,
    },
    /// A run leaves the memory.
    #[error("the run at page {page} of {count} pages leaves a memory of {pages} pages")]
    RunOutside {
        /// Where it starts.
        page: u32,
        /// Its length.
        count: u32,
        /// Size of the memory.
        pages: u32,
    },
    /// A run starts before the previous one ends.
    #[error("the run at page {page} starts before page {end}, where the previous one ends")]
    RunOverlaps {
        /// Where it starts.
        page: u32,
        /// Where the previous one ends.
        end: u32,
    },
    /// A run names pages that were never stored.
    #[error(
        "the run at page {page} needs pages {id} and {count} in all, but only {stored} pages are stored"
    )]
    NotStored {
        /// Where it starts.
        page: u32,
        /// Its first page id.
        id: u32,
        /// Its length.
        count: u32,
        /// How many there are.
        stored: u32,
    },
    /// The store has no page number left.
    #[error("the page store is full: it holds 2^32 - 1 distinct pages")]
    StoreFull,
    /// The system has no room for a copy of a memory, or refuses to show it.
    #[error("a copy of the memory cannot be kept: {what}")]
    Image {
        /// What the system says.
        what: String,
    },
}
