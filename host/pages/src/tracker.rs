//! Which pages of a memory were written.
//!
//! One trait, four ways to do it; [`choose`] picks by trying, never by version. A tracker watches
//! one memory at a time and knows neither what the pages hold nor who asks.
//!
//! Invariant: a page whose bytes changed since the last [`DirtyTracker::take`] (or since
//! [`DirtyTracker::attach`]) is in the next set, whoever changed it, provided that the host announced its
//! own writes. The set may hold more.
//!
//! | tracker | pages that became accessible by growth | host writes that were not announced |
//! |---|---|---|
//! | `compare` | clean until a byte is not zero | seen |
//! | `userfaultfd` | clean until written; the first write reports up to 512 pages around it | seen, but a `clear` may be missed |
//! | `mprotect` | dirty once | seen, but a system call that writes fails with EFAULT |
//! | `write-watch` | clean until written | seen |

use crate::{Dirty, Mapping, PAGE_BYTES, Region, TrackerError};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::OnceLock;

mod compare;
#[cfg(unix)]
mod fault_handler;
#[cfg(unix)]
mod mprotect;
#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "s390x",
        target_arch = "loongarch64"
    )
))]
mod userfaultfd;
#[cfg(windows)]
mod write_watch;

/// Up to this size a memory is compared with its last image: no set-up and no cost at the
/// write, and a comparison takes well below a millisecond.
pub const COMPARE_BYTES_MAX: usize = 8 << 20;

/// Reports the pages of one memory that were written.
///
/// All methods are called while the guest is paused: between two of them anybody may write, during
/// one nobody does. After an error of [`take`](Self::take) or [`peek`](Self::peek) nothing that was
/// collected is lost.
pub trait DirtyTracker: Send {
    /// Which of the trackers this is.
    fn kind(&self) -> TrackerKind;

    /// The name that a user can force it by.
    fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Watches `region` from now on; all its pages are clean. Lets go of the previous region.
    ///
    /// # Errors
    /// Says what the system refused. The tracker is detached then.
    ///
    /// # Safety
    /// Until [`detach`](Self::detach), the next `attach` or drop: the region stays reserved, its first
    /// `len_bytes` (as last told by [`grown`](Self::grown)) stay readable and writable private anonymous
    /// memory, made by [`Mapping`] on Windows, and no other tracker is attached to it. While a method of
    /// this tracker runs, nobody writes to the region.
    unsafe fn attach(&mut self, region: Region) -> Result<(), TrackerError>;

    /// Lets go of the memory, which is readable and writable as before. Dropping does the same.
    fn detach(&mut self);

    /// The memory became larger. May be called late, but before the next call of another method;
    /// writes to new pages that happened meanwhile are reported.
    ///
    /// # Errors
    /// [`TrackerError::BadGrowth`] if it became smaller, or larger than reserved.
    fn grown(&mut self, new_len_bytes: usize) -> Result<(), TrackerError>;

    /// The memory is about to become smaller: what was behind its new end is not watched any more. Bytes that become accessible
    /// there again are zero. To be called before that happens.
    ///
    /// # Errors
    /// [`TrackerError::BadGrowth`] if it became larger.
    fn shrunk(&mut self, new_len_bytes: usize) -> Result<(), TrackerError>;

    /// What was written since the last `take` or `attach`; everything is clean afterwards.
    ///
    /// # Errors
    /// Says what the system refused.
    fn take(&mut self) -> Result<Dirty, TrackerError>;

    /// What [`take`](Self::take) would report; nothing becomes clean.
    ///
    /// # Errors
    /// Says what the system refused.
    fn peek(&mut self) -> Result<Dirty, TrackerError>;

    /// The host has written into `pages`, and the memory is now what is to be compared with: everything is clean.
    ///
    /// `pages` hold all that [`peek`](Self::peek) has just reported, and all that the host has written since.
    ///
    /// # Errors
    /// Says what the system refused.
    fn settle(&mut self, pages: &Dirty) -> Result<(), TrackerError> {
        let _ = pages;
        self.take().map(drop)
    }

    /// The host is about to write, or to [`clear`](Region::clear), a range of bytes. May count its
    /// pages as written at once.
    ///
    /// # Errors
    /// [`TrackerError::OutOfRange`] if the range is not accessible, or what the system refused.
    fn before_host_write(&mut self, bytes: Range<usize>) -> Result<(), TrackerError>;
}

/// The ways to track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackerKind {
    /// Compares with a copy. Works everywhere and is the oracle that the others are tested against.
    Compare,
    /// Linux: the kernel notes writes in the page table.
    Userfaultfd,
    /// Unix: pages are read-only, a fault handler notes the first write.
    Mprotect,
    /// Windows: the kernel notes writes.
    WriteWatch,
}

impl TrackerKind {
    /// All of them, those for large memories first, in the order in which they are tried.
    pub const ALL: [TrackerKind; 4] =
        [Self::Userfaultfd, Self::WriteWatch, Self::Mprotect, Self::Compare];

