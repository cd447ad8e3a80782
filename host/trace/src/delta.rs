//! Checkpoints stored as what differs from an earlier one, so that a checkpoint's size is that of
//! what changed.
//!
//! ```text
//! payload   := base:varint rewritten checkpoint
//! rewritten := 0 | 1 count:varint (memory:varint page:varint pages:varint){count}
//! ```
//!
//! `base` is the place of the earlier checkpoint among all checkpoints of the file. The checkpoint
//! is encoded as a whole one, but its memories list only the pages that differ from the base's
//! (page id 0: all zeros now), and its tables are left out if they are the base's. `rewritten` lists
//! pages that were written since the base and hold the same again, if that is known: then every other
//! page was not written in between.
//!
//! Invariant: a chain of bases ends at a whole checkpoint after at most [`CHAIN_MAX`] steps and
//! [`CHAIN_BYTES_MAX`] of payload; a writer keeps to that, and a reader refuses anything else.

use crate::checkpoint::{
    Checkpoint, CheckpointHead, MemoryState, PageId, PageRun, TableState, VALUES_MAX,
};
use crate::chunk::{ChunkKind, PAGE_BYTES};
use crate::cursor::Cursor;
use crate::event::{EventIndex, Tick};
use std::ops::Range;

/// The most bases that have to be decoded for one checkpoint.
pub(crate) const CHAIN_MAX: usize = 64;

/// The most bytes that the payloads of a chain take together, the whole checkpoint's included.
pub(crate) const CHAIN_BYTES_MAX: u64 = 64 << 20;

/// More ranges of pages than this are not written down.
const REWRITTEN_MAX: usize = 1 << 16;

/// Memories, and ranges of pages of them.
pub type PagesOfMemories = Vec<(u32, Range<u32>)>;

/// Pages that were written since an earlier checkpoint although they hold the same, or were not
/// there then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Where the earlier checkpoint is.
    pub since: (Tick, EventIndex),
    /// The pages.
    pub pages: PagesOfMemories,
}

/// All pages that were written between an earlier checkpoint and a later one; perhaps more than
/// those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenSince {
    /// Where the earlier checkpoint is.
    pub since: (Tick, EventIndex),
    /// The pages, in no order.
    pub pages: PagesOfMemories,
}

/// The checkpoint that was written last: what the next one may be stored as differences from.
#[derive(Debug)]
pub(crate) struct Base {
    memories: Vec<MemoryState>,
    tables: Vec<TableState>,
    at: (Tick, EventIndex),
    place: u32,
    /// How many bases it has itself.
    depth: usize,
    /// What the payloads of its chain take, its own included.
    chain_bytes: u64,
}

/// A checkpoint ready to be written.
pub(crate) struct Encoded {
    pub kind: ChunkKind,
    pub payload: Vec<u8>,
    /// What the next checkpoint may be stored as differences from.
    pub base: Base,
}

/// Encodes a checkpoint that will stand at `place`: as differences from `base` if that is smaller.
/// What was `rewritten` is only written down if it is known since the base.
///
/// # Errors
/// As [`Checkpoint::to_payload`].
pub(crate) fn encode(
    checkpoint: &Checkpoint,
    place: u32,
    base: Option<&Base>,
    rewritten: Option<&Rewritten>,
) -> Result<Encoded, String> {
    let next = |depth, chain_bytes| Base {
        memories: checkpoint.memories.clone(),
        tables: checkpoint.tables.clone(),
        at: (checkpoint.tick, checkpoint.event),
        place,
        depth,
        chain_bytes,
    };
    if let Some(base) = base
        && let Some(changes) = base.changes(checkpoint)
        && let Ok(changes) = changes.to_payload()
    {
        let rewritten = rewritten
            .filter(|written| written.since == base.at && written.pages.len() <= REWRITTEN_MAX);
        let mut payload = encode_front(base.place, rewritten)?;
        payload.extend(changes);
        let chain_bytes = base.chain_bytes + payload.len() as u64;
        if chain_bytes <= CHAIN_BYTES_MAX {
            let base = next(base.depth + 1, chain_bytes);
            return Ok(Encoded { kind: ChunkKind::CHANGES, payload, base });
        }
    }
    let payload = checkpoint.to_payload()?;
    let base = next(0, payload.len() as u64);
    Ok(Encoded { kind: ChunkKind::CHECKPOINT, payload, base })
}

