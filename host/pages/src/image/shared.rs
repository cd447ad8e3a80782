//! Bytes in a file of memory (`memfd_create`), which other mappings can show privately.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// Bytes that do not change any more.
#[derive(Debug)]
pub(super) struct Bytes {
    file: OwnedFd,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is read-only once it is made, and belongs to no thread.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl Bytes {
    /// So many bytes, which are zero where `fill` writes nothing.
    pub fn filled(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Bytes> {
        // SAFETY: the name is a string of C; a new descriptor or an error comes back.
        let fd = checked(unsafe { libc::memfd_create(c"wrr image".as_ptr(), libc::MFD_CLOEXEC) })?;
        // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        if len == 0 {
            fill(&mut []);
            return Ok(Bytes { file, base: NonNull::dangling(), len });
        }
        let end = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: only numbers are passed.
        checked(unsafe { libc::ftruncate(file.as_raw_fd(), end) })?;
        // SAFETY: a new mapping of a file that only this function knows, at an address that the system picks.
        let base = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base: NonNull<u8> =
            NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        let bytes = Bytes { file, base, len };
        // SAFETY: the mapping is `len` bytes of zeros, and nobody else knows it yet.
        fill(unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), len) });
        // SAFETY: the mapping is this one's, and the slice above is gone.
        checked(unsafe { libc::mprotect(base.as_ptr().cast(), len, libc::PROT_READ) })?;
        Ok(bytes)
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped until this is dropped, and nobody can write to them: what other mappings of the
        // file write is private to them.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// Shows the first `len` bytes at an address, privately. Tells that it did.
    ///
    /// # Safety
    /// The range is aligned to pages of the host and belongs to a mapping of the caller, who accesses it in no other way
    /// meanwhile.
    pub unsafe fn show(&self, at: *mut u8, len: usize) -> io::Result<bool> {
        let len = len.min(self.len);
        if len == 0 || !len.is_multiple_of(crate::mapping::host_page_bytes()) {
            return Ok(len == 0);
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the caller owns the range and wants its contents replaced.
        let shown = unsafe { libc::mmap(at.cast(), len, access, flags, self.file.as_raw_fd(), 0) };
        if shown == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(true) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range was mapped by this value and is given back once. An error would leak it.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
        }
    }
}
