//! What was written between two checkpoints, as far as the trace says so.
//!
//! The page lists of two checkpoints give the pages whose contents differ. A page that was written
//! in between and holds the same again is not among them: a value that has changed and changed
//! back. So page lists alone do not allow a search to pass over a stretch; the trace has to list
//! those pages too.

use super::Walker;
use std::collections::BTreeMap;
use std::ops::Range;
use wrr_trace::{Checkpoint, EventIndex, MemoryState, PageId, Tick, TraceReader};

/// The number of the page that holds a byte.
fn page_of(at: u64) -> u32 {
    u32::try_from(at / wrr_trace::PAGE_BYTES as u64).unwrap_or(u32::MAX)
}

/// The pages that hold words, ascending.
pub(super) fn pages_of(words: &[u32]) -> Vec<u32> {
    let ends = words.iter().flat_map(|&word| [u64::from(word), u64::from(word) + 3]);
    let mut pages: Vec<u32> = ends.map(page_of).collect();
    pages.sort_unstable();
    pages.dedup();
    pages
}

/// What a checkpoint says about memory 0 since an earlier one.
struct Since<'c> {
    /// The earlier one.
    tick: Tick,
    event: EventIndex,
    /// The pages that were written in between although they hold the same in both.
    rewritten: &'c [Range<u32>],
}

/// What a checkpoint says about what was written before it. `None`: nothing.
fn since(_checkpoint: &Checkpoint) -> Option<Since<'_>> {
    None
}

/// The page's id: 0 for one that is zero, `None` for one that is not there.
fn id_of(memory: &MemoryState, page: u32) -> Option<PageId> {
    if u64::from(page) >= memory.bytes / wrr_trace::PAGE_BYTES as u64 {
        return None;
    }
    let before = memory.runs.partition_point(|run| run.page <= page);
    let run = before.checked_sub(1).map(|at| memory.runs[at]);
    Some(match run.filter(|run| page - run.page < run.count) {
        Some(run) => PageId(run.id.0 + (page - run.page)),
        None => PageId(0),
    })
}

/// Whether one of some pages was written between two states of a memory. `rewritten` are those that
/// were written and hold the same in both.
fn is_written(
    pages: &[u32],
    earlier: &MemoryState,
    later: &MemoryState,
    rewritten: &[Range<u32>],
) -> bool {
    pages.iter().any(|page| {
        id_of(earlier, *page) != id_of(later, *page)
            || rewritten.iter().any(|range| range.contains(page))
    })
}

/// The checkpoints that were decoded, by their numbers in the trace.
#[derive(Default)]
pub(super) struct Decoded(BTreeMap<usize, Option<Checkpoint>>);

/// How many stay decoded.
const DECODED_MAX: usize = 4;

impl Decoded {
    fn get(&mut self, reader: &TraceReader, number: usize) -> Option<&Checkpoint> {
        if self.0.len() >= DECODED_MAX {
            self.0.retain(|decoded, _| *decoded == number);
        }
        self.0.entry(number).or_insert_with(|| reader.checkpoint(number).ok()).as_ref()
    }
}

impl Walker<'_> {
    /// Whether it is known that none of some pages of memory 0 was written between a checkpoint and
    /// the one after it. `place` is the earlier one's, in the order of ticks.
    pub(super) fn is_untouched(&mut self, place: usize, pages: &[u32]) -> bool {
        let reader = self.trace.reader();
        let Some((_, later)) = self.checkpoints.get(place + 1).copied() else { return false };
        let Some(checkpoint) = self.decoded.get(reader, later) else { return false };
        let Some(Since { tick, event, rewritten }) = since(checkpoint) else { return false };
        let rewritten = rewritten.to_vec();
        let Some(memory) = checkpoint.memories.first().cloned() else { return false };
        // Others may have been added in between.
        let earlier = self.checkpoints[..=place]
            .iter()
            .find(|(at, _)| (at.tick, at.event) == (tick, event))
            .and_then(|(_, number)| self.decoded.get(reader, *number));
        let earlier = earlier.and_then(|earlier| earlier.memories.first());
        earlier.is_some_and(|earlier| !is_written(pages, earlier, &memory, &rewritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrr_trace::PageRun;

    fn memory(runs: &[(u32, u32, u32)]) -> MemoryState {
        let run = |&(page, id, count): &(u32, u32, u32)| PageRun { page, id: PageId(id), count };
        MemoryState { bytes: 64 << 10, runs: runs.iter().map(run).collect() }
    }

    #[test]
    fn a_page_is_written_if_its_contents_differ_or_were_written_again() {
        let earlier = memory(&[(0, 1, 4), (8, 9, 1)]);
        let later = memory(&[(0, 1, 2), (2, 20, 1), (3, 4, 1), (9, 9, 1)]);
        let written =
            |page: u32| is_written(&[page], &earlier, &later, std::slice::from_ref(&(5..6)));
        let expected = [2, 5, 8, 9];
        let found: Vec<u32> = (0..16).filter(|page| written(*page)).collect();
        assert_eq!(found, expected);
        assert!(is_written(&[0, 1, 2], &earlier, &later, &[]));
        assert!(!is_written(&[0, 1, 3, 5], &earlier, &later, &[]));
        // A page that neither has is not written.
        assert!(!is_written(&[16], &earlier, &later, &[]));
    }

    #[test]
    fn a_word_may_lie_in_two_pages() {
        assert_eq!(pages_of(&[4096, 0, 8190, u32::MAX - 3]), [0, 1, 2, (1 << 20) - 1]);
    }
}
