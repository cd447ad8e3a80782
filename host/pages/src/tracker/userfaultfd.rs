//! Linux: the kernel clears a write-protection bit at the first write to a page, without a fault
//! that anybody has to serve, and `PAGEMAP_SCAN` collects the pages without the bit and sets it again.
//!
//! The whole reservation is registered, so growth needs no system call; only what is accessible is
//! armed, because arming fills page tables. Pages that came with growth have no page table yet, which
//! the kernel counts as not written; the first write makes one, and then all its 512 pages count as
//! written once. `clear` takes pages out of the page table, which may look like "not written" as well:
//! so pages of announced host writes are kept in a set of their own.
//!
//! Invariant: a page of the accessible range is protected, or will be reported, or has no page table.

use super::{DirtyTracker, TrackerKind};
use crate::{Dirty, PAGE_BYTES, Region, TrackerError};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The parts of the kernel's interface that are used here, from `include/uapi/linux/userfaultfd.h`
/// and, for `PAGEMAP_SCAN`, `include/uapi/linux/fs.h` (Linux 6.7).
mod uapi {
    pub const UFFD_API: u64 = 0xaa;
    pub const UFFD_USER_MODE_ONLY: libc::c_int = 1;
    pub const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
    pub const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
    pub const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
    pub const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1 << 0;

    pub const PAGE_IS_WRITTEN: u64 = 1 << 1;
    pub const PM_SCAN_WP_MATCHING: u64 = 1 << 0;
    pub const PM_SCAN_CHECK_WPASYNC: u64 = 1 << 1;

    /// `_IOWR` of `include/uapi/asm-generic/ioctl.h`, which the CPUs that this module is built for share.
    const fn iowr<T>(kind: u8, number: u8) -> u64 {
        3 << 30 | (size_of::<T>() as u64) << 16 | (kind as u64) << 8 | number as u64
    }

    pub const UFFDIO_API: u64 = iowr::<UffdioApi>(0xaa, 0x3f);
    pub const UFFDIO_REGISTER: u64 = iowr::<UffdioRegister>(0xaa, 0x00);
    pub const UFFDIO_WRITEPROTECT: u64 = iowr::<UffdioWriteprotect>(0xaa, 0x06);
    pub const PAGEMAP_SCAN: u64 = iowr::<PmScanArg>(b'f', 16);

    #[repr(C)]
    pub struct UffdioApi {
        pub api: u64,
        pub features: u64,
        pub ioctls: u64,
    }

    #[repr(C)]
    pub struct UffdioRange {
        pub start: u64,
        pub len: u64,
    }

    #[repr(C)]
    pub struct UffdioRegister {
        pub range: UffdioRange,
        pub mode: u64,
        pub ioctls: u64,
    }

    #[repr(C)]
    pub struct UffdioWriteprotect {
        pub range: UffdioRange,
        pub mode: u64,
    }

    #[derive(Clone, Copy, Default)]
    #[repr(C)]
    pub struct PageRegion {
        pub start: u64,
        pub end: u64,
        pub categories: u64,
    }

    #[derive(Default)]
    #[repr(C)]
    pub struct PmScanArg {
        pub size: u64,
        pub flags: u64,
        pub start: u64,
        pub end: u64,
        pub walk_end: u64,
        pub vec: u64,
        pub vec_len: u64,
        pub max_pages: u64,
        pub category_inverted: u64,
        pub category_mask: u64,
        pub category_anyof_mask: u64,
        pub return_mask: u64,
    }
}

#[derive(Default)]
pub(super) struct Userfaultfd {
    watched: Option<Watched>,
}

struct Watched {
    region: Region,
    /// Closing it takes registration and protection away.
    uffd: OwnedFd,
    pagemap: File,
    /// What `take` must report besides what the kernel says.
    kept: Dirty,
}

/// Ranges that one system call can return.
const SCAN_RANGES: usize = 512;

fn error(call: &'static str, source: io::Error) -> TrackerError {
    TrackerError::Os { kind: TrackerKind::Userfaultfd, call, source }
}

/// # Safety
/// `argument` is the structure that belongs to `request`, and what its addresses name is valid for
/// what the request does there.
unsafe fn ioctl<T>(
    fd: &impl AsRawFd,
    request: u64,
    argument: &mut T,
    call: &'static str,
) -> Result<usize, TrackerError> {
    // SAFETY: the caller pairs structure and request; the structure outlives the call. The type of
    // the request differs between C libraries.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument as *mut T) };
    usize::try_from(result).map_err(|_| error(call, io::Error::last_os_error()))
}