impl Base {
    /// The checkpoint with what differs from this one only; `None` if it should be stored whole.
    fn changes(&self, checkpoint: &Checkpoint) -> Option<Checkpoint> {
        if self.depth + 1 > CHAIN_MAX || self.memories.len() != checkpoint.memories.len() {
            return None;
        }
        let memories: Vec<MemoryState> = self
            .memories
            .iter()
            .zip(&checkpoint.memories)
            .map(|(from, to)| MemoryState { bytes: to.bytes, runs: changed_runs(from, to) })
            .collect();
        let runs = |memories: &[MemoryState]| memories.iter().map(|m| m.runs.len()).sum::<usize>();
        let same_tables = self.tables == checkpoint.tables;
        let tables_are_left_out = same_tables && !self.tables.is_empty();
        let is_smaller = runs(&memories) < runs(&checkpoint.memories) || tables_are_left_out;
        if !is_smaller {
            return None;
        }
        let tables = if same_tables { Vec::new() } else { checkpoint.tables.clone() };
        Some(Checkpoint {
            memories,
            tables,
            tick: checkpoint.tick,
            event: checkpoint.event,
            name: checkpoint.name.clone(),
            phase: checkpoint.phase,
            pause: checkpoint.pause.clone(),
            frames: checkpoint.frames.clone(),
            globals: checkpoint.globals.clone(),
            dropped_data: checkpoint.dropped_data.clone(),
            dropped_elements: checkpoint.dropped_elements.clone(),
            host: checkpoint.host.clone(),
        })
    }
}

fn encode_front(base: u32, rewritten: Option<&Rewritten>) -> Result<Vec<u8>, String> {
    let pages = |rewritten: &Rewritten| {
        let pages = rewritten.pages.iter();
        pages.map(|(memory, pages)| (*memory, pages.start, pages.len() as u32)).collect::<Vec<_>>()
    };
    postcard::to_stdvec(&(base, rewritten.map(pages))).map_err(|e| e.to_string())
}

/// What stands before the checkpoint in a payload of kind [`ChunkKind::CHANGES`].
pub(crate) struct Front {
    /// The place of the checkpoint that it is based on.
    pub base: u32,
    rewritten: Option<PagesOfMemories>,
}

impl Front {
    /// Takes it off a payload.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the bytes.
    pub(crate) fn take(cursor: &mut Cursor) -> Result<Front, String> {
        let base = cursor.number("the base of a checkpoint")?;
        let rewritten = match cursor.byte()? {
            0 => None,
            1 => Some(Front::take_pages(cursor)?),
            other => return Err(format!("{other} where 0 or 1 says whether pages follow")),
        };
        Ok(Front { base, rewritten })
    }

    fn take_pages(cursor: &mut Cursor) -> Result<PagesOfMemories, String> {
        let count = cursor.count(3, "ranges of pages")?;
        if count > VALUES_MAX {
            return Err(format!("{count} ranges of pages, the most is {VALUES_MAX}"));
        }
        let mut pages = Vec::with_capacity(count);
        for _ in 0..count {
            let memory = cursor.number("a memory")?;
            let first: u32 = cursor.number("a page")?;
            let end = first.checked_add(cursor.number("a count of pages")?);
            let end = end.ok_or_else(|| format!("a range of pages from {first} has no end"))?;
            pages.push((memory, first..end));
        }
        Ok(pages)
    }
}

