//! Which page of a memory holds which stored page.
//!
//! Pages stand in blocks that copies share until one changes: a copy for each checkpoint costs
//! what changed between them, and a block of zeros costs a null pointer.
//! Does not hold bytes. Invariant: pages behind the end of the memory are zero pages.

use crate::{Dirty, PAGE_BYTES, Page, PageError, PageId, PageStore};
use std::sync::Arc;

const BLOCK_PAGES: usize = 1024;
type Block = [PageId; BLOCK_PAGES];

/// Pages are looked up in parts of this many, which bounds what is allocated besides the map.
const UPDATE_PAGES_MAX: u32 = 65_536;

/// Consecutive pages of a memory that hold consecutive stored pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first page of the memory.
    pub page: u32,
    /// What it holds; the next page holds the next number.
    pub id: PageId,
    /// How many pages.
    pub count: u32,
}

/// The contents of a memory as numbers of stored pages. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PageMap {
    pages: u32,
    blocks: Vec<Option<Arc<Block>>>,
}

fn pages_of(bytes: usize) -> Result<u32, PageError> {
    let pages = u32::try_from(bytes / PAGE_BYTES).ok().filter(|_| bytes.is_multiple_of(PAGE_BYTES));
    pages.ok_or(PageError::BadMemorySize { bytes })
}

impl PageMap {
    /// A memory of no pages.
    pub fn new() -> Self {
        Self::default()
    }

    /// A whole memory. Its pages are inserted into the store.
    ///
    /// # Errors
    /// As [`PageMap::update`].
    pub fn from_memory(memory: &[u8], store: &mut PageStore) -> Result<Self, PageError> {
        let mut map = Self::new();
        map.update(&Dirty::from(0..pages_of(memory.len())?), memory, store)?;
        Ok(map)
    }

    /// A memory of `bytes` from the runs that [`PageMap::runs`] gave, of which at most `stored` are stored.
    /// Checks everything; takes at most `bytes / 1024` bytes of memory, so bound that first.
    ///
    /// # Errors
    /// Any of [`PageError`] but `DirtyOutside` and `StoreFull`.
    pub fn from_runs(
        bytes: usize,
        runs: impl IntoIterator<Item = Run>,
        stored: PageId,
    ) -> Result<Self, PageError> {
        let mut map = Self::new();
        map.resize(bytes)?;
        let mut end = 0;
        for Run { page, id, count } in runs {
            if count == 0 || id == PageId::ZERO {
                return Err(PageError::EmptyRun { page, id: id.0, count });
            }
            if page < end {
                return Err(PageError::RunOverlaps { page, end });
            }
            end = page
                .checked_add(count)
                .filter(|&end| end <= map.pages)
                .ok_or(PageError::RunOutside { page, count, pages: map.pages })?;
            if id.0.checked_add(count - 1).is_none_or(|last| last > stored.0) {
                return Err(PageError::NotStored { page, id: id.0, count, stored: stored.0 });
            }
            for offset in 0..count {
                map.set(page + offset, PageId(id.0 + offset));
            }
        }
        Ok(map)
    }

    /// Looks at the dirty pages of a memory and inserts them into the store. The map takes on the size of
    /// the memory; pages that are new with it and not dirty are zero.
    ///
    /// # Errors
    /// [`PageError::BadMemorySize`], [`PageError::DirtyOutside`]: nothing was changed.
    /// [`PageError::StoreFull`]: some pages are updated.
    pub fn update(
        &mut self,
        dirty: &Dirty,
        memory: &[u8],
        store: &mut PageStore,
    ) -> Result<(), PageError> {
        let pages = pages_of(memory.len())?;
        if let Some(last) = dirty.ranges().last().filter(|last| last.end > pages) {
            return Err(PageError::DirtyOutside { page: last.end - 1, pages });
        }
        self.resize(memory.len())?;
        let (memory, _) = memory.as_chunks::<PAGE_BYTES>();
        for part in dirty.parts(UPDATE_PAGES_MAX) {
            let pages: Vec<&Page> = part.iter().map(|page| &memory[page as usize]).collect();
            for (page, id) in part.iter().zip(store.insert_all(&pages)?) {
                self.set(page, id);
            }
        }
        Ok(())
    }

