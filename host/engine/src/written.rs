//! Which pages of a guest's memories were written: one tracker for each memory, for several
//! readers.
//!
//! Checkpoints of a trace and states kept in memory both want to know what was written since they
//! last asked, and a memory can have one tracker only. So what one reader takes is put aside for
//! the other.
//!
//! Invariant: a page that was written since a reader last took is in what that reader takes next.

use crate::admit::Refusal;
use crate::guest::State;
use crate::mappings::region_of;
use std::ops::Range;
use wasmtime::{Memory, Store};
use wrr_pages::{Dirty, DirtyTracker, TrackerKind, choose};

/// Up to this size a memory is compared: that takes no longer than asking the system.
const COMPARE_BYTES_MAX: usize = 192 << 10;

/// A memory that was compared and has grown beyond this gets another tracker.
const COMPARED_BYTES_MAX: usize = 4 * COMPARE_BYTES_MAX;

/// A part of the engine that asks what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Checkpoints of a trace.
    Trace,
    /// States kept in memory.
    Kept,
}

impl Reader {
    fn other(self) -> Reader {
        match self {
            Reader::Trace => Reader::Kept,
            Reader::Kept => Reader::Trace,
        }
    }
}

/// The trackers of a guest's memories. Dropped before the memories.
#[derive(Default)]
pub(crate) struct Written {
    memories: Vec<Watched>,
    /// Who reads, by [`Reader`].
    reads: [bool; 2],
    forced: Option<TrackerKind>,
}

struct Watched {
    tracker: Box<dyn DirtyTracker>,
    len_bytes: usize,
    /// What was taken from the tracker and a reader has not seen, by [`Reader`].
    unseen: [Dirty; 2],
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Engine(error.to_string())
}

impl Watched {
    fn grown(&mut self, len_bytes: usize) -> Result<(), Refusal> {
        if self.len_bytes != len_bytes {
            self.tracker.grown(len_bytes).map_err(failed)?;
            self.len_bytes = len_bytes;
        }
        Ok(())
    }
}

impl Written {
    /// The tracker that must be used from now on, if one must.
    pub fn force(&mut self, kind: Option<TrackerKind>) {
        if kind.is_some() && kind != self.forced {
            self.forced = kind;
            if self.memories.iter().any(|watched| Some(watched.tracker.kind()) != kind) {
                self.memories.clear();
                self.reads = [false; 2];
            }
        }
    }

    /// The tracker that must be used.
    pub fn forced(&self) -> Option<TrackerKind> {
        self.forced
    }

    /// Whether this reader has begun.
    pub fn reads(&self, reader: Reader) -> bool {
        self.reads[reader as usize]
    }

    /// From now on it is noted for this reader what is written.
    ///
    /// # Errors
    /// What the trackers give.
    pub fn begin(
        &mut self,
        reader: Reader,
        store: &Store<State>,
        memories: &[Memory],
    ) -> Result<(), Refusal> {
        if self.memories.is_empty() {
            for memory in memories {
                let len_bytes = memory.data_size(store);
                let tracker = attached(store, memory, COMPARE_BYTES_MAX, self.forced)?;
                self.memories.push(Watched { tracker, len_bytes, unseen: Default::default() });
            }
        }
        for watched in &mut self.memories {
            watched.unseen[reader as usize] = Dirty::new();
        }
        self.reads[reader as usize] = true;
        Ok(())
    }

    /// Which trackers are in use, by memory; empty before anybody reads.
    pub fn kinds(&self) -> Vec<TrackerKind> {
        self.memories.iter().map(|watched| watched.tracker.kind()).collect()
    }

    /// Which tracker a memory has.
    pub fn kind(&self, index: usize) -> TrackerKind {
        self.memories[index].tracker.kind()
    }

