//! What a memory held at a moment, kept in memory: versions that share the pages that they have in common.
//!
//! ```text
//! base     the whole memory once, in a file without a name where the system has that
//! changes  blocks of pages that differ from the base, shared between versions
//! ```
//!
//! A [`PageMap`](crate::PageMap) says the same of pages that are in a trace, by their numbers; an image has their bytes, is
//! never hashed, and lets go of what no version needs any more. Many memories can show one image: where the system can
//! map a file privately, they share its pages until they write to them.
//!
//! Invariant: an image never changes; a page of `changes` counts, and one that is not there is the base's.

use crate::store::ZERO_PAGE;
use crate::{Dirty, PAGE_BYTES, Page, PageError, Region};
use std::io;
use std::sync::Arc;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod copied;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod shared;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use copied::Bytes;
#[cfg(any(target_os = "linux", target_os = "android"))]
use shared::Bytes;

const BLOCK_PAGES: usize = 256;
type Block = [Option<Arc<Page>>; BLOCK_PAGES];

/// The contents of a memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Image {
    len_bytes: usize,
    base: Arc<Base>,
    changes: Vec<Option<Arc<Block>>>,
}

/// A whole memory.
#[derive(Debug)]
struct Base {
    bytes: Bytes,
    /// A bit for each page that is not zero. Where the others stand nothing is ever read, so they take no memory.
    present: Vec<u64>,
}

impl Base {
    fn of<'a>(len_bytes: usize, page: impl Fn(usize) -> &'a Page) -> io::Result<Base> {
        let mut present = vec![0_u64; (len_bytes / PAGE_BYTES).div_ceil(64)];
        let bytes = Bytes::filled(len_bytes, |destination| {
            let (destination, _) = destination.as_chunks_mut::<PAGE_BYTES>();
            for (number, destination) in destination.iter_mut().enumerate() {
                let page = page(number);
                if *page != ZERO_PAGE {
                    *destination = *page;
                    present[number / 64] |= 1 << (number % 64);
                }
            }
        })?;
        Ok(Base { bytes, present })
    }

    fn page(&self, number: usize) -> &Page {
        let word = self.present.get(number / 64).copied().unwrap_or(0);
        if word >> (number % 64) & 1 == 0 {
            return &ZERO_PAGE;
        }
        &self.bytes.as_slice().as_chunks::<PAGE_BYTES>().0[number]
    }
}

fn check_size(bytes: usize) -> Result<(), PageError> {
    match bytes.is_multiple_of(PAGE_BYTES) && u32::try_from(bytes / PAGE_BYTES).is_ok() {
        true => Ok(()),
        false => Err(PageError::BadMemorySize { bytes }),
    }
}

fn refused(error: io::Error) -> PageError {
    PageError::Image { what: error.to_string() }
}

impl Image {
    /// A copy of a whole memory. Zero pages take no room.
    ///
    /// # Errors
    /// [`PageError::BadMemorySize`]; [`PageError::Image`] if the system has no room for it.
    pub fn of(memory: &[u8]) -> Result<Image, PageError> {
        check_size(memory.len())?;
        let (pages, _) = memory.as_chunks::<PAGE_BYTES>();
        let base = Base::of(memory.len(), |number| &pages[number]).map_err(refused)?;
        Ok(Image { len_bytes: memory.len(), base: Arc::new(base), changes: Vec::new() })
    }

    /// The next version: `memory` differs from this one in `dirty` pages at most, and may have grown by pages that are zero or
    /// dirty.
    ///
    /// # Errors
    /// [`PageError::BadMemorySize`], also if it has become smaller; [`PageError::DirtyOutside`].
    pub fn updated(&self, dirty: &Dirty, memory: &[u8]) -> Result<Image, PageError> {
        check_size(memory.len())?;
        if memory.len() < self.len_bytes {
            return Err(PageError::BadMemorySize { bytes: memory.len() });
        }
        let (pages, _) = memory.as_chunks::<PAGE_BYTES>();
        if let Some(last) = dirty.ranges().last().filter(|last| last.end as usize > pages.len()) {
            let pages = pages.len() as u32;
            return Err(PageError::DirtyOutside { page: last.end - 1, pages });
        }
        let mut next = self.clone();
        next.len_bytes = memory.len();
        for page in dirty.iter() {
            let contents = &pages[page as usize];
            // Trackers may report pages that were not written: those stay shared.
            if self.page(page) != contents {
                next.set(page, contents);
            }
        }
        Ok(next)
    }

    fn set(&mut self, page: u32, contents: &Page) {
        let (block, index) = (page as usize / BLOCK_PAGES, page as usize % BLOCK_PAGES);
        if self.changes.len() <= block {
            self.changes.resize(block + 1, None);
        }
        let block =
            self.changes[block].get_or_insert_with(|| Arc::new([const { None }; BLOCK_PAGES]));
        Arc::make_mut(block)[index] = Some(Arc::new(*contents));
    }

