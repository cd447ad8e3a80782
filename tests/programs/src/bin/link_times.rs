//# dir: /work
//# stdout: link_times: ok\n
//! Setting the times of a symbolic link and, through it, those of its target.
//!
//! A deterministic host may report all times as 0; then only the calls' success is checked.

use wrr_test_programs::{SECOND_NS, WORK, expect_times};

const BOTH: wasi::Fstflags = wasi::FSTFLAGS_ATIM | wasi::FSTFLAGS_MTIM;

fn main() {
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        let (follow, stay) = (wasi::LOOKUPFLAGS_SYMLINK_FOLLOW, 0);
        // The link's own times are looked at before it is followed, which may change them.
        let times = |path| wasi::path_filestat_get(WORK, stay, path).expect("can stat");
        wasi::path_symlink("hello.txt", WORK, "link").expect("can make a symlink");
        wasi::path_filestat_set_times(WORK, follow, "link", 400 * SECOND_NS, 500 * SECOND_NS, BOTH)
            .expect("can set through a link");
        expect_times(times("hello.txt"), 400, 500);
        wasi::path_filestat_set_times(WORK, stay, "link", SECOND_NS, 2 * SECOND_NS, BOTH)
            .expect("can set a link's own times");
        expect_times(times("link"), 1, 2);
        expect_times(times("hello.txt"), 400, 500);
    }
    println!("link_times: ok");
}
