//! The address range that a linear memory lives in.
//!
//! ```text
//! base          len            capacity
//! | accessible | reserved, no access | guard, never accessible |
//! ```
//!
//! Growing never moves it: compiled guest code, trackers and snapshots keep the address. Does not
//! know who accesses it; trackers are told about growth by the caller.
//! Invariant: bytes that became accessible are zero until somebody writes them.

use crate::{Region, TrackerError};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as os;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as os;

pub(crate) use os::host_page_bytes;

/// Reserved memory, accessible up to its length. Unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len_bytes: usize,
    /// What the system was asked to make accessible: the length, rounded up to host pages.
    accessible_bytes: usize,
    reserve_bytes: usize,
    /// Reservation and guard.
    total_bytes: usize,
}

// SAFETY: the mapping owns its address range, and no part of it belongs to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference only numbers are read, and bytes as a shared slice.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `reserve_bytes` and, behind them, `guard_bytes` that are never accessible; the first
    /// `accessible_bytes` can be used at once. The last two sizes are rounded up to host pages.
    /// What is made accessible is rounded up to host pages as well, which changes nothing
    /// for sizes that are multiples of 64 KiB.
    ///
    /// # Errors
    /// `InvalidInput` if more should be accessible than is reserved or the sum overflows, else
    /// what the system says.
    pub fn reserve(
        accessible_bytes: usize,
        reserve_bytes: usize,
        guard_bytes: usize,
    ) -> io::Result<Self> {
        let host_page = host_page_bytes();
        let invalid = |what: &str| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "cannot reserve {reserve_bytes} bytes with a guard of {guard_bytes} and {accessible_bytes} accessible: {what}"
                ),
            )
        };
        let too_large = || invalid("that is more than an address space");
        let reserve = reserve_bytes.checked_next_multiple_of(host_page).ok_or_else(too_large)?;
        let guard = guard_bytes.checked_next_multiple_of(host_page).ok_or_else(too_large)?;
        let total = reserve.checked_add(guard).ok_or_else(too_large)?.max(host_page);
        if accessible_bytes > reserve {
            return Err(invalid("more is accessible than is reserved"));
        }
        if total > isize::MAX as usize {
            return Err(too_large());
        }
        let base = os::reserve(total)?;
        let mut mapping = Self {
            base,
            len_bytes: 0,
            accessible_bytes: 0,
            reserve_bytes: reserve,
            total_bytes: total,
        };
        mapping.grow_to(accessible_bytes)?;
        Ok(mapping)
    }

    /// Makes the first `bytes` accessible. New bytes are zero. Trackers have to be told.
    ///
    /// # Errors
    /// `InvalidInput` if that is less than now or more than is reserved, else what the system
    /// says. The mapping is unchanged then.
    pub fn grow_to(&mut self, bytes: usize) -> io::Result<()> {
        if bytes < self.len_bytes || bytes > self.reserve_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a mapping of {} bytes cannot become {bytes} bytes, {} are reserved",
                    self.len_bytes, self.reserve_bytes
                ),
            ));
        }
        let accessible = bytes.next_multiple_of(host_page_bytes());
        if accessible > self.accessible_bytes {
            // SAFETY: both ends are host-page aligned and inside of the reservation that this
            // mapping owns, and nothing was accessible there until now.
            unsafe {
                os::make_accessible(
                    self.base.as_ptr().add(self.accessible_bytes),
                    accessible - self.accessible_bytes,
                )?;
            }
            self.accessible_bytes = accessible;
        }
        self.len_bytes = bytes;
        Ok(())
    }

    /// Makes everything behind the first `bytes` inaccessible again, and forgets what is there. Trackers have to be told before.
    ///
    /// # Errors
    /// `InvalidInput` if that is more than now, else what the system says. The mapping is unchanged then, but what is behind `bytes` may be zero.
    pub fn shrink_to(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > self.len_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a mapping of {} bytes cannot shrink to {bytes} bytes", self.len_bytes),
            ));
        }
        let accessible = bytes.next_multiple_of(host_page_bytes());
        self.clear(bytes..accessible.min(self.len_bytes))?;
        if accessible < self.accessible_bytes {
            // SAFETY: both ends are host-page aligned and inside of the reservation that this mapping owns; the borrow is
            // exclusive, so nobody has a reference to these bytes.
            unsafe {
                os::make_inaccessible(
                    self.base.as_ptr().add(accessible),
                    self.accessible_bytes - accessible,
                )?;
            }
            self.accessible_bytes = accessible;
        }
        self.len_bytes = bytes;
        Ok(())
    }

    /// Where it starts. Never changes.
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// What is accessible, as asked for.
    #[allow(clippy::len_without_is_empty)] // Emptiness of a memory is nothing anybody asks for.
    pub fn len(&self) -> usize {
        self.len_bytes
    }

    /// How far it can grow.
    pub fn capacity(&self) -> usize {
        self.reserve_bytes
    }

    /// What a tracker needs to know.
    ///
    /// # Errors
    /// [`TrackerError::BadRegion`] if the length is not a multiple of a page.
    pub fn region(&self) -> Result<Region, TrackerError> {
        Region::new(self.base, self.len_bytes, self.reserve_bytes)
    }

    /// The accessible bytes. Whoever lets a guest write through [`Mapping::base`] must not do so
    /// while this borrow lives.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len_bytes` are accessible, initialised (zero or written), and belong to
        // this mapping; who writes through the raw pointer answers for it.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len_bytes) }
    }

    /// The accessible bytes, to be written by the host. A tracker that is attached must be told with
    /// [`crate::DirtyTracker::before_host_write`].
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len_bytes) }
    }

    /// Makes a range of bytes zero, cheaply for whole pages: see [`Region::clear`].
    ///
    /// # Errors
    /// `InvalidInput` if the range is not accessible; nothing was changed then.
    pub fn clear(&mut self, bytes: Range<usize>) -> io::Result<()> {
        if bytes.start > bytes.end || bytes.end > self.len_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("bytes {bytes:?} are not in a mapping of {} bytes", self.len_bytes),
            ));
        }
        // SAFETY: the range is accessible, this mapping is borrowed exclusively, and who writes
        // through the raw pointer answers for it.
        unsafe { clear(self.base.as_ptr(), bytes) };
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was reserved by this mapping and is given back once.
        unsafe { os::release(self.base, self.total_bytes) };
    }
}

