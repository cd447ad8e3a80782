//# dir: /work
//! No symbolic link leads out of the preopened directory.

use wrr_test_programs::{WORK, errno_name, open, report};

fn main() {
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        let absolute = wasi::path_symlink("/etc/passwd", WORK, "absolute");
        println!("symlink to /etc/passwd: {}", errno_name(absolute));
        if absolute.is_ok() {
            report("absolute", "open", open("absolute", 0, 0).map(drop));
        }
        wasi::path_symlink("../..", WORK, "sub/upwards").expect("can make a relative symlink");
        report("sub/upwards/x", "open", open("sub/upwards/x", 0, 0).map(drop));
        let follow = wasi::LOOKUPFLAGS_SYMLINK_FOLLOW;
        report(
            "sub/upwards",
            "stat",
            wasi::path_filestat_get(WORK, follow, "sub/upwards").map(drop),
        );
    }
}