/// A decoded payload of kind [`ChunkKind::CHANGES`], whose base is still to be found.
pub(crate) struct Changes {
    front: Front,
    checkpoint: Checkpoint,
}

/// The place of the base that a payload of kind [`ChunkKind::CHANGES`] names.
pub(crate) fn base_of(payload: &[u8]) -> Result<u32, String> {
    let base = postcard::take_from_bytes(payload);
    base.map(|(base, _)| base).map_err(|e| format!("the base of a checkpoint: {e}"))
}

/// The front of a checkpoint that is stored as changes.
pub(crate) fn head_of(payload: Vec<u8>) -> Result<CheckpointHead, String> {
    let mut cursor = Cursor::new(payload);
    Front::take(&mut cursor)?;
    CheckpointHead::decode(cursor.rest())
}

impl Changes {
    /// Decodes a payload, in a file of this version with so many pages before it.
    pub(crate) fn from_payload(
        payload: Vec<u8>,
        pages: u32,
        version: u32,
    ) -> Result<Changes, String> {
        let mut cursor = Cursor::new(payload);
        let front = Front::take(&mut cursor)?;
        let checkpoint = Checkpoint::decode_changes(cursor, pages, version)?;
        Ok(Changes { front, checkpoint })
    }

    /// All pages that were written since the base, with its place; `None` if that is not known.
    pub(crate) fn written(self) -> Option<(u32, PagesOfMemories)> {
        let mut pages = self.front.rewritten?;
        for (memory, state) in (0..).zip(&self.checkpoint.memories) {
            let runs = state.runs.iter();
            pages.extend(runs.map(|run| (memory, run.page..run.page + run.count)));
        }
        Some((self.front.base, pages))
    }

    /// The checkpoint that has these differences from `base`.
    ///
    /// # Errors
    /// A sentence that says why the two do not fit.
    pub(crate) fn apply(self, base: &Checkpoint) -> Result<Checkpoint, String> {
        let mut checkpoint = self.checkpoint;
        if base.memories.len() != checkpoint.memories.len() {
            return Err(format!(
                "it changes {} memories, its base has {}",
                checkpoint.memories.len(),
                base.memories.len()
            ));
        }
        for (base, changes) in base.memories.iter().zip(&mut checkpoint.memories) {
            changes.runs = overlaid(base, changes);
        }
        if checkpoint.tables.is_empty() {
            checkpoint.tables.clone_from(&base.tables);
        }
        Ok(checkpoint)
    }
}

/// Runs in ascending order, joined where they continue each other.
#[derive(Default)]
struct Runs(Vec<PageRun>);

impl Runs {
    fn push(&mut self, run: PageRun) {
        if run.count == 0 {
            return;
        }
        if let Some(last) = self.0.last_mut()
            && last.page + last.count == run.page
            && (if last.id.0 == 0 { run.id.0 == 0 } else { last.id.0 + last.count == run.id.0 })
        {
            last.count += run.count;
            return;
        }
        self.0.push(run);
    }
}

/// The first `count` pages of a run.
fn first(run: PageRun, count: u32) -> PageRun {
    PageRun { count, ..run }
}

/// What remains of a run after its first `count` pages, if anything does.
fn rest(run: PageRun, count: u32) -> Option<PageRun> {
    let id = if run.id.0 == 0 { run.id } else { PageId(run.id.0 + count) };
    (run.count > count).then_some(PageRun { page: run.page + count, id, count: run.count - count })
}