impl Watched {
    fn new(region: Region) -> Result<Self, TrackerError> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | uapi::UFFD_USER_MODE_ONLY;
        // SAFETY: the call takes flags only and returns a new descriptor or an error.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        if fd < 0 {
            return Err(error("userfaultfd", io::Error::last_os_error()));
        }
        // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
        let uffd = unsafe { OwnedFd::from_raw_fd(fd as _) };
        let mut api = uapi::UffdioApi {
            api: uapi::UFFD_API,
            features: uapi::UFFD_FEATURE_WP_ASYNC | uapi::UFFD_FEATURE_WP_UNPOPULATED,
            ioctls: 0,
        };
        // SAFETY: structure and request match, and no address is passed.
        unsafe { ioctl(&uffd, uapi::UFFDIO_API, &mut api, "UFFDIO_API (Linux 6.7)")? };
        let pagemap = File::open("/proc/self/pagemap")
            .map_err(|source| error("opening /proc/self/pagemap", source))?;

        let start = region.base() as u64;
        if region.reserve_bytes() > 0 {
            let mut register = uapi::UffdioRegister {
                range: uapi::UffdioRange { start, len: region.reserve_bytes() as u64 },
                mode: uapi::UFFDIO_REGISTER_MODE_WP,
                ioctls: 0,
            };
            // SAFETY: structure and request match. Registering changes no contents, and a write stays
            // a write: with WP_ASYNC the kernel serves the faults itself.
            unsafe { ioctl(&uffd, uapi::UFFDIO_REGISTER, &mut register, "UFFDIO_REGISTER")? };
        }
        let watched = Self { region, uffd, pagemap, kept: Dirty::new() };
        if region.len_bytes() > 0 {
            watched.protect()?;
        }
        Ok(watched)
    }

    /// The page that starts at an address, or the next one; none behind those that are accessible: pages of the host may be
    /// larger than ours.
    fn page(&self, address: u64) -> u32 {
        let bytes = address.saturating_sub(self.region.base() as u64);
        (bytes.div_ceil(PAGE_BYTES as u64) as u32).min(self.region.pages())
    }

    /// Protects everything that is accessible, without looking at what was written.
    fn protect(&self) -> Result<(), TrackerError> {
        let start = self.region.base() as u64;
        let mut protect = uapi::UffdioWriteprotect {
            range: uapi::UffdioRange { start, len: self.region.host_len_bytes() as u64 },
            mode: uapi::UFFDIO_WRITEPROTECT_MODE_WP,
        };
        // SAFETY: structure and request match, the range is registered, and the protection is one that the kernel
        // lifts by itself.
        let protected = unsafe {
            ioctl(&self.uffd, uapi::UFFDIO_WRITEPROTECT, &mut protect, "UFFDIO_WRITEPROTECT")
        };
        protected.map(drop)
    }

    /// Adds what was written to `dirty`, also before an error.
    fn scan(&self, flags: u64, dirty: &mut Dirty) -> Result<(), TrackerError> {
        let mut ranges = [uapi::PageRegion::default(); SCAN_RANGES];
        let mut start = self.region.base() as u64;
        let end = start + self.region.host_len_bytes() as u64;
        while start < end {
            // Asking for nothing but "written" takes a short cut in the kernel.
            let mut scan = uapi::PmScanArg {
                size: size_of::<uapi::PmScanArg>() as u64,
                flags: flags | uapi::PM_SCAN_CHECK_WPASYNC,
                start,
                end,
                vec: ranges.as_mut_ptr() as u64,
                vec_len: SCAN_RANGES as u64,
                category_mask: uapi::PAGE_IS_WRITTEN,
                return_mask: uapi::PAGE_IS_WRITTEN,
                ..Default::default()
            };
            // SAFETY: structure and request match, and `ranges` has room for `vec_len` entries.
            let found =
                unsafe { ioctl(&self.pagemap, uapi::PAGEMAP_SCAN, &mut scan, "PAGEMAP_SCAN")? };
            for range in ranges.iter().take(found) {
                dirty.insert(self.page(range.start)..self.page(range.end));
            }
            if scan.walk_end <= start {
                let source = io::Error::other(format!("no progress at {start:#x}"));
                return Err(error("PAGEMAP_SCAN", source));
            }
            start = scan.walk_end;
        }
        Ok(())
    }
}

impl Userfaultfd {
    fn watched(&mut self) -> Result<&mut Watched, TrackerError> {
        self.watched.as_mut().ok_or(TrackerError::NotAttached { kind: TrackerKind::Userfaultfd })
    }
}

impl DirtyTracker for Userfaultfd {
    fn kind(&self) -> TrackerKind {
        TrackerKind::Userfaultfd
    }

    unsafe fn attach(&mut self, region: Region) -> Result<(), TrackerError> {
        self.detach();
        self.watched = Some(Watched::new(region)?);
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
        let scanned = watched.scan(uapi::PM_SCAN_WP_MATCHING, &mut dirty);
        dirty.union_with(&watched.kept);
        watched.kept = Dirty::new();
        if let Err(error) = scanned {
            // Part of it may be armed again by now, so only this set knows of it.
            watched.kept = dirty;
            return Err(error);
        }
        Ok(dirty)
    }

    fn peek(&mut self) -> Result<Dirty, TrackerError> {
        let watched = self.watched()?;
        let mut dirty = Dirty::new();
        watched.scan(0, &mut dirty)?;
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
