//! What was written between two checkpoints, as far as the trace says so: a search passes over a
//! stretch in which nothing was written that matters.
//!
//! The page lists of two checkpoints alone do not allow that: a page that was written in between may
//! hold the same again, with a value that has changed and changed back. So the trace lists those
//! pages too.

use super::Walker;
use std::collections::BTreeMap;
use wrr_trace::{TraceReader, WrittenSince};

/// A stretch may be covered by a checkpoint so many places later: others were added in between.
const LATER_MAX: usize = 16;

/// How many checkpoints' lists stay decoded.
const DECODED_MAX: usize = 64;

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

/// Whether one of some pages of memory 0 is among those that were written. `pages` ascend.
fn is_written(pages: &[u32], written: &WrittenSince) -> bool {
    let of_memory = written.pages.iter().filter(|(memory, _)| *memory == 0);
    of_memory.map(|(_, range)| range).any(|range| {
        let next = pages.partition_point(|page| *page < range.start);
        pages.get(next).is_some_and(|page| *page < range.end)
    })
}

/// What checkpoints say was written before them, by their numbers in the trace.
#[derive(Default)]
pub(super) struct Decoded(BTreeMap<usize, Option<WrittenSince>>);

impl Decoded {
    fn get(&mut self, reader: &TraceReader, number: usize) -> Option<&WrittenSince> {
        if self.0.len() >= DECODED_MAX {
            self.0.retain(|decoded, _| *decoded == number);
        }
        let decoded = self.0.entry(number);
        let written = || reader.written_before_checkpoint(number).ok().flatten();
        decoded.or_insert_with(written).as_ref()
    }
}

impl Walker<'_> {
    /// Whether it is known that none of some pages of memory 0 was written between a checkpoint and
    /// the one after it. `place` is the earlier one's, in the order of ticks; `pages` ascend.
    pub(super) fn is_untouched(&mut self, place: usize, pages: &[u32]) -> bool {
        let reader = self.trace.reader();
        let Some((earlier, _)) = self.checkpoints.get(place).copied() else { return false };
        let later = self.checkpoints[place + 1..].iter().take(LATER_MAX);
        for (_, number) in later {
            if let Some(written) = self.decoded.get(reader, *number) {
                let covers = written.since <= (earlier.tick, earlier.event);
                return covers && !is_written(pages, written);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrr_trace::{EventIndex, Tick};

    #[test]
    fn a_page_is_written_if_a_range_of_memory_0_has_it() {
        let pages = vec![(0, 9..10), (0, 2..4), (1, 0..9), (0, 7..8)];
        let written = WrittenSince { since: (Tick(0), EventIndex(0)), pages };
        let found: Vec<u32> = (0..16).filter(|page| is_written(&[*page], &written)).collect();
        assert_eq!(found, [2, 3, 7, 9]);
        assert!(is_written(&[0, 1, 3, 12], &written));
        assert!(!is_written(&[0, 1, 4, 6, 8, 12], &written));
    }

    #[test]
    fn a_word_may_lie_in_two_pages() {
        assert_eq!(pages_of(&[4096, 0, 8190, u32::MAX - 3]), [0, 1, 2, (1 << 20) - 1]);
    }
}
