//# dir: /work
//# stdout: hard_links: ok\n
//! Hard links: two names of one file.

use wrr_test_programs::{WORK, close, open, size, write};

fn main() {
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        wasi::path_link(WORK, 0, "hello.txt", WORK, "sub/hard").expect("can link");
        let (one, two) = (stat("hello.txt"), stat("sub/hard"));
        assert_eq!(one.ino, two.ino);
        assert_eq!(one.nlink, 2);
        let fd = open("sub/hard", 0, wasi::FDFLAGS_APPEND).expect("can open");
        write(fd, &[b"appended\n"]).expect("can write");
        let length = size(fd);
        assert_eq!(close(fd), Ok(()));
        assert_eq!(stat("hello.txt").size, length);
        let again = wasi::path_link(WORK, 0, "hello.txt", WORK, "sub/hard");
        assert_eq!(again, Err(wasi::ERRNO_EXIST));
        let absent = wasi::path_link(WORK, 0, "absent", WORK, "other");
        assert_eq!(absent, Err(wasi::ERRNO_NOENT));
        wasi::path_unlink_file(WORK, "hello.txt").expect("can unlink");
        assert_eq!(stat("sub/hard").nlink, 1);
    }
    println!("hard_links: ok");
}

unsafe fn stat(path: &str) -> wasi::Filestat {
    // SAFETY: as in `main`.
    unsafe { wasi::path_filestat_get(WORK, 0, path) }.expect("can stat")
}
