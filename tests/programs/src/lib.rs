//! Raw preview1 calls in the shape that the programs need: no buffering and no retries in between.
//!
//! Invariant: one call of a function here is exactly one host call.

use wasi::{Ciovec, Errno, Fd, Iovec, Size};

/// The preopened directory, for a program with one `dir:` and no socket.
pub const WORK: Fd = 3;

/// Rights for everything that is done with a file here.
pub const RIGHTS: wasi::Rights = wasi::RIGHTS_FD_READ
    | wasi::RIGHTS_FD_WRITE
    | wasi::RIGHTS_FD_SEEK
    | wasi::RIGHTS_FD_TELL
    | wasi::RIGHTS_FD_SYNC
    | wasi::RIGHTS_FD_DATASYNC
    | wasi::RIGHTS_FD_ADVISE
    | wasi::RIGHTS_FD_ALLOCATE
    | wasi::RIGHTS_FD_FDSTAT_SET_FLAGS
    | wasi::RIGHTS_FD_FILESTAT_GET
    | wasi::RIGHTS_FD_FILESTAT_SET_SIZE
    | wasi::RIGHTS_FD_FILESTAT_SET_TIMES
    | wasi::RIGHTS_POLL_FD_READWRITE;

/// Rights to list a directory.
pub const DIR_RIGHTS: wasi::Rights =
    wasi::RIGHTS_FD_READDIR | wasi::RIGHTS_PATH_OPEN | wasi::RIGHTS_FD_FILESTAT_GET;

/// Opens `path` below [`WORK`] for reading and writing, following symbolic links.
pub fn open(path: &str, oflags: wasi::Oflags, fdflags: wasi::Fdflags) -> Result<Fd, Errno> {
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        wasi::path_open(
            WORK,
            wasi::LOOKUPFLAGS_SYMLINK_FOLLOW,
            path,
            oflags,
            RIGHTS,
            RIGHTS,
            fdflags,
        )
    }
}

/// Opens `path` below [`WORK`] as a directory.
pub fn open_dir(path: &str) -> Result<Fd, Errno> {
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        wasi::path_open(
            WORK,
            wasi::LOOKUPFLAGS_SYMLINK_FOLLOW,
            path,
            wasi::OFLAGS_DIRECTORY,
            DIR_RIGHTS,
            RIGHTS,
            0,
        )
    }
}

pub fn close(fd: Fd) -> Result<(), Errno> {
    // SAFETY: no pointers are involved.
    unsafe { wasi::fd_close(fd) }
}

/// One `fd_write` of all `parts`.
pub fn write(fd: Fd, parts: &[&[u8]]) -> Result<Size, Errno> {
    // SAFETY: the vectors point to `parts`.
    unsafe { wasi::fd_write(fd, &outgoing(parts)) }
}

/// One `fd_pwrite` of all `parts`.
pub fn pwrite(fd: Fd, parts: &[&[u8]], offset: u64) -> Result<Size, Errno> {
    // SAFETY: the vectors point to `parts`.
    unsafe { wasi::fd_pwrite(fd, &outgoing(parts), offset) }
}

/// One `fd_read` into all `parts`; the host may fill fewer of them.
pub fn read(fd: Fd, parts: &mut [&mut [u8]]) -> Result<Size, Errno> {
    // SAFETY: the vectors point to `parts`.
    unsafe { wasi::fd_read(fd, &incoming(parts)) }
}

/// One `fd_pread` into all `parts`; the host may fill fewer of them.
pub fn pread(fd: Fd, parts: &mut [&mut [u8]], offset: u64) -> Result<Size, Errno> {
    // SAFETY: the vectors point to `parts`.
    unsafe { wasi::fd_pread(fd, &incoming(parts), offset) }
}

pub fn seek(fd: Fd, offset: i64, whence: wasi::Whence) -> Result<u64, Errno> {
    // SAFETY: the crate passes pointers to live values only.
    unsafe { wasi::fd_seek(fd, offset, whence) }
}

pub fn size(fd: Fd) -> u64 {
    // SAFETY: the crate passes pointers to live values only.
    unsafe { wasi::fd_filestat_get(fd) }.expect("an open file has a size").size
}

/// The error of a call that must fail; a panic that says `what` succeeded otherwise.
#[track_caller]
pub fn refused<T>(what: &str, result: Result<T, Errno>) -> Errno {
    match result {
        Ok(_) => panic!("{what} succeeded"),
        Err(errno) => errno,
    }
}

/// FNV-1a, so that programs can print one number for a lot of data.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn outgoing(parts: &[&[u8]]) -> Vec<Ciovec> {
    let vector = |part: &&[u8]| Ciovec { buf: part.as_ptr(), buf_len: part.len() };
    parts.iter().map(vector).collect()
}

fn incoming(parts: &mut [&mut [u8]]) -> Vec<Iovec> {
    let vector = |part: &mut &mut [u8]| Iovec { buf: part.as_mut_ptr(), buf_len: part.len() };
    parts.iter_mut().map(vector).collect()
}

pub const SECOND_NS: u64 = 1_000_000_000;

/// A deterministic host may report all times as 0; other hosts those that were set.
#[track_caller]
pub fn expect_times(stat: wasi::Filestat, atim_s: u64, mtim_s: u64) {
    if (stat.atim, stat.mtim) != (0, 0) {
        assert_eq!((stat.atim, stat.mtim), (atim_s * SECOND_NS, mtim_s * SECOND_NS));
    }
}

/// Says how something was refused.
#[track_caller]
pub fn report(path: &str, operation: &str, result: Result<(), wasi::Errno>) {
    println!("{operation} {path}: {}", errno_name(result));
    assert!(result.is_err());
}

pub fn errno_name(result: Result<(), wasi::Errno>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(errno) => errno.name(),
    }
}
