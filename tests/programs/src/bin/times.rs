//# dir: /work
//# stdout: times: ok\n
//! Setting and getting file times, by descriptor and by path, with explicit values and with "now".
//!
//! A deterministic host may report all times as 0; then only the calls' success is checked.

use wrr_test_programs::{SECOND_NS, WORK, expect_times, open, refused};

const BOTH: wasi::Fstflags = wasi::FSTFLAGS_ATIM | wasi::FSTFLAGS_MTIM;
const BOTH_NOW: wasi::Fstflags = wasi::FSTFLAGS_ATIM_NOW | wasi::FSTFLAGS_MTIM_NOW;

fn main() {
    let fd = open("hello.txt", 0, 0).expect("can open");
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        let by_fd = || wasi::fd_filestat_get(fd).expect("can stat");
        let by_path = |flags| wasi::path_filestat_get(WORK, flags, "hello.txt").expect("can stat");

        wasi::fd_filestat_set_times(fd, 100 * SECOND_NS, 200 * SECOND_NS, BOTH).expect("can set");
        expect_times(by_fd(), 100, 200);
        expect_times(by_path(0), 100, 200);

        wasi::fd_filestat_set_times(fd, 0, 300 * SECOND_NS, wasi::FSTFLAGS_MTIM).expect("can set");
        expect_times(by_fd(), 100, 300);
        wasi::fd_filestat_set_times(fd, 7, 7, 0).expect("can set nothing");
        expect_times(by_fd(), 100, 300);

        let follow = wasi::LOOKUPFLAGS_SYMLINK_FOLLOW;
        wasi::fd_filestat_set_times(fd, 0, 0, BOTH_NOW).expect("can set to now");
        expect_recent(by_fd());
        wasi::path_filestat_set_times(WORK, follow, "sub", 0, 600 * SECOND_NS, wasi::FSTFLAGS_MTIM)
            .expect("can set a directory's");
        wasi::path_filestat_set_times(WORK, follow, "hello.txt", 0, 0, BOTH_NOW)
            .expect("can set to now");
        expect_recent(by_path(follow));

        let both = wasi::FSTFLAGS_MTIM | wasi::FSTFLAGS_MTIM_NOW;
        let contradiction = wasi::fd_filestat_set_times(fd, 0, 0, both);
        assert_eq!(refused("a value and now at once", contradiction), wasi::ERRNO_INVAL);
        let absent = wasi::path_filestat_set_times(WORK, 0, "absent", 0, 0, BOTH_NOW);
        assert_eq!(absent, Err(wasi::ERRNO_NOENT));
    }
    println!("times: ok");
}

#[track_caller]
fn expect_recent(stat: wasi::Filestat) {
    if (stat.atim, stat.mtim) != (0, 0) {
        assert!(stat.atim > 1_000 * SECOND_NS && stat.mtim > 1_000 * SECOND_NS);
    }
}