    /// Size of the memory.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// What a page holds; zeros behind the end.
    #[must_use]
    pub fn page(&self, number: u32) -> &Page {
        match self.change(number) {
            Some(page) => page,
            None => self.base.page(number as usize),
        }
    }

    fn change(&self, number: u32) -> Option<&Arc<Page>> {
        let (block, index) = (number as usize / BLOCK_PAGES, number as usize % BLOCK_PAGES);
        self.changes.get(block)?.as_ref()?[index].as_ref()
    }

    /// How many pages differ from the image's base: what a memory that shows the image has to copy.
    #[must_use]
    pub fn changed_pages(&self) -> usize {
        let blocks = self.changes.iter().flatten();
        blocks.map(|block| block.iter().flatten().count()).sum()
    }

    /// The same contents with a base of their own, which many memories can share.
    ///
    /// # Errors
    /// [`PageError::Image`].
    pub fn rebased(&self) -> Result<Image, PageError> {
        let base = Base::of(self.len_bytes, |number| self.page(number as u32));
        let base = Arc::new(base.map_err(refused)?);
        Ok(Image { len_bytes: self.len_bytes, base, changes: Vec::new() })
    }

    /// The pages in which two images may differ: all that do, and a few that do not.
    #[must_use]
    pub fn differences(&self, other: &Image) -> Dirty {
        let mut dirty = Dirty::new();
        let mut add = |page: u32| dirty.insert(page..page + 1);
        if !Arc::ptr_eq(&self.base, &other.base) {
            let pages = (self.len_bytes.max(other.len_bytes) / PAGE_BYTES) as u32;
            (0..pages).filter(|&page| self.page(page) != other.page(page)).for_each(add);
            return dirty;
        }
        for index in 0..self.changes.len().max(other.changes.len()) {
            let block = |image: &'_ Image| image.changes.get(index).cloned().flatten();
            let (left, right) = (block(self), block(other));
            let same = |left: &Option<Arc<Page>>, right: &Option<Arc<Page>>| match (left, right) {
                (Some(left), Some(right)) => Arc::ptr_eq(left, right),
                (None, None) => true,
                _ => false,
            };
            match (&left, &right) {
                (None, None) => continue,
                (Some(left), Some(right)) if Arc::ptr_eq(left, right) => continue,
                _ => {}
            }
            for offset in 0..BLOCK_PAGES {
                let page = |block: &Option<Arc<Block>>| block.as_ref()?[offset].clone();
                if !same(&page(&left), &page(&right)) {
                    add((index * BLOCK_PAGES + offset) as u32);
                }
            }
        }
        dirty
    }

    /// Copies pages into a memory, which may be larger than the image: there they are zero.
    ///
    /// # Errors
    /// [`PageError::DirtyOutside`] if the memory does not have such a page; nothing was changed then.
    pub fn copy_to(&self, pages: &Dirty, memory: &mut [u8]) -> Result<(), PageError> {
        let (destination, _) = memory.as_chunks_mut::<PAGE_BYTES>();
        if let Some(last) = pages.ranges().last().filter(|l| l.end as usize > destination.len()) {
            let pages = destination.len() as u32;
            return Err(PageError::DirtyOutside { page: last.end - 1, pages });
        }
        for page in pages.iter() {
            destination[page as usize] = *self.page(page);
        }
        Ok(())
    }