/// Below this, overwriting is cheaper than a system call and the page fault of the next access.
const GIVE_BACK_BYTES_MIN: usize = 64 << 10;

/// Makes bytes zero.
///
/// # Safety
/// `base` is host-page aligned, the range after it is writable anonymous private memory, nobody
/// else accesses it meanwhile.
pub(crate) unsafe fn clear(base: *mut u8, bytes: Range<usize>) {
    let host_page = host_page_bytes();
    let whole = bytes.start.next_multiple_of(host_page)..bytes.end / host_page * host_page;
    // SAFETY: all parts lie in the range that the caller vouches for; `whole` is host-page aligned.
    unsafe {
        let fill = |part: Range<usize>| base.add(part.start).write_bytes(0, part.len());
        if whole.len() >= GIVE_BACK_BYTES_MIN && os::give_back(base.add(whole.start), whole.len()) {
            fill(bytes.start..whole.start);
            fill(whole.end..bytes.end);
        } else {
            fill(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_grows_in_place_and_new_bytes_are_zero() {
        let mut mapping = Mapping::reserve(64 << 10, 1 << 20, 64 << 10).unwrap();
        let base = mapping.base();
        assert_eq!((mapping.len(), mapping.capacity()), (64 << 10, 1 << 20));
        mapping.bytes_mut().fill(7);
        mapping.grow_to(192 << 10).unwrap();
        assert_eq!(mapping.base(), base);
        assert!(mapping.bytes()[..64 << 10].iter().all(|&byte| byte == 7));
        assert!(mapping.bytes()[64 << 10..].iter().all(|&byte| byte == 0));
        mapping.grow_to(1 << 20).unwrap();
        mapping.bytes_mut()[(1 << 20) - 1] = 1;
    }

    #[test]
    fn a_mapping_shrinks_and_forgets_what_it_held() {
        let mut mapping = Mapping::reserve(256 << 10, 1 << 20, 64 << 10).unwrap();
        for len in [192 << 10, 64 << 10, 0] {
            mapping.bytes_mut().fill(7);
            mapping.shrink_to(len).unwrap();
            assert!(mapping.bytes().iter().all(|&byte| byte == 7));
            mapping.grow_to(256 << 10).unwrap();
            assert!(mapping.bytes()[len..].iter().all(|&byte| byte == 0));
        }
        mapping.bytes_mut().fill(7);
        mapping.shrink_to(100).unwrap();
        mapping.grow_to(64 << 10).unwrap();
        assert_eq!(mapping.bytes()[99..102], [7, 0, 0]);
        assert!(mapping.shrink_to((64 << 10) + 1).is_err());
    }

    #[test]
    fn a_mapping_refuses_what_leaves_its_reservation() {
        let mut mapping = Mapping::reserve(64 << 10, 128 << 10, 0).unwrap();
        for bytes in [0, (128 << 10) + 1, usize::MAX] {
            assert_eq!(mapping.grow_to(bytes).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert!(mapping.clear(0..(64 << 10) + 1).is_err());
        assert!(Mapping::reserve(2, 1, 0).is_ok(), "rounded up to a host page");
        assert!(Mapping::reserve(1 << 20, 1, 0).is_err());
        assert!(Mapping::reserve(0, usize::MAX, 0).is_err());
        assert!(Mapping::reserve(0, 1, usize::MAX - 1).is_err());
        assert_eq!(Mapping::reserve(0, 0, 0).unwrap().bytes(), b"");
    }

    #[test]
    fn clearing_a_range_leaves_its_neighbours_alone() {
        let mut mapping = Mapping::reserve(1 << 20, 1 << 20, 0).unwrap();
        for range in [0..0, 0..1, 1..5000, 4096..8192, 100..500_000, 65_536..1 << 20, 0..1 << 20] {
            mapping.bytes_mut().fill(1);
            mapping.clear(range.clone()).unwrap();
            for (at, &byte) in mapping.bytes().iter().enumerate() {
                assert_eq!(
                    byte,
                    u8::from(!range.contains(&at)),
                    "byte {at} after clearing {range:?}"
                );
            }
        }
    }
}
