//! Mappings on Unix: `mmap` without access, `mprotect` to grow.

use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// The page size of this machine, but never below ours.
pub(crate) fn host_page_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        // SAFETY: `sysconf` reads a constant of the system.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).unwrap_or(0).max(crate::PAGE_BYTES)
    })
}

/// Linux counts private writable mappings against memory that may never be touched; the
/// reservation is for growth, most of which never happens.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON;

pub(super) fn reserve(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new anonymous mapping at an address that the system picks touches nothing that exists.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, FLAGS, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap returned address 0"))
}

/// # Safety
/// The range is host-page aligned, belongs to a mapping of `reserve`, and is not yet accessible.
pub(super) unsafe fn make_accessible(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range, and giving access to it cannot break a reference.
    let result = unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives pages back to the system; returns whether they are zero now.
///
/// # Safety
/// The range is host-page aligned private anonymous memory that nobody else accesses meanwhile.
pub(super) unsafe fn give_back(start: *mut u8, bytes: usize) -> bool {
    // Only Linux promises that such pages read as zero afterwards. It refuses for locked memory.
    if cfg!(any(target_os = "linux", target_os = "android")) {
        // SAFETY: the caller vouches for the range and wants its contents gone.
        unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) == 0 }
    } else {
        false
    }
}

/// Takes access away and forgets the contents: they are zero when they are made accessible again.
///
/// # Safety
/// The range is host-page aligned, belongs to a mapping of `reserve`, is accessible, private and anonymous, and nobody uses it.
pub(super) unsafe fn make_inaccessible(start: *mut u8, bytes: usize) -> io::Result<()> {
    // Not by mapping something else there: a tracker's registration stays with what is there.
    // SAFETY: the caller vouches for the range and wants its contents gone.
    unsafe {
        if !give_back(start, bytes) {
            start.write_bytes(0, bytes);
        }
        match libc::mprotect(start.cast(), bytes, libc::PROT_NONE) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// # Safety
/// The range is what `reserve` returned, and nobody uses it any more.
pub(super) unsafe fn release(base: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller gives up the range. An error would leak it, which is harmless.
    unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
}