    /// Lets a memory hold what the image holds, whatever it held before. Where the system can, they share the base's
    /// pages until somebody writes to them.
    ///
    /// # Errors
    /// [`PageError::BadMemorySize`] if the region is not of the image's size, [`PageError::Image`] if the system refuses.
    /// The memory may hold anything then.
    ///
    /// # Safety
    /// The region's accessible part is that of a [`Mapping`](crate::Mapping), nobody else accesses it meanwhile, and no tracker is
    /// attached to it.
    pub unsafe fn show(&self, region: Region) -> Result<(), PageError> {
        if region.len_bytes() != self.len_bytes {
            return Err(PageError::BadMemorySize { bytes: region.len_bytes() });
        }
        let shown_bytes = self.base.bytes.as_slice().len().min(self.len_bytes);
        // SAFETY: the caller owns the region, of which these are the first bytes; they belong to a mapping that releases
        // its range of addresses as a whole, whatever was mapped there.
        let shared = unsafe { self.base.bytes.show(region.base(), shown_bytes) };
        let shared = shared.map_err(refused)?;
        // SAFETY: the region is accessible, the caller lets nobody else access it, and its bytes are initialised.
        let memory = unsafe { std::slice::from_raw_parts_mut(region.base(), region.len_bytes()) };
        let (pages, _) = memory.as_chunks_mut::<PAGE_BYTES>();
        for (number, page) in (0..).zip(pages) {
            let is_shown = shared && (number as usize) < shown_bytes / PAGE_BYTES;
            if is_shown && self.change(number).is_none() {
                continue;
            }
            let wanted = self.page(number);
            // A page that is what it should be is not touched.
            if page != wanted {
                *page = *wanted;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mapping;
    use proptest::prelude::*;

    fn shown(image: &Image, held_before: u8) -> Mapping {
        let bytes = image.len_bytes();
        let mut memory = Mapping::reserve(bytes, bytes + (1 << 20), 0).unwrap();
        memory.bytes_mut().fill(held_before);
        // SAFETY: the mapping was just made, and only this function knows it.
        unsafe { image.show(memory.region().unwrap()).unwrap() };
        memory
    }

    #[test]
    fn memories_that_show_an_image_do_not_see_each_other_s_writes() {
        let mut memory = vec![0; 64 << 12];
        memory[5 << 12..7 << 12].fill(3);
        let first = Image::of(&memory).unwrap();
        memory[6 << 12] = 9;
        memory.resize(80 << 12, 0);
        memory[70 << 12] = 1;
        let mut dirty = Dirty::from(6..7);
        dirty.insert(70..71);
        let second = first.updated(&dirty, &memory).unwrap();
        assert_eq!(second.changed_pages(), 2);

        let (mut one, two) = (shown(&second, 0), shown(&second, 0xee));
        assert_eq!((one.bytes(), two.bytes()), (&memory[..], &memory[..]));
        one.bytes_mut().fill(0x11);
        assert_eq!(two.bytes(), memory);
        assert_eq!(shown(&second, 1).bytes(), memory);
        assert_eq!(shown(&first, 1).bytes()[6 << 12], 3);
        // It grows as before.
        one.grow_to(90 << 12).unwrap();
        assert!(one.bytes()[80 << 12..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let image = Image::of(&[1; 8192]).unwrap();
        let refused = |result: Result<Image, PageError>| result.unwrap_err().to_string();
        assert!(refused(Image::of(&[0; 5])).contains('5'));
        assert!(refused(image.updated(&Dirty::new(), &[0; 4096])).contains("4096"));
        assert!(refused(image.updated(&Dirty::from(0..3), &[0; 8192])).contains('2'));
        assert!(image.copy_to(&Dirty::from(1..2), &mut [0; 4096]).is_err());
        let memory = Mapping::reserve(1 << 16, 1 << 16, 0).unwrap();
        // SAFETY: as in `shown`.
        assert!(unsafe { image.show(memory.region().unwrap()) }.is_err());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write { page: u32, byte: u8 },
        Grow,
        Take { rebase: bool },
        Back { to: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..600_u32, any::<u8>()).prop_map(|(page, byte)| Step::Write { page, byte }),
            1 => Just(Step::Grow),
            3 => any::<bool>().prop_map(|rebase| Step::Take { rebase }),
            3 => any::<usize>().prop_map(|to| Step::Back { to }),
        ]
    }

    proptest! {
        /// A memory that goes back and forth between versions, against whole copies.
        #[test]
        fn every_version_holds_what_the_memory_held(steps in prop::collection::vec(step(), 1..60)) {
            let mut memory = vec![0; 300 << 12];
            let mut current = Image::of(&memory).unwrap();
            let mut dirty = Dirty::new();
            let mut versions = vec![(current.clone(), memory.clone())];
            for step in steps {
                match step {
                    Step::Write { page, byte } if (page as usize) < memory.len() >> 12 => {
                        memory[(page as usize) << 12 | 17] = byte;
                        dirty.insert(page..page + 1);
                    }
                    Step::Write { .. } => {}
                    Step::Grow => memory.resize(memory.len() + (16 << 12), 0),
                    Step::Take { rebase } => {
                        current = current.updated(&dirty, &memory).unwrap();
                        dirty = Dirty::new();
                        if rebase {
                            current = current.rebased().unwrap();
                        }
                        versions.push((current.clone(), memory.clone()));
                    }
                    Step::Back { to } => {
                        let (image, contents) = &versions[to % versions.len()];
                        let mut pages = current.differences(image);
                        pages.union_with(&dirty);
                        image.copy_to(&pages, &mut memory).unwrap();
                        prop_assert!(memory[..contents.len()] == contents[..]);
                        prop_assert!(memory[contents.len()..].iter().all(|byte| *byte == 0));
                        // Memories do not become smaller.
                        current = image.updated(&Dirty::new(), &memory).unwrap();
                        dirty = Dirty::new();
                    }
                }
            }
            for (image, contents) in versions {
                prop_assert!(shown(&image, 0x55).bytes() == contents);
            }
        }
    }
}
