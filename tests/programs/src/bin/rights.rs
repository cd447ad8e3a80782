//# dir: /work
//# stdout: rights: ok\n
//! Unknown bits in flags and unknown values of enumerations are refused, and nothing is done then.

use wasi::wasi_snapshot_preview1 as raw;
use wrr_test_programs::WORK;

const INVAL: i32 = wasi::ERRNO_INVAL.raw() as i32;
const NOENT: i32 = wasi::ERRNO_NOENT.raw() as i32;

fn main() {
    let creat = i32::from(wasi::OFLAGS_CREAT);
    let write = wasi::RIGHTS_FD_WRITE as i64;
    // SAFETY: all pointers are to live values.
    unsafe {
        assert_eq!(open(0, creat, 1 << 40, 0, 0), INVAL, "unknown rights");
        assert_eq!(open(0, creat, -1, 0, 0), INVAL, "all rights, known and unknown");
        assert_eq!(open(0, creat, write, 1 << 63, 0), INVAL, "unknown inheriting rights");
        assert_eq!(open(0, 1 << 7, write, 0, 0), INVAL, "unknown open flags");
        assert_eq!(open(0, creat, write, 0, 1 << 9), INVAL, "unknown descriptor flags");
        assert_eq!(open(1 << 5, creat, write, 0, 0), INVAL, "unknown lookup flags");
        assert_eq!(open(0, 0, write, 0, 0), NOENT, "none of these created the file");
        assert_eq!(raw::fd_fdstat_set_flags(1, 1 << 12), INVAL);
        assert_eq!(raw::fd_filestat_set_times(WORK as i32, 0, 0, 1 << 10), INVAL);
        assert_eq!(raw::fd_advise(0, 0, 0, 77), INVAL);
        let mut position = 5u64;
        assert_eq!(raw::fd_seek(0, 0, 9, (&raw mut position) as i32), INVAL);
        assert_eq!(position, 5, "no result is written");
        let mut time_ns = 7u64;
        assert_eq!(raw::clock_time_get(99, 0, (&raw mut time_ns) as i32), INVAL);
        assert_eq!(raw::clock_res_get(4, (&raw mut time_ns) as i32), INVAL);
        assert_eq!(time_ns, 7, "no result is written");
        assert_eq!(open(0, creat, write, write, 0), 0, "known ones are fine");
    }
    println!("rights: ok");
}

unsafe fn open(lookup: i32, oflags: i32, base: i64, inheriting: i64, fdflags: i32) -> i32 {
    let path = "created";
    let (at, len) = (path.as_ptr() as i32, path.len() as i32);
    let mut fd = 0u32;
    // SAFETY: all pointers are to live values.
    unsafe {
        raw::path_open(
            WORK as i32,
            lookup,
            at,
            len,
            oflags,
            base,
            inheriting,
            fdflags,
            (&raw mut fd) as i32,
        )
    }
}
