//! Compares the memory with a copy of what it was.
//!
//! The copy is of bytes and not of hashes: a hash that a hostile guest cannot collide costs ten
//! times the comparison, and one that it can would let it hide a write. Zero pages of the copy are
//! never written, so they cost no memory, and only pages that changed are copied.
//!
//! Invariant: the copy equals the memory as of the last `take`, and is zero behind its length.

use super::{DirtyTracker, TrackerKind};
use crate::{Dirty, Mapping, PAGE_BYTES, Region, TrackerError};
use std::io;
use std::ops::Range;

#[derive(Default)]
pub(super) struct Compare {
    watched: Option<Watched>,
}

struct Watched {
    region: Region,
    image: Mapping,
}

/// Compared at once; only where they differ page by page.
const STEP_PAGES: usize = 16;

impl Watched {
    fn differences(&mut self, copy: bool) -> Dirty {
        let mut dirty = Dirty::new();
        if self.region.len_bytes() == 0 {
            return dirty;
        }
        // SAFETY: whoever attached promised that these bytes are readable and that nobody
        // writes them while a method of the tracker runs.
        let memory: &[u8] =
            unsafe { std::slice::from_raw_parts(self.region.base(), self.region.len_bytes()) };
        let image = self.image.bytes_mut();
        let steps =
            memory.chunks(STEP_PAGES * PAGE_BYTES).zip(image.chunks_mut(STEP_PAGES * PAGE_BYTES));
        for (step, (memory, image)) in steps.enumerate() {
            if memory == image {
                continue;
            }
            let pages = memory.chunks(PAGE_BYTES).zip(image.chunks_mut(PAGE_BYTES));
            for (page, (memory, image)) in pages.enumerate() {
                if memory != image {
                    let page = (step * STEP_PAGES + page) as u32;
                    dirty.insert(page..page + 1);
                    if copy {
                        image.copy_from_slice(memory);
                    }
                }
            }
        }
        dirty
    }
}

impl Compare {
    fn watched(&mut self) -> Result<&mut Watched, TrackerError> {
        self.watched.as_mut().ok_or(TrackerError::NotAttached { kind: TrackerKind::Compare })
    }
}

fn image_error(source: io::Error) -> TrackerError {
    TrackerError::Os { kind: TrackerKind::Compare, call: "mmap", source }
}

impl DirtyTracker for Compare {
    fn kind(&self) -> TrackerKind {
        TrackerKind::Compare
    }

    unsafe fn attach(&mut self, region: Region) -> Result<(), TrackerError> {
        self.detach();
        let image = Mapping::reserve(region.len_bytes(), region.reserve_bytes(), 0);
        let mut watched = Watched { region, image: image.map_err(image_error)? };
        watched.differences(true);
        self.watched = Some(watched);
        Ok(())
    }

    fn detach(&mut self) {
        self.watched = None;
    }

    fn grown(&mut self, new_len_bytes: usize) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        let region = watched.region.grown(new_len_bytes)?;
        watched.image.grow_to(new_len_bytes).map_err(image_error)?;
        watched.region = region;
        Ok(())
    }

    fn shrunk(&mut self, new_len_bytes: usize) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        let region = watched.region.shrunk(new_len_bytes)?;
        watched.image.shrink_to(new_len_bytes).map_err(image_error)?;
        watched.region = region;
        Ok(())
    }

    fn take(&mut self) -> Result<Dirty, TrackerError> {
        Ok(self.watched()?.differences(true))
    }

    fn peek(&mut self) -> Result<Dirty, TrackerError> {
        Ok(self.watched()?.differences(false))
    }

    fn settle(&mut self, pages: &Dirty) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        for range in pages.ranges() {
            let bytes = range.start as usize * PAGE_BYTES..range.end as usize * PAGE_BYTES;
            watched.region.pages_of(&bytes)?;
            // SAFETY: the range was just checked to be in the region; see `differences` for the rest.
            let memory = unsafe {
                std::slice::from_raw_parts(watched.region.base().add(bytes.start), bytes.len())
            };
            watched.image.bytes_mut()[bytes].copy_from_slice(memory);
        }
        Ok(())
    }

    fn before_host_write(&mut self, bytes: Range<usize>) -> Result<(), TrackerError> {
        self.watched()?.region.pages_of(&bytes).map(drop)
    }
}