    /// The name that a user can force it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Userfaultfd => "userfaultfd",
            Self::Mprotect => "mprotect",
            Self::WriteWatch => "write-watch",
        }
    }

    /// A tracker of this kind, not attached.
    ///
    /// # Errors
    /// [`TrackerError::Unsupported`] if it is not part of this platform. That one is returned does not
    /// mean that it works: see [`TrackerKind::probe`].
    pub fn create(self) -> Result<Box<dyn DirtyTracker>, TrackerError> {
        match self {
            Self::Compare => Ok(Box::new(compare::Compare::default())),
            #[cfg(unix)]
            Self::Mprotect => Ok(Box::new(mprotect::Mprotect::default())),
            #[cfg(all(
                target_os = "linux",
                any(
                    target_arch = "x86_64",
                    target_arch = "aarch64",
                    target_arch = "riscv64",
                    target_arch = "s390x",
                    target_arch = "loongarch64"
                )
            ))]
            Self::Userfaultfd => Ok(Box::new(userfaultfd::Userfaultfd::default())),
            #[cfg(windows)]
            Self::WriteWatch => Ok(Box::new(write_watch::WriteWatch::default())),
            #[allow(unreachable_patterns)] // On no platform are all of them missing or present.
            kind => Err(TrackerError::Unsupported { kind }),
        }
    }

    /// Tries the tracker: writes pages of a small memory in several situations and sees them reported.
    ///
    /// # Errors
    /// What the system refused, or which write was missed.
    pub fn probe(self) -> Result<(), TrackerError> {
        const PAGES: u32 = 32;
        let bytes = PAGES as usize * PAGE_BYTES;
        let mapped = |source| TrackerError::Os { kind: self, call: "mmap", source };
        let mut memory = Mapping::reserve(bytes, 2 * bytes, 0).map_err(mapped)?;
        // Dropped before the memory.
        let mut tracker = self.create()?;
        // A page that exists when the tracker arrives, as most pages of a guest do.
        memory.bytes_mut()[PAGE_BYTES] = 1;
        // SAFETY: a `Mapping` made the region, and it is dropped after `tracker`; only this thread
        // knows either.
        unsafe { tracker.attach(memory.region()?)? };
        let tried = try_out(tracker.as_mut(), &mut memory, PAGES);
        tracker.detach();
        tried
    }

    /// The trackers that work on this machine, in the order of [`TrackerKind::ALL`].
    pub fn available() -> Vec<TrackerKind> {
        Self::ALL.into_iter().filter(|kind| kind.probe().is_ok()).collect()
    }
}

/// Writes without announcing it, as a guest does. `pages` are accessible, and as many can be added.
fn try_out(
    tracker: &mut dyn DirtyTracker,
    memory: &mut Mapping,
    pages: u32,
) -> Result<(), TrackerError> {
    let kind = tracker.kind();
    let write = |page: u32, memory: &Mapping| {
        // SAFETY: callers pass accessible pages. Volatile, because nobody seems to read it.
        unsafe { memory.base().add(page as usize * PAGE_BYTES).write_volatile(0xa5) };
    };
    let seen = |dirty: &Dirty, page, when| {
        dirty.contains(page).then_some(()).ok_or(TrackerError::MissedWrite { kind, page, when })
    };
    for (page, when) in [(1, "that had contents"), (7, "that was empty")] {
        write(page, memory);
        seen(&tracker.peek()?, page, when)?;
    }
    let dirty = tracker.take()?;
    seen(&dirty, 1, "when taken")?;
    seen(&dirty, 7, "when taken")?;

    // A second round in other bytes' place shows that taking armed it again.
    // SAFETY: page 7 is accessible. A new value, or there would be nothing to see for `compare`.
    unsafe { memory.base().add(7 * PAGE_BYTES + 9).write_volatile(1) };
    seen(&tracker.take()?, 7, "after it was taken")?;

    let bytes = pages as usize * PAGE_BYTES;
    let mapped = |source| TrackerError::Os { kind, call: "mprotect", source };
    memory.grow_to(2 * bytes).map_err(mapped)?;
    tracker.grown(2 * bytes)?;
    write(pages + 3, memory);
    seen(&tracker.take()?, pages + 3, "that came with growth")?;

    tracker.before_host_write(0..bytes)?;
    // SAFETY: the range is accessible, the tracker was told, and only this thread knows the memory.
    unsafe { memory.region()?.clear(0..bytes)? };
    seen(&tracker.take()?, 7, "by clearing it")
}

impl fmt::Display for TrackerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for TrackerKind {
    type Err = TrackerError;

    fn from_str(name: &str) -> Result<Self, TrackerError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| TrackerError::UnknownKind { name: name.to_owned() })
    }
}

/// A tracker for a memory of `memory_bytes`: the forced one, or `compare` up to `compare_bytes_max`
/// ([`COMPARE_BYTES_MAX`] where nothing hurries), or the first of [`TrackerKind::ALL`] that works. Call it after the engine was created (see
/// [`TrackerError::HandlerReplaced`]).
///
/// # Errors
/// [`TrackerError::Unavailable`] if the forced one does not work; says why, and which ones do.
pub fn choose(
    memory_bytes: usize,
    compare_bytes_max: usize,
    forced: Option<TrackerKind>,
) -> Result<Box<dyn DirtyTracker>, TrackerError> {
    if let Some(kind) = forced {
        kind.probe().map_err(|error| TrackerError::Unavailable {
            kind,
            found: chain(&error),
            available: TrackerKind::available(),
        })?;
        return kind.create();
    }
    if memory_bytes <= compare_bytes_max {
        return TrackerKind::Compare.create();
    }
    static WORKS: OnceLock<TrackerKind> = OnceLock::new();
    let works = || TrackerKind::ALL.into_iter().find(|kind| kind.probe().is_ok());
    WORKS.get_or_init(|| works().unwrap_or(TrackerKind::Compare)).create()
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
