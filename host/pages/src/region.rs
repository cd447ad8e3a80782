//! Where a tracked memory lies.
//!
//! A region is an address and two lengths, not a borrow: what lives there is written by compiled
//! guest code. Invariant: base and reservation are multiples of the host's page size, the length
//! is a multiple of [`PAGE_BYTES`] and at most the reservation, and page numbers fit in a `u32`.

use crate::mapping::host_page_bytes;
use crate::{PAGE_BYTES, TrackerError};
use std::ops::Range;
use std::ptr::NonNull;

/// A memory: its address, what of it is accessible, and how far it can grow in place.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    base: NonNull<u8>,
    len_bytes: usize,
    reserve_bytes: usize,
}

// SAFETY: a `Region` is numbers; everything that follows its pointer is an unsafe function.
unsafe impl Send for Region {}

impl Region {
    /// A memory at `base` of which `len_bytes` are accessible and `reserve_bytes` are reserved.
    ///
    /// # Errors
    /// [`TrackerError::BadRegion`] if the numbers break the invariant of the module.
    pub fn new(
        base: NonNull<u8>,
        len_bytes: usize,
        reserve_bytes: usize,
    ) -> Result<Self, TrackerError> {
        let align_bytes = host_page_bytes();
        let address = base.as_ptr() as usize;
        let fits = address.is_multiple_of(align_bytes)
            && reserve_bytes.is_multiple_of(align_bytes)
            && len_bytes.is_multiple_of(PAGE_BYTES)
            && len_bytes <= reserve_bytes
            && reserve_bytes / PAGE_BYTES <= u32::MAX as usize
            && address.checked_add(reserve_bytes).is_some();
        if !fits {
            return Err(TrackerError::BadRegion {
                base: address,
                len_bytes,
                reserve_bytes,
                align_bytes,
            });
        }
        Ok(Self { base, len_bytes, reserve_bytes })
    }

    /// Where it starts.
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// What is accessible.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// How far it can grow.
    pub fn reserve_bytes(&self) -> usize {
        self.reserve_bytes
    }

    /// The accessible pages.
    pub fn pages(&self) -> u32 {
        (self.len_bytes / PAGE_BYTES) as u32
    }

    /// What is accessible, rounded up to the pages of the host.
    #[cfg(unix)]
    pub(crate) fn host_len_bytes(&self) -> usize {
        self.len_bytes.next_multiple_of(host_page_bytes())
    }

    /// The region after its memory has grown.
    pub(crate) fn grown(self, new_len_bytes: usize) -> Result<Self, TrackerError> {
        let fits = new_len_bytes >= self.len_bytes
            && new_len_bytes <= self.reserve_bytes
            && new_len_bytes.is_multiple_of(PAGE_BYTES);
        if !fits {
            return Err(TrackerError::BadGrowth {
                len_bytes: self.len_bytes,
                new_len_bytes,
                reserve_bytes: self.reserve_bytes,
            });
        }
        Ok(Self { len_bytes: new_len_bytes, ..self })
    }

    /// The region after its memory has become smaller.
    pub(crate) fn shrunk(self, new_len_bytes: usize) -> Result<Self, TrackerError> {
        if new_len_bytes > self.len_bytes || !new_len_bytes.is_multiple_of(PAGE_BYTES) {
            return Err(TrackerError::BadGrowth {
                len_bytes: self.len_bytes,
                new_len_bytes,
                reserve_bytes: self.reserve_bytes,
            });
        }
        Ok(Self { len_bytes: new_len_bytes, ..self })
    }

    /// The pages that a range of bytes touches.
    pub(crate) fn pages_of(&self, bytes: &Range<usize>) -> Result<Range<u32>, TrackerError> {
        if bytes.start > bytes.end || bytes.end > self.len_bytes {
            return Err(TrackerError::OutOfRange {
                start: bytes.start,
                end: bytes.end,
                len_bytes: self.len_bytes,
            });
        }
        if bytes.is_empty() {
            return Ok(0..0);
        }
        Ok((bytes.start / PAGE_BYTES) as u32..bytes.end.div_ceil(PAGE_BYTES) as u32)
    }

    /// Makes a range of bytes zero. Whole pages are given back to the system where that makes
    /// them zero (Linux); the rest is overwritten.
    ///
    /// A tracker must be told with [`crate::DirtyTracker::before_host_write`] first.
    ///
    /// # Errors
    /// [`TrackerError::OutOfRange`] if the range is not accessible; nothing was changed then.
    ///
    /// # Safety
    /// The accessible part of the region is mapped readable and writable (or protected by an
    /// attached tracker that was told), and nobody else accesses the range meanwhile.
    pub unsafe fn clear(self, bytes: Range<usize>) -> Result<(), TrackerError> {
        self.pages_of(&bytes)?;
        // SAFETY: the range was just checked to be in the region, and the caller vouches for the rest.
        unsafe { crate::mapping::clear(self.base(), bytes) };
        Ok(())
    }
}
