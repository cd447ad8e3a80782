//! Checked access to guest memory: little-endian, byte by byte addressed, 32-bit pointers.

use wrr_trace::{Errno, Iovec};

/// The bytes `addr..addr + len`.
///
/// # Errors
/// `fault` if they are not all in memory.
pub fn slice(memory: &[u8], addr: u32, len: u32) -> Result<&[u8], Errno> {
    let start = addr as usize;
    start.checked_add(len as usize).and_then(|end| memory.get(start..end)).ok_or(Errno::fault)
}

/// Checks a place of `len` bytes with this alignment.
///
/// # Errors
/// `inval` if it is misaligned, `fault` if it is not all in memory.
pub fn check_place(memory: &[u8], addr: u32, len: u32, align: u32) -> Result<(), Errno> {
    if !addr.is_multiple_of(align) {
        return Err(Errno::inval);
    }
    slice(memory, addr, len).map(drop)
}

/// Writes bytes at a place that was checked.
pub fn put(memory: &mut [u8], addr: u32, bytes: &[u8]) {
    let start = addr as usize;
    memory[start..start + bytes.len()].copy_from_slice(bytes);
}

/// Reads an array of iovecs (`buf: u32, len: u32`) and checks that all their buffers are in memory.
///
/// Takes at most [`IOVECS_MAX`]; a call that moves fewer bytes than asked is legal.
///
/// # Errors
/// `inval` if the array is misaligned, `fault` if it or a buffer is not all in memory.
pub fn iovecs(memory: &[u8], addr: u32, count: u32) -> Result<Vec<Iovec>, Errno> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::inval);
    }
    let len_bytes = count.min(IOVECS_MAX) * 8;
    let words = slice(memory, addr, len_bytes)?.chunks_exact(8);
    words
        .map(|word| {
            let (addr, len) = word.split_at(4);
            let number = |b: &[u8]| u32::from_le_bytes(b.try_into().expect("4 bytes"));
            let iov = Iovec { addr: number(addr), len: number(len) };
            slice(memory, iov.addr, iov.len)?;
            Ok(iov)
        })
        .collect()
}

/// The most buffers that one call takes (POSIX's usual `IOV_MAX`).
pub const IOVECS_MAX: u32 = 1024;
