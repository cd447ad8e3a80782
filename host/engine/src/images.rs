//! The contents of a guest's memories as pages of a trace, kept up to date from one checkpoint to
//! the next.
//!
//! Invariant: after an update the maps say what the memories hold.

use crate::admit::Refusal;
use crate::guest::State;
use crate::written::{Reader, Written};
use wasmtime::{Memory, Store};
use wrr_pages::{Dirty, PAGE_BYTES, PageMap, PageStore, TrackerKind};
use wrr_trace::{Checkpoint, EventIndex, MemoryState, PageId, PageRun, Rewritten, Tick};

/// How many pages are looked at before new ones are handed on.
const PART_PAGES: u32 = 4096;

/// The pages of a guest's memories.
pub(crate) struct Images {
    store: PageStore,
    maps: Vec<PageMap>,
    /// The sizes that the memories had when tracking began, in bytes. What lies beyond was zero
    /// then.
    began_with: Vec<usize>,
    /// Where the maps were up to date last, if that is known.
    updated_at: Option<(Tick, EventIndex)>,
}

/// What [`Images`] knew at a moment, to go back to. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImagesThen {
    maps: Vec<PageMap>,
    /// What was written since the maps were up to date.
    unseen: Vec<Dirty>,
    began_with: Vec<usize>,
    updated_at: Option<(Tick, EventIndex)>,
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Engine(error.to_string())
}

impl Images {
    /// Nothing is known of the memories, which have these sizes. New pages get the numbers after
    /// those in `store`.
    pub fn new(store: PageStore, began_with: Vec<usize>) -> Images {
        Images { store, maps: Vec::new(), began_with, updated_at: None }
    }

    /// The memories hold what a checkpoint says, whose pages have the numbers that it gives them.
    ///
    /// # Errors
    /// The checkpoint names pages that are not in the store.
    pub fn begin(&mut self, checkpoint: &Checkpoint) -> Result<(), Refusal> {
        for state in &checkpoint.memories {
            let runs = state.runs.iter().map(|run| {
                let id = wrr_pages::PageId(run.id.0);
                wrr_pages::Run { page: run.page, id, count: run.count }
            });
            let map = PageMap::from_runs(state.bytes as usize, runs, self.store.last_id());
            self.maps.push(map.map_err(failed)?);
        }
        self.updated_at = Some((checkpoint.tick, checkpoint.event));
        Ok(())
    }

    /// How many pages an update would look at.
    ///
    /// # Errors
    /// What the trackers give.
    pub fn unseen_pages(
        &self,
        written: &mut Written,
        store: &Store<State>,
        memories: &[Memory],
    ) -> Result<usize, Refusal> {
        let mut pages = 0;
        for (index, memory) in memories.iter().enumerate() {
            let dirty = written.peek(Reader::Trace, index, memory.data_size(store))?;
            pages += self.with_first(index, dirty).count();
        }
        Ok(pages)
    }

    /// Before a memory's first update, what it began with counts as written.
    fn with_first(&self, index: usize, mut dirty: Dirty) -> Dirty {
        if self.maps.len() <= index {
            let bytes = self.began_with.get(index).copied().unwrap_or(0);
            dirty.union_with(&Dirty::from(0..(bytes / PAGE_BYTES) as u32));
        }
        dirty
    }

    /// Takes in what was written since the last time, up to this position. `put` gets the bytes of
    /// new pages, in the order of their numbers, in parts of some megabytes. Gives which pages were
    /// written although their number is the same, if that is known.
    ///
    /// # Errors
    /// What the trackers and `put` give.
    pub fn update<E: From<Refusal>>(
        &mut self,
        written: &mut Written,
        store: &Store<State>,
        memories: &[Memory],
        at: (Tick, EventIndex),
        mut put: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(Vec<MemoryState>, Option<Rewritten>), E> {
        // A tracker that compares does not notice what was written and is as it was.
        let sees_all = (0..memories.len()).all(|i| written.kind(i) != TrackerKind::Compare);
        let since = self.updated_at.take().filter(|_| sees_all);
        let mut rewritten = Vec::new();
        for (index, memory) in memories.iter().enumerate() {
            let bytes = memory.data(store);
            let dirty = written.take(Reader::Trace, index, store, memory)?;
            let dirty = self.with_first(index, dirty);
            if self.maps.len() <= index {
                self.maps.push(PageMap::new());
            }
            let map = &mut self.maps[index];
            if since.is_some() {
                let before = (map.bytes() / PAGE_BYTES) as u32;
                let now = (bytes.len() / PAGE_BYTES) as u32;
                rewritten.extend((before < now).then_some((index as u32, before..now)));
            }
            map.resize(bytes.len()).map_err(failed)?;
            let before = since.map(|_| map.clone());
            for part in dirty.parts(PART_PAGES) {
                map.update(&part, bytes, &mut self.store).map_err(failed)?;
                if self.store.new_bytes() > 0 {
                    put(self.store.take_new())?;
                }
            }
            if let Some(before) = before {
                let is_same = |page: &u32| before.get(*page) == map.get(*page);
                let mut same = Dirty::new();
                dirty.iter().filter(is_same).for_each(|page| same.insert(page..page + 1));
                rewritten.extend(same.ranges().iter().map(|pages| (index as u32, pages.clone())));
            }
        }
        self.updated_at = Some(at);
        let rewritten = since.map(|since| Rewritten { since, pages: rewritten });
        Ok((self.maps.iter().map(memory_state).collect(), rewritten))
    }

    /// What is known now, to go back to.
    pub fn save(&self, written: &Written) -> ImagesThen {
        ImagesThen {
            maps: self.maps.clone(),
            unseen: written.unseen(Reader::Trace),
            began_with: self.began_with.clone(),
            updated_at: self.updated_at,
        }
    }

    /// The memories hold again what they held at a moment, and the trace has as many pages as then.
    pub fn restore(&mut self, then: &ImagesThen, pages: u32, written: &mut Written) {
        self.maps.clone_from(&then.maps);
        self.began_with.clone_from(&then.began_with);
        self.updated_at = then.updated_at;
        self.store.forget_after(wrr_pages::PageId(pages));
        written.set_unseen(Reader::Trace, &then.unseen);
    }
}

fn memory_state(map: &PageMap) -> MemoryState {
    let runs =
        map.runs().map(|run| PageRun { page: run.page, id: PageId(run.id.0), count: run.count });
    MemoryState { bytes: map.bytes() as u64, runs: runs.collect() }
}
