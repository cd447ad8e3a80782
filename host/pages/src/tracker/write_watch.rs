//! Windows: the kernel keeps a bit for each page of a reservation that was made with `MEM_WRITE_WATCH`,
//! which [`crate::Mapping`] does.
//!
//! Pages of announced host writes are kept besides, because it is not documented that writes of the kernel
//! (`ReadFile`) set the bit. Invariant: what was read with reset is returned, or kept after an error.

use super::{DirtyTracker, TrackerKind};
use crate::{Dirty, PAGE_BYTES, Region, TrackerError};
use std::io;
use std::ops::Range;
use windows_sys::Win32::System::Memory::{GetWriteWatch, ResetWriteWatch};
use windows_sys::Win32::System::SystemServices::WRITE_WATCH_FLAG_RESET;

#[derive(Default)]
pub(super) struct WriteWatch {
    watched: Option<Watched>,
}

struct Watched {
    region: Region,
    /// What `take` must report besides what the kernel says.
    kept: Dirty,
}

/// Pages that one system call can return when it also resets.
const SCAN_PAGES: usize = 4096;

/// Neither call documents its result beyond "nonzero", nor that it sets an error code.
fn error(call: &'static str, result: u32) -> TrackerError {
    let source = io::Error::other(format!("it returned {result:#x}"));
    TrackerError::Os { kind: TrackerKind::WriteWatch, call, source }
}

impl Watched {
    /// Adds what was written in `pages` to `dirty`.
    fn read(
        &self,
        pages: Range<usize>,
        flags: u32,
        addresses: &mut [*mut core::ffi::c_void],
        dirty: &mut Dirty,
    ) -> Result<(), TrackerError> {
        let mut count = addresses.len();
        let mut granularity_bytes = 0u32;
        let base = self.region.base() as usize;
        // SAFETY: the pages lie in the accessible part of the region, which a `Mapping` reserved with
        // MEM_WRITE_WATCH, and `addresses` has room for `count` entries.
        let result = unsafe {
            GetWriteWatch(
                flags,
                self.region.base().wrapping_add(pages.start * PAGE_BYTES).cast(),
                pages.len() * PAGE_BYTES,
                addresses.as_mut_ptr(),
                &mut count,
                &mut granularity_bytes,
            )
        };
        if result != 0 {
            return Err(error("GetWriteWatch", result));
        }
        for address in addresses.iter().take(count) {
            let page = ((*address as usize).saturating_sub(base) / PAGE_BYTES) as u32;
            let count = (granularity_bytes as usize).div_ceil(PAGE_BYTES).max(1) as u32;
            dirty.insert(page..page.saturating_add(count).min(self.region.pages()));
        }
        Ok(())
    }

    fn scan(&self, reset: bool, dirty: &mut Dirty) -> Result<(), TrackerError> {
        let pages = self.region.pages() as usize;
        let mut addresses = vec![std::ptr::null_mut(); SCAN_PAGES];
        let mut start = 0;
        while start < pages {
            // In parts that cannot hold more than fits: how far a call with too little room
            // got is not told.
            let end = (start + SCAN_PAGES).min(pages);
            let flags = if reset { WRITE_WATCH_FLAG_RESET } else { 0 };
            self.read(start..end, flags, &mut addresses, dirty)?;
            start = end;
        }
        Ok(())
    }
}

impl WriteWatch {
    fn watched(&mut self) -> Result<&mut Watched, TrackerError> {
        self.watched.as_mut().ok_or(TrackerError::NotAttached { kind: TrackerKind::WriteWatch })
    }
}

impl DirtyTracker for WriteWatch {
    fn kind(&self) -> TrackerKind {
        TrackerKind::WriteWatch
    }

    unsafe fn attach(&mut self, region: Region) -> Result<(), TrackerError> {
        self.detach();
        if region.len_bytes() > 0 {
            // SAFETY: whoever attaches promises that a `Mapping` made the region.
            let result = unsafe { ResetWriteWatch(region.base().cast(), region.len_bytes()) };
            if result != 0 {
                return Err(error("ResetWriteWatch", result));
            }
        }
        self.watched = Some(Watched { region, kept: Dirty::new() });
        Ok(())
    }

    fn detach(&mut self) {
        self.watched = None;
    }

    fn grown(&mut self, new_len_bytes: usize) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        watched.region = watched.region.grown(new_len_bytes)?;
        Ok(())
    }

    fn shrunk(&mut self, new_len_bytes: usize) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        watched.region = watched.region.shrunk(new_len_bytes)?;
        watched.kept.truncate(watched.region.pages());
        Ok(())
    }

    fn take(&mut self) -> Result<Dirty, TrackerError> {
        let watched = self.watched()?;
        let mut dirty = Dirty::new();
        let scanned = watched.scan(true, &mut dirty);
        dirty.union_with(&watched.kept);
        watched.kept = Dirty::new();
        if let Err(error) = scanned {
            watched.kept = dirty;
            return Err(error);
        }
        Ok(dirty)
    }

    fn peek(&mut self) -> Result<Dirty, TrackerError> {
        let watched = self.watched()?;
        let mut dirty = Dirty::new();
        watched.scan(false, &mut dirty)?;
        dirty.union_with(&watched.kept);
        Ok(dirty)
    }

    fn before_host_write(&mut self, bytes: Range<usize>) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        let pages = watched.region.pages_of(&bytes)?;
        watched.kept.insert(pages);
        Ok(())
    }
}
