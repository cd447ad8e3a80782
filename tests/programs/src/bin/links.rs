//# dir: /work
//# stdout: links: ok\n
//! Symbolic links: following and not following them, reading them, loops.

use wrr_test_programs::{WORK, close, open, read, refused};

const FOLLOW: wasi::Lookupflags = wasi::LOOKUPFLAGS_SYMLINK_FOLLOW;

fn main() {
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        symbolic();
    }
    println!("links: ok");
}

unsafe fn symbolic() {
    // SAFETY: as in `main`.
    unsafe {
        wasi::path_symlink("sub/inner.txt", WORK, "link").expect("can make a symlink");
        assert_eq!(stat(0, "link").filetype, wasi::FILETYPE_SYMBOLIC_LINK);
        assert_eq!(stat(FOLLOW, "link").filetype, wasi::FILETYPE_REGULAR_FILE);
        assert_eq!(stat(FOLLOW, "link").ino, stat(0, "sub/inner.txt").ino);
        assert_eq!(readlink("link", 100), "sub/inner.txt");
        assert_eq!(readlink("link", 3), "sub", "a short buffer truncates");
        let not_a_link = wasi::path_readlink(WORK, "sub/inner.txt", [0; 8].as_mut_ptr(), 8);
        assert_eq!(not_a_link, Err(wasi::ERRNO_INVAL));

        let fd = open("link", 0, 0).expect("opening follows");
        let mut buf = [0; 16];
        let count = read(fd, &mut [&mut buf]).expect("can read");
        assert_eq!(&buf[..count], b"inner\n");
        assert_eq!(close(fd), Ok(()));
        let not_followed = wasi::path_open(WORK, 0, "link", 0, wasi::RIGHTS_FD_READ, 0, 0);
        assert_eq!(not_followed, Err(wasi::ERRNO_LOOP));

        wasi::path_symlink("sub", WORK, "dir-link").expect("can make a symlink");
        assert_eq!(stat(0, "dir-link/inner.txt").size, 6, "directories on the way are followed");
        wasi::path_symlink("nowhere", WORK, "dangling").expect("can make a dangling symlink");
        let dangling = wasi::path_filestat_get(WORK, FOLLOW, "dangling");
        assert_eq!(refused("following it", dangling), wasi::ERRNO_NOENT);
        assert_eq!(stat(0, "dangling").size, 7);

        wasi::path_symlink("ring-b", WORK, "ring-a").expect("can make a symlink");
        wasi::path_symlink("ring-a", WORK, "ring-b").expect("can make a symlink");
        assert_eq!(open("ring-a", 0, 0), Err(wasi::ERRNO_LOOP));
        let ring = wasi::path_filestat_get(WORK, FOLLOW, "ring-b");
        assert_eq!(refused("following it", ring), wasi::ERRNO_LOOP);

        wasi::path_unlink_file(WORK, "link").expect("can unlink a symlink");
        assert_eq!(stat(0, "sub/inner.txt").size, 6, "the target stays");
        let exists = wasi::path_symlink("x", WORK, "ring-a");
        assert_eq!(exists, Err(wasi::ERRNO_EXIST));
    }
}

unsafe fn stat(flags: wasi::Lookupflags, path: &str) -> wasi::Filestat {
    // SAFETY: as in `main`.
    unsafe { wasi::path_filestat_get(WORK, flags, path) }.expect("can stat")
}

unsafe fn readlink(path: &str, buf_len: usize) -> String {
    let mut buf = vec![0; buf_len];
    // SAFETY: the buffer is live and as long as it says.
    let used = unsafe { wasi::path_readlink(WORK, path, buf.as_mut_ptr(), buf.len()) };
    buf.truncate(used.expect("can read the link"));
    String::from_utf8(buf).expect("UTF-8")
}
