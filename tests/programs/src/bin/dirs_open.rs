//# dir: /work
//# stdout: dirs_open: ok\n
//! A directory that is renamed and removed while it is open.

use std::fs;
use wrr_test_programs::{WORK, close, open_dir};

fn main() {
    fs::create_dir("/work/here").expect("can create");
    fs::write("/work/here/file", "text").expect("can write");
    let fd = open_dir("here").expect("can open");
    fs::rename("/work/here", "/work/there").expect("can rename what is open");
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        let stat = wasi::path_filestat_get(fd, 0, "file").expect("it is the same directory");
        assert_eq!(stat.size, 4);
        wasi::path_unlink_file(fd, "file").expect("can unlink");
        wasi::path_remove_directory(WORK, "there").expect("can remove what is open");
        assert_eq!(wasi::path_create_directory(fd, "new"), Err(wasi::ERRNO_NOENT));
    }
    assert_eq!(close(fd), Ok(()));
    println!("dirs_open: ok");
}
