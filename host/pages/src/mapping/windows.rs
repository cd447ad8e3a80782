//! Mappings on Windows: reserved with write watch, committed to grow.

use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};
use windows_sys::Win32::System::SystemServices::MEM_WRITE_WATCH;

/// The page size of this machine, but never below ours.
pub(crate) fn host_page_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let mut info = SYSTEM_INFO::default();
        // SAFETY: `info` is a valid place for what the call writes.
        unsafe { GetSystemInfo(&mut info) };
        (info.dwPageSize as usize).max(crate::PAGE_BYTES)
    })
}

pub(super) fn reserve(bytes: usize) -> io::Result<NonNull<u8>> {
    // Write watch can be asked for only here, so every mapping has it: it costs a bit per page.
    let kind = MEM_RESERVE | MEM_WRITE_WATCH;
    // SAFETY: a new reservation at an address that the system picks touches nothing that exists.
    let base = unsafe { VirtualAlloc(std::ptr::null(), bytes, kind, PAGE_READWRITE) };
    NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)
}

/// # Safety
/// The range is host-page aligned, belongs to a mapping of `reserve`, and is not yet accessible.
pub(super) unsafe fn make_accessible(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range, and committing it cannot break a reference.
    let committed = unsafe { VirtualAlloc(start.cast(), bytes, MEM_COMMIT, PAGE_READWRITE) };
    if committed.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Always overwrites instead: decommitted pages would have to be committed again, which can fail.
///
/// # Safety
/// None; the signature is that of the other systems.
pub(super) unsafe fn give_back(_start: *mut u8, _bytes: usize) -> bool {
    false
}

/// Takes access away and forgets the contents: they are zero when they are made accessible again.
///
/// # Safety
/// The range is host-page aligned, belongs to a mapping of `reserve`, is accessible, and nobody uses it.
pub(super) unsafe fn make_inaccessible(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller gives up the contents of the range, which stays reserved.
    let decommitted = unsafe { VirtualFree(start.cast(), bytes, MEM_DECOMMIT) };
    if decommitted == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// # Safety
/// The range is what `reserve` returned, and nobody uses it any more.
pub(super) unsafe fn release(base: NonNull<u8>, _bytes: usize) {
    // SAFETY: the caller gives up the range; size 0 means the whole reservation. An error
    // would leak it, which is harmless.
    unsafe { VirtualFree(base.as_ptr().cast(), 0, MEM_RELEASE) };
}
