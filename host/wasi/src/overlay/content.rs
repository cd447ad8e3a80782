//! The bytes of a file in the layer: pages that were written, above what the file has below.
//!
//! Invariant: behind the file's length there is nothing but zeros, in pages and below, so that a file that becomes longer
//! again shows zeros.

use super::below::Beneath;
use super::pages::{PAGE, Page, PageStore};
use super::trie::Trie;
use wrr_trace::Place;

/// The contents of a file.
#[derive(Clone, Default)]
pub struct Content {
    pub size: u64,
    /// So many bytes from the start on are those below, where no page was written.
    pub below_bytes: u64,
    pages: Trie<Page>,
    /// Something was written, or cut off.
    pub touched: bool,
}

impl Content {
    /// The contents of a file that has so many bytes below.
    pub fn below(size: u64) -> Content {
        Content { size, below_bytes: size, ..Content::default() }
    }

    /// Whether some of its bytes are still those below.
    pub fn needs_below(&self) -> bool {
        let whole = self.below_bytes.div_ceil(PAGE as u64);
        // Most files that were written to have one page or all of them.
        (0..whole).any(|page| self.pages.get(page).is_none())
    }

    /// Reads from an offset on; gives how many bytes there were.
    pub fn read(
        &self,
        place: Option<&Place>,
        beneath: &dyn Beneath,
        offset: u64,
        out: &mut [u8],
    ) -> std::io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = left.min(out.len());
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (page, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let here = (PAGE - within).min(len - done);
            let piece = &mut out[done..done + here];
            if let Some(page) = self.pages.get(page) {
                piece.copy_from_slice(&page.read()?[within..within + here]);
                done += here;
                continue;
            }
            // What follows below without a page in it is read at once.
            let mut end = done + here;
            while end < len && self.pages.get((offset + end as u64) / PAGE as u64).is_none() {
                end = len.min(end + PAGE);
            }
            self.read_below(place, beneath, at, &mut out[done..end])?;
            done = end;
        }
        Ok(len)
    }

    /// Fills `out` with what is below, and zeros behind that.
    fn read_below(
        &self,
        place: Option<&Place>,
        beneath: &dyn Beneath,
        offset: u64,
        out: &mut [u8],
    ) -> std::io::Result<()> {
        let left = self.below_bytes.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let read = match place {
            Some(place) if len > 0 => beneath.read(place, offset, &mut out[..len])?,
            _ => 0,
        };
        out[read..].fill(0);
        Ok(())
    }

    /// The page at a number, as it is now.
    fn page(
        &self,
        place: Option<&Place>,
        beneath: &dyn Beneath,
        number: u64,
    ) -> std::io::Result<[u8; PAGE]> {
        match self.pages.get(number) {
            Some(page) => page.read(),
            None => {
                let mut content = [0; PAGE];
                self.read_below(place, beneath, number * PAGE as u64, &mut content)?;
                Ok(content)
            }
        }
    }

    /// Writes at an offset: all of it or, if there is an error, nothing.
    ///
    /// Requires: the end of it is at most `i64::MAX`.
    pub fn write(
        &mut self,
        place: Option<&Place>,
        beneath: &dyn Beneath,
        store: &PageStore,
        offset: u64,
        data: &[u8],
    ) -> std::io::Result<()> {
        // First everything that can fail, then everything else.
        let mut fresh: Vec<(u64, Page)> = Vec::new();
        for (number, within, piece) in pieces(offset, data) {
            if self.pages.get_unshared(number).is_some_and(|page| page.in_place().is_some()) {
                continue;
            }
            let mut content = match piece.len() {
                PAGE => [0; PAGE],
                _ => self.page(place, beneath, number)?,
            };
            content[within..within + piece.len()].copy_from_slice(piece);
            fresh.push((number, store.keep(&content)?));
        }
        let mut fresh = fresh.into_iter().peekable();
        for (number, within, piece) in pieces(offset, data) {
            if let Some((_, page)) = fresh.next_if(|(next, _)| *next == number) {
                self.pages.insert(number, page);
            } else if let Some(content) = self.pages.get_unshared(number).and_then(Page::in_place) {
                content[within..within + piece.len()].copy_from_slice(piece);
            }
        }
        self.size = self.size.max(offset + data.len() as u64);
        self.touched = true;
        Ok(())
    }

    /// Gives the file another length: on an error it keeps the old one.
    pub fn resize(
        &mut self,
        place: Option<&Place>,
        beneath: &dyn Beneath,
        store: &PageStore,
        size: u64,
    ) -> std::io::Result<()> {
        if size < self.size {
            let within = (size % PAGE as u64) as usize;
            let last = size / PAGE as u64;
            if within > 0 && self.pages.get(last).is_some() {
                let old_size = self.size;
                self.write(place, beneath, store, size, &vec![0; PAGE - within])?;
                self.size = old_size;
            }
            for number in self.pages.keys() {
                if number >= size.div_ceil(PAGE as u64) {
                    self.pages.remove(number);
                }
            }
            self.below_bytes = self.below_bytes.min(size);
        }
        self.size = size;
        self.touched = true;
        Ok(())
    }

    /// Where there can be anything but zeros, ascending: the first byte, and the one behind the last. No two ranges meet.
    pub fn data(&self) -> Vec<(u64, u64)> {
        let below = (0, self.below_bytes.min(self.size));
        let pages = self.pages.keys().into_iter().map(|page| {
            let start = page * PAGE as u64;
            (start, (start + PAGE as u64).min(self.size))
        });
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (start, end) in std::iter::once(below).chain(pages).filter(|(start, end)| start < end) {
            match ranges.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => ranges.push((start, end)),
            }
        }
        ranges
    }

    /// Takes the content into a hash: the pages, by number.
    pub fn hash(&self, hasher: &mut blake3::Hasher) -> std::io::Result<()> {
        for number in [self.size, self.below_bytes, u64::from(self.touched)] {
            hasher.update(&number.to_le_bytes());
        }
        for number in self.pages.keys() {
            if let Some(page) = self.pages.get(number) {
                hasher.update(&number.to_le_bytes());
                hasher.update(&page.read()?);
            }
        }
        hasher.update(&u64::MAX.to_le_bytes());
        Ok(())
    }
}

/// Cuts data at the ends of pages: the page's number, where the piece begins in it, and the piece.
fn pieces(offset: u64, data: &[u8]) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let mut rest = data;
    let mut at = offset;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let within = (at % PAGE as u64) as usize;
        let (piece, behind) = rest.split_at(rest.len().min(PAGE - within));
        let number = at / PAGE as u64;
        rest = behind;
        at += piece.len() as u64;
        Some((number, within, piece))
    })
}
