//# dir: /work
//# stdout: badptr: ok\n
//! Pointers that are out of bounds or misaligned: an error number comes back, nothing traps, and nothing is done.

use wasi::wasi_snapshot_preview1 as raw;
use wrr_test_programs::{WORK, open, size};

const SUCCESS: i32 = 0;
const FAULT: i32 = wasi::ERRNO_FAULT.raw() as i32;
const INVAL: i32 = wasi::ERRNO_INVAL.raw() as i32;
const OVERFLOW: i32 = wasi::ERRNO_OVERFLOW.raw() as i32;
const HUGE: i32 = -1;
const WORK_FD: i32 = WORK as i32;

#[repr(C, align(8))]
struct Aligned([u8; 64]);

fn main() {
    let end = (core::arch::wasm32::memory_size(0) << 16) as u32;
    // The last bytes of memory, from where anything larger leaves it; and far outside.
    let outside = [end as i32, (end - 1) as i32, -8, i32::MAX];
    let mut good = Aligned([0; 64]);
    let good_at = good.0.as_mut_ptr() as i32;
    let odd = good_at + 1;
    let file = open("out", wasi::OFLAGS_CREAT, 0).expect("can create") as i32;
    let path = "hello.txt";
    let (path_at, path_len) = (path.as_ptr() as i32, path.len() as i32);

    // SAFETY: the addresses that are not live are what the host must refuse.
    unsafe {
        for bad in outside {
            let bad8 = bad & !7;
            // From the aligned address before the end, eight bytes still fit; skip those cases.
            if (bad8 as u32) >= end {
                fault("clock_time_get", raw::clock_time_get(0, 0, bad8));
                fault("clock_res_get", raw::clock_res_get(0, bad8));
                fault("fd_tell", raw::fd_tell(file, bad8));
                fault("fd_seek", raw::fd_seek(file, 0, 0, bad8));
                fault("args_sizes_get", raw::args_sizes_get(bad8, good_at));
                fault("environ_sizes_get", raw::environ_sizes_get(good_at, bad8));
                fault("args_get", raw::args_get(bad8, good_at));
                fault("fd_fdstat_get", raw::fd_fdstat_get(file, bad8));
                fault("fd_filestat_get", raw::fd_filestat_get(file, bad8));
                fault("fd_prestat_get", raw::fd_prestat_get(WORK_FD, bad8));
                fault("fd_write", raw::fd_write(file, bad8, 1, good_at));
                fault("fd_read", raw::fd_read(file, bad8, 1, good_at));
                fault("poll_oneoff", raw::poll_oneoff(bad8, good_at, 1, good_at));
            }
            fault("random_get", raw::random_get(bad, 16));
            fault("fd_prestat_dir_name", raw::fd_prestat_dir_name(WORK_FD, bad, 5));
            fault("fd_readdir", raw::fd_readdir(WORK_FD, bad, 64, 0, good_at));
            fault("path_create_directory", raw::path_create_directory(WORK_FD, bad, 4));
            fault("path_filestat_get", raw::path_filestat_get(WORK_FD, 0, bad, 9, good_at));
            fault("path_readlink", raw::path_readlink(WORK_FD, bad, 9, good_at, 8, good_at));
            fault("path_symlink", raw::path_symlink(bad, 9, WORK_FD, path_at, path_len));
            fault("path_unlink_file", raw::path_unlink_file(WORK_FD, bad, 9));
            fault("path_rename", raw::path_rename(WORK_FD, path_at, path_len, WORK_FD, bad, 5));
        }

        inval("clock_time_get", raw::clock_time_get(0, 0, odd));
        inval("fd_tell", raw::fd_tell(file, odd));
        inval("fd_fdstat_get", raw::fd_fdstat_get(file, odd));
        inval("fd_filestat_get", raw::fd_filestat_get(file, good_at + 4));
        inval("args_sizes_get", raw::args_sizes_get(odd, good_at));
        inval("fd_write, array", raw::fd_write(file, odd, 1, good_at));
        inval("fd_prestat_get", raw::fd_prestat_get(WORK_FD, good_at + 2));

        // A vector whose buffer is wrong, in front of or behind one that is right.
        let wrong = [end - 4, 8];
        let right = [path_at as u32, 4];
        for vectors in [[wrong, right], [right, wrong]] {
            let at = (&raw const vectors) as i32;
            fault("fd_write, buffer", raw::fd_write(file, at, 2, good_at));
            fault("fd_pwrite, buffer", raw::fd_pwrite(file, at, 2, 0, good_at));
        }
        let right_at = (&raw const right) as i32;
        fault("fd_write, result", raw::fd_write(file, right_at, 1, end as i32));
        inval("fd_write, result", raw::fd_write(file, right_at, 1, odd));
        assert_eq!(size(file as u32), 0, "a refused write writes nothing");

        let huge = [path_at as u32, u32::MAX];
        let huge_at = (&raw const huge) as i32;
        fault("fd_write, huge buffer", raw::fd_write(file, huge_at, 1, good_at));
        fault("fd_read, huge buffer", raw::fd_read(file, huge_at, 1, good_at));
        fault("random_get, huge buffer", raw::random_get(good_at, HUGE));
        fault("path_open, huge path", raw::path_unlink_file(WORK_FD, path_at, HUGE));
        one_of(
            "fd_write, huge array",
            raw::fd_write(file, right_at, HUGE, good_at),
            &[FAULT, INVAL, OVERFLOW],
        );
        one_of(
            "poll_oneoff, huge array",
            raw::poll_oneoff(good_at, good_at, HUGE, good_at),
            &[FAULT, INVAL, OVERFLOW],
        );
        assert_eq!(size(file as u32), 0, "a refused write writes nothing");

        for bad in outside {
            // Nothing of no length may be accepted anywhere, or only inside memory.
            one_of("random_get of nothing", raw::random_get(bad, 0), &[SUCCESS, FAULT]);
        }
        assert_eq!(raw::random_get(good_at, 0), SUCCESS);
        assert_eq!(raw::fd_write(file, right_at, 0, good_at), SUCCESS);
        one_of("a path of no length", raw::path_unlink_file(WORK_FD, path_at, 0), &[NOENT, INVAL]);
        let not_utf8 = [0xffu8, 0xfe];
        let at = not_utf8.as_ptr() as i32;
        one_of("a path that is not UTF-8", raw::path_unlink_file(WORK_FD, at, 2), &[ILSEQ, INVAL]);
        assert_eq!(
            raw::path_filestat_get(WORK_FD, 0, path_at, path_len, good_at),
            SUCCESS,
            "nothing was unlinked"
        );
    }
    println!("badptr: ok");
}

const NOENT: i32 = wasi::ERRNO_NOENT.raw() as i32;
const ILSEQ: i32 = wasi::ERRNO_ILSEQ.raw() as i32;

#[track_caller]
fn fault(what: &str, errno: i32) {
    one_of(what, errno, &[FAULT]);
}

#[track_caller]
fn inval(what: &str, errno: i32) {
    one_of(what, errno, &[INVAL]);
}

#[track_caller]
fn one_of(what: &str, errno: i32, expected: &[i32]) {
    assert!(expected.contains(&errno), "{what}: got {errno}, expected one of {expected:?}");
}
