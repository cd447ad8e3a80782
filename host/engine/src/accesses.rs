//! What memory a call reads: it is made in [`Variant::Accesses`](crate::Variant::Accesses), where the host is told of every access.

use crate::guest::{Guest, State};
use std::ops::Range;
use wasmtime::Caller;

/// Accesses are noted for so many bytes at once.
const GRAIN_BYTES: u64 = 4;

/// What was read from and written to memory 0.
#[derive(Debug, Default)]
pub(crate) struct Accesses {
    /// By grain: whether it was read before anything was written to it.
    read: Bits,
    /// By grain.
    written: Bits,
    /// Between one write to this word and the next nothing is noted.
    border: u64,
    is_outside: bool,
}

/// A set of numbers, a bit for each.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn contains(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    fn insert(&mut self, number: u64) {
        let word = (number / 64) as usize;
        if word >= self.0.len() {
            self.0.resize((word + 1).next_power_of_two(), 0);
        }
        self.0[word] |= 1 << (number % 64);
    }
}

impl Accesses {
    fn note(&mut self, at: u64, len: u64, writes: bool) {
        if writes && at == self.border && len == 4 {
            self.is_outside = !self.is_outside;
            return;
        }
        if len == 0 || (self.is_outside && !writes) {
            return;
        }
        for grain in at / GRAIN_BYTES..=(at + len - 1) / GRAIN_BYTES {
            if writes {
                self.written.insert(grain);
            } else if !self.written.contains(grain) {
                self.read.insert(grain);
            }
        }
    }

    /// What was read and never written, as addresses, ascending. What a call both reads and writes is its own affair: counts of references, the stack, the
    /// allocator's lists.
    fn ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (index, read) in self.read.0.iter().enumerate() {
            let mut left = read & !self.written.0.get(index).copied().unwrap_or(0);
            while left != 0 {
                let grain = index as u64 * 64 + u64::from(left.trailing_zeros());
                left &= left - 1;
                let range = grain * GRAIN_BYTES..(grain + 1) * GRAIN_BYTES;
                match ranges.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => ranges.push(range),
                }
            }
        }
        ranges
    }
}

impl Guest {
    /// Notes from now on what is read and written; not what is read between one write to the word `border` and the next.
    pub fn note_accesses(&mut self, border: u64) {
        let accesses = Accesses { border, ..Accesses::default() };
        self.store.data_mut().accesses = Some(accesses);
    }

    /// What was read from memory 0 and not written since [`Guest::note_accesses`], in whole words of 32 bits, ascending.
    pub fn take_accesses(&mut self) -> Vec<Range<u64>> {
        let accesses = self.store.data_mut().accesses.take();
        accesses.map(|accesses| accesses.ranges()).unwrap_or_default()
    }
}

/// The guest is about to access so many bytes, or not, if that is outside of its memory.
pub(crate) fn access(mut caller: Caller<'_, State>, at: i64, len: i64) {
    let state = caller.data_mut();
    let bytes_max = state.parts.and_then(|parts| parts.memory);
    let Some(memory) = bytes_max else { return };
    let size = memory.data_size(&caller) as u64;
    let (at, writes, len) = (at as u64, len < 0, (len & i64::MAX) as u64);
    let Some(accesses) = &mut caller.data_mut().accesses else { return };
    if at.checked_add(len).is_some_and(|end| end <= size) {
        accesses.note(at, len, writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_read_is_told_as_ranges() {
        let mut accesses = Accesses::default();
        accesses.note(8, 8, false);
        accesses.note(17, 1, false);
        accesses.note(24, 2, false);
        accesses.note(400, 4, true);
        accesses.note(400, 4, false);
        accesses.note(500, 4, false);
        accesses.note(503, 1, true);
        accesses.note(600, 0, false);
        accesses.border = 700;
        accesses.note(700, 4, true);
        accesses.note(800, 4, false);
        accesses.note(700, 4, true);
        assert_eq!(accesses.ranges(), [8..20, 24..28]);
    }
}