    /// What was written since this reader last took.
    ///
    /// # Errors
    /// What the tracker gives.
    pub fn take(
        &mut self,
        reader: Reader,
        index: usize,
        store: &Store<State>,
        memory: &Memory,
    ) -> Result<Dirty, Refusal> {
        let len_bytes = memory.data_size(store);
        let is_read = self.reads(reader.other());
        let watched = &mut self.memories[index];
        watched.grown(len_bytes)?;
        let dirty = watched.tracker.take().map_err(failed)?;
        if is_read {
            watched.unseen[reader.other() as usize].union_with(&dirty);
        }
        let is_compared = watched.tracker.kind() == TrackerKind::Compare;
        if is_compared && self.forced.is_none() && len_bytes > COMPARED_BYTES_MAX {
            watched.tracker.detach();
            watched.tracker = attached(store, memory, 0, None)?;
        }
        let mut all = std::mem::take(&mut watched.unseen[reader as usize]);
        all.union_with(&dirty);
        Ok(all)
    }

    /// What [`Written::take`] would give.
    ///
    /// # Errors
    /// What the tracker gives.
    pub fn peek(
        &mut self,
        reader: Reader,
        index: usize,
        len_bytes: usize,
    ) -> Result<Dirty, Refusal> {
        let watched = &mut self.memories[index];
        watched.grown(len_bytes)?;
        let mut dirty = watched.tracker.peek().map_err(failed)?;
        dirty.union_with(&watched.unseen[reader as usize]);
        Ok(dirty)
    }

    /// The host is about to write into a memory of this length.
    ///
    /// # Errors
    /// What the tracker gives.
    pub fn before_host_write(
        &mut self,
        index: usize,
        len_bytes: usize,
        bytes: Range<usize>,
    ) -> Result<(), Refusal> {
        let Some(watched) = self.memories.get_mut(index) else { return Ok(()) };
        watched.grown(len_bytes)?;
        watched.tracker.before_host_write(bytes).map_err(failed)
    }

    /// A memory is about to become smaller.
    ///
    /// # Errors
    /// What the tracker gives.
    pub fn shrunk(&mut self, index: usize, len_bytes: usize) -> Result<(), Refusal> {
        let watched = &mut self.memories[index];
        watched.tracker.shrunk(len_bytes).map_err(failed)?;
        watched.len_bytes = len_bytes;
        for unseen in &mut watched.unseen {
            unseen.truncate((len_bytes / wrr_pages::PAGE_BYTES) as u32);
        }
        Ok(())
    }

    /// This reader knows what a memory holds: everything is clean to it. `pages` are those that
    /// [`Written::peek`] has reported, and those that the host has written since.
    ///
    /// # Errors
    /// What the tracker gives.
    pub fn settle(&mut self, reader: Reader, index: usize, pages: &Dirty) -> Result<(), Refusal> {
        let is_read = self.reads(reader.other());
        let watched = &mut self.memories[index];
        if is_read {
            watched.unseen[reader.other() as usize].union_with(pages);
        }
        watched.unseen[reader as usize] = Dirty::new();
        watched.tracker.settle(pages).map_err(failed)
    }

    /// What was put aside for a reader.
    pub fn unseen(&self, reader: Reader) -> Vec<Dirty> {
        self.memories.iter().map(|watched| watched.unseen[reader as usize].clone()).collect()
    }

    /// Puts this aside for a reader instead of what was: it knows what else was written.
    pub fn set_unseen(&mut self, reader: Reader, unseen: &[Dirty]) {
        for (watched, unseen) in self.memories.iter_mut().zip(unseen) {
            watched.unseen[reader as usize].clone_from(unseen);
        }
    }
}

fn attached(
    store: &Store<State>,
    memory: &Memory,
    compare_bytes_max: usize,
    forced: Option<TrackerKind>,
) -> Result<Box<dyn DirtyTracker>, Refusal> {
    let len_bytes = memory.data_size(store);
    let mut tracker = choose(len_bytes, compare_bytes_max, forced).map_err(failed)?;
    let region = region_of(store, memory)?;
    // SAFETY: the memory is a `Mapping` of at least that reservation, which lives as long as the guest's
    // store; the guest owns both, drops its trackers before its store, and has no other tracker on the memory.
    unsafe { tracker.attach(region) }.map_err(failed)?;
    Ok(tracker)
}
