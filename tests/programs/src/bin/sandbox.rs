//# dir: /work
//! Every way out of the preopened directory is refused; paths that only look like one work.

use wrr_test_programs::{WORK, close, open, report};

fn main() {
    // SAFETY: the crate passes pointers to live values only.
    unsafe {
        let up =
            ["..", "../x", "sub/../../x", "/", "/etc/passwd", "sub/deeper/../../../x", "./../x"];
        for path in up {
            report(path, "open", open(path, 0, 0).map(drop));
            report(path, "create", open(path, wasi::OFLAGS_CREAT, 0).map(drop));
            report(path, "stat", wasi::path_filestat_get(WORK, 0, path).map(drop));
            report(path, "mkdir", wasi::path_create_directory(WORK, path));
            report(path, "unlink", wasi::path_unlink_file(WORK, path));
            report(path, "rmdir", wasi::path_remove_directory(WORK, path));
            report(path, "rename to", wasi::path_rename(WORK, "hello.txt", WORK, path));
            report(path, "link to", wasi::path_link(WORK, 0, "hello.txt", WORK, path));
        }
        report("", "open", open("", 0, 0).map(drop));
        report("hello.txt\\0", "open", open("hello.txt\0", 0, 0).map(drop));
        report("(a file)", "readdir", {
            let fd = open("hello.txt", 0, 0).expect("can open");
            wasi::fd_readdir(fd, [0; 64].as_mut_ptr(), 64, 0).map(drop)
        });

        for inside in
            ["sub/../hello.txt", "./hello.txt", "sub/deeper/../../sub/inner.txt", "sub//inner.txt"]
        {
            let fd = open(inside, 0, 0).expect("this path stays inside");
            assert_eq!(close(fd), Ok(()));
        }
        assert!(wasi::path_filestat_get(WORK, 0, "hello.txt").is_ok(), "nothing was moved");
    }
}