    /// Changes the size of the memory. New pages are zero.
    ///
    /// # Errors
    /// [`PageError::BadMemorySize`] if that is not a number of pages.
    pub fn resize(&mut self, bytes: usize) -> Result<(), PageError> {
        let pages = pages_of(bytes)?;
        self.blocks.resize((pages as usize).div_ceil(BLOCK_PAGES), None);
        if pages < self.pages {
            // Blocks behind it are gone; the last one may be cut in the middle.
            let block_end = pages as usize / BLOCK_PAGES * BLOCK_PAGES + BLOCK_PAGES;
            for page in pages as usize..block_end.min(self.pages as usize) {
                self.set(page as u32, PageId::ZERO);
            }
        }
        self.pages = pages;
        Ok(())
    }

    /// Size of the memory.
    pub fn bytes(&self) -> usize {
        self.pages as usize * PAGE_BYTES
    }

    /// What a page holds; zero pages behind the end.
    pub fn get(&self, page: u32) -> PageId {
        let (block, index) = (page as usize / BLOCK_PAGES, page as usize % BLOCK_PAGES);
        self.blocks.get(block).and_then(Option::as_ref).map_or(PageId::ZERO, |block| block[index])
    }

    fn set(&mut self, page: u32, id: PageId) {
        let (block, index) = (page as usize / BLOCK_PAGES, page as usize % BLOCK_PAGES);
        let Some(block) = self.blocks.get_mut(block) else { return };
        // An unchanged page must not make a copy of a shared block.
        if block.as_ref().map_or(PageId::ZERO, |block| block[index]) != id {
            let block = block.get_or_insert_with(|| Arc::new([PageId::ZERO; BLOCK_PAGES]));
            Arc::make_mut(block)[index] = id;
        }
    }

    /// Pages that are not zero, in ascending order.
    pub fn stored_pages(&self) -> impl Iterator<Item = (u32, PageId)> + '_ {
        let blocks = self.blocks.iter().enumerate();
        let blocks = blocks.filter_map(|(index, block)| Some((index, block.as_ref()?)));
        blocks.flat_map(|(block, ids)| {
            let ids = ids.iter().enumerate().filter(|(_, id)| **id != PageId::ZERO);
            ids.map(move |(index, &id)| ((block * BLOCK_PAGES + index) as u32, id))
        })
    }

    /// The contents as maximal runs in ascending order. Zero pages are in no run.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let mut pages = self.stored_pages().peekable();
        std::iter::from_fn(move || {
            let (page, id) = pages.next()?;
            let mut run = Run { page, id, count: 1 };
            let next = |run: &Run| {
                Some((run.page.checked_add(run.count)?, run.id.0.checked_add(run.count)?))
            };
            while next(&run)
                .is_some_and(|(page, id)| pages.next_if_eq(&(page, PageId(id))).is_some())
            {
                run.count += 1;
            }
            Some(run)
        })
    }

    /// Pages that differ between two maps, zero pages behind the end of the smaller one included in the
    /// comparison: what a restore of one over the other has to write.
    pub fn differences(&self, other: &PageMap) -> Dirty {
        const ZEROS: Block = [PageId::ZERO; BLOCK_PAGES];
        let mut dirty = Dirty::new();
        for index in 0..self.blocks.len().max(other.blocks.len()) {
            let block = |map: &'_ PageMap| map.blocks.get(index).cloned().flatten();
            let (left, right) = (block(self), block(other));
            let same = match (&left, &right) {
                (Some(left), Some(right)) => Arc::ptr_eq(left, right),
                (None, None) => true,
                _ => false,
            };
            if same {
                continue;
            }
            let left = left.as_deref().unwrap_or(&ZEROS);
            let right = right.as_deref().unwrap_or(&ZEROS);
            for offset in (0..BLOCK_PAGES).filter(|&offset| left[offset] != right[offset]) {
                let page = (index * BLOCK_PAGES + offset) as u32;
                dirty.insert(page..page + 1);
            }
        }
        dirty
    }
}

impl PartialEq for PageMap {
    fn eq(&self, other: &Self) -> bool {
        self.pages == other.pages && self.differences(other).is_empty()
    }
}

impl Eq for PageMap {}
