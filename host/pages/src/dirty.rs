//! Sets of page numbers.
//!
//! Invariant: ranges are ascending, not empty, and neither overlap nor touch, so equal sets are equal values.

use std::ops::Range;

/// A sorted set of page numbers, kept as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    ranges: Vec<Range<u32>>,
}

impl Dirty {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds pages. Fast if they come in ascending order.
    pub fn insert(&mut self, pages: Range<u32>) {
        if pages.is_empty() {
            return;
        }
        match self.ranges.last_mut() {
            None => return self.ranges.push(pages),
            Some(last) if last.end < pages.start => return self.ranges.push(pages),
            Some(last) if last.start <= pages.start => {
                last.end = last.end.max(pages.end);
                return;
            }
            Some(_) => {}
        }
        let from = self.ranges.partition_point(|range| range.end < pages.start);
        let to = self.ranges.partition_point(|range| range.start <= pages.end);
        let mut merged = pages;
        for range in &self.ranges[from..to] {
            merged = merged.start.min(range.start)..merged.end.max(range.end);
        }
        self.ranges.splice(from..to, [merged]);
    }

    /// Adds all pages of `other`.
    pub fn union_with(&mut self, other: &Dirty) {
        match (self.ranges.last(), other.ranges.first()) {
            (_, None) => {}
            (None, _) => self.ranges.clone_from(&other.ranges),
            (Some(last), Some(first)) if last.start <= first.start => {
                other.ranges.iter().for_each(|range| self.insert(range.clone()));
            }
            // Merged in one pass: inserting in the middle moves everything after it.
            _ => {
                let mut merged = Dirty { ranges: Vec::with_capacity(self.ranges.len()) };
                let mut theirs = other.ranges.iter().cloned().peekable();
                for range in std::mem::take(&mut self.ranges) {
                    while let Some(their) = theirs.next_if(|their| their.start <= range.start) {
                        merged.insert(their);
                    }
                    merged.insert(range);
                }
                theirs.for_each(|range| merged.insert(range));
                *self = merged;
            }
        }
    }

    /// Takes out all pages from this one on.
    pub fn truncate(&mut self, pages: u32) {
        self.ranges.retain(|range| range.start < pages);
        if let Some(last) = self.ranges.last_mut() {
            last.end = last.end.min(pages);
        }
    }

    /// Number of pages.
    pub fn count(&self) -> usize {
        self.ranges.iter().map(|range| range.len()).sum()
    }

    /// True if there is no page in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// True if `page` is in the set.
    pub fn contains(&self, page: u32) -> bool {
        let at = self.ranges.partition_point(|range| range.end <= page);
        self.ranges.get(at).is_some_and(|range| range.contains(&page))
    }

    /// The pages in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().cloned().flatten()
    }

    /// Maximal ranges of pages in ascending order.
    pub fn ranges(&self) -> &[Range<u32>] {
        &self.ranges
    }

    /// The same pages in parts of at most `pages_max` (at least 1), so that what is made of
    /// them can be written out before the next part is looked at.
    pub fn parts(&self, pages_max: u32) -> impl Iterator<Item = Dirty> + '_ {
        let pages_max = pages_max.max(1);
        let mut ranges = self.ranges.iter().cloned();
        let mut rest: Option<Range<u32>> = None;
        std::iter::from_fn(move || {
            let mut part = Dirty::new();
            let mut room = pages_max;
            while room > 0 {
                let Some(range) = rest.take().or_else(|| ranges.next()) else { break };
                let end = range.end.min(range.start.saturating_add(room));
                room -= end - range.start;
                part.ranges.push(range.start..end);
                if end < range.end {
                    rest = Some(end..range.end);
                }
            }
            (!part.is_empty()).then_some(part)
        })
    }
}

impl From<Range<u32>> for Dirty {
    fn from(pages: Range<u32>) -> Self {
        let mut dirty = Dirty::new();
        dirty.insert(pages);
        dirty
    }
}

impl FromIterator<Range<u32>> for Dirty {
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(ranges: I) -> Self {
        let mut dirty = Dirty::new();
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        // Sorted first, because inserting in the middle moves everything behind it.
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.into_iter().for_each(|range| dirty.insert(range));
        dirty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_of_ranges_is_the_set_of_its_pages(
            ranges in prop::collection::vec((0u32..200, 0u32..9), 0..40),
            part_pages in 0u32..20,
            others in prop::collection::vec((0u32..200, 0u32..9), 0..40),
        ) {
            let ranges_of = |ranges: &[(u32, u32)]| -> Vec<std::ops::Range<u32>> {
                ranges.iter().map(|&(start, len)| start..start + len).collect()
            };
            let (ranges, others) = (ranges_of(&ranges), ranges_of(&others));
            let pages: BTreeSet<u32> = ranges.iter().cloned().flatten().collect();
            let mut dirty = Dirty::new();
            ranges.iter().for_each(|range| dirty.insert(range.clone()));

            prop_assert!(dirty.iter().eq(pages.iter().copied()));
            prop_assert_eq!(dirty.count(), pages.len());
            prop_assert!(dirty.ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!((0..220).all(|page| dirty.contains(page) == pages.contains(&page)));
            prop_assert_eq!(&dirty, &ranges.iter().cloned().collect::<Dirty>());

            let mut joined = Dirty::new();
            for part in dirty.parts(part_pages) {
                prop_assert!(part.count() <= part_pages.max(1) as usize);
                joined.union_with(&part);
            }
            prop_assert_eq!(&joined, &dirty);
            joined.union_with(&others.iter().cloned().collect());
            prop_assert_eq!(joined, ranges.into_iter().chain(others).collect::<Dirty>());
        }
    }
}