/// The pages of `to` that `from` does not have, with id 0 for those that are zero in `to` only.
fn changed_runs(from: &MemoryState, to: &MemoryState) -> Vec<PageRun> {
    let pages = (to.bytes / PAGE_BYTES as u64).min(u64::from(u32::MAX)) as u32;
    let mut changes = Runs::default();
    let zero = |page: u32, count: u32, changes: &mut Runs| {
        let count = count.min(pages.saturating_sub(page));
        changes.push(PageRun { page, id: PageId(0), count });
    };
    let (mut old, mut new) = (from.runs.iter().copied(), to.runs.iter().copied());
    let (mut before, mut now) = (old.next(), new.next());
    loop {
        match (before, now) {
            (None, None) => return changes.0,
            (Some(a), None) => {
                zero(a.page, a.count, &mut changes);
                before = old.next();
            }
            (None, Some(b)) => {
                changes.push(b);
                now = new.next();
            }
            (Some(a), Some(b)) if a.page < b.page => {
                let count = a.count.min(b.page - a.page);
                zero(a.page, count, &mut changes);
                before = rest(a, count).or_else(|| old.next());
            }
            (Some(a), Some(b)) if b.page < a.page => {
                let count = b.count.min(a.page - b.page);
                changes.push(first(b, count));
                now = rest(b, count).or_else(|| new.next());
            }
            (Some(a), Some(b)) => {
                let count = a.count.min(b.count);
                if a.id != b.id {
                    changes.push(first(b, count));
                }
                before = rest(a, count).or_else(|| old.next());
                now = rest(b, count).or_else(|| new.next());
            }
        }
    }
}

/// The pages of a memory that was `base` and has these changes.
fn overlaid(base: &MemoryState, changes: &MemoryState) -> Vec<PageRun> {
    let pages = (changes.bytes / PAGE_BYTES as u64).min(u64::from(u32::MAX)) as u32;
    let mut out = Runs::default();
    let mut old = base.runs.iter().copied();
    let mut before = old.next();
    for change in &changes.runs {
        while let Some(run) = before.filter(|run| run.page < change.page) {
            let count = run.count.min(change.page - run.page);
            out.push(first(run, count));
            before = rest(run, count).or_else(|| old.next());
        }
        if change.id.0 != 0 {
            out.push(*change);
        }
        let end = change.page + change.count;
        while let Some(run) = before.filter(|run| run.page < end) {
            before = rest(run, run.count.min(end - run.page)).or_else(|| old.next());
        }
    }
    while let Some(run) = before.filter(|run| run.page < pages) {
        out.push(first(run, run.count.min(pages - run.page)));
        before = old.next();
    }
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WASM_PAGE_PAGES: u32 = 16;

    /// A memory, page by page, in the form of a checkpoint.
    fn memory(ids: &[u32]) -> MemoryState {
        let mut runs = Runs::default();
        for (page, id) in ids.iter().enumerate().filter(|(_, id)| **id != 0) {
            runs.push(PageRun { page: page as u32, id: PageId(*id), count: 1 });
        }
        MemoryState { bytes: (ids.len() * PAGE_BYTES) as u64, runs: runs.0 }
    }

    fn ids() -> impl Strategy<Value = Vec<u32>> {
        (1u32..4).prop_flat_map(|size| {
            let pages = (size * WASM_PAGE_PAGES) as usize;
            proptest::collection::vec(prop_oneof![Just(0), 1u32..5, 1u32..40], pages)
        })
    }

    proptest! {
        #[test]
        fn a_memory_is_its_base_with_its_changes(from in ids(), to in ids()) {
            let (from, to) = (memory(&from), memory(&to));
            let changes = MemoryState { bytes: to.bytes, runs: changed_runs(&from, &to) };
            prop_assert_eq!(overlaid(&from, &changes), to.runs);
        }

        #[test]
        fn only_pages_that_differ_are_changes(from in ids(), page in any::<prop::sample::Index>()) {
            let mut to = from.clone();
            let page = page.index(to.len());
            to[page] = 77;
            let changes = changed_runs(&memory(&from), &memory(&to));
            let change = PageRun { page: page as u32, id: PageId(77), count: 1 };
            prop_assert_eq!(changes, vec![change]);
            prop_assert_eq!(changed_runs(&memory(&from), &memory(&from)), vec![]);
        }
    }
}
