//# dir: /work
//# stdout: 3: /work\n
//! What a libc asks about its preopened descriptors at start-up, and what it is refused.

use wrr_test_programs::{WORK, close, open_dir, refused};

fn main() {
    // SAFETY: the crate passes pointers to live values only; buffers are as long as they say.
    unsafe {
        let prestat = wasi::fd_prestat_get(WORK).expect("a preopened directory");
        assert_eq!(prestat.tag, wasi::PREOPENTYPE_DIR.raw());
        let mut path = vec![0; prestat.u.dir.pr_name_len];
        wasi::fd_prestat_dir_name(WORK, path.as_mut_ptr(), path.len()).expect("its name");
        println!("{WORK}: {}", String::from_utf8(path.clone()).expect("UTF-8"));
        let short = wasi::fd_prestat_dir_name(WORK, path.as_mut_ptr(), 2);
        assert_eq!(short, Err(wasi::ERRNO_NAMETOOLONG));
        assert!(matches!(wasi::fd_prestat_get(4), Err(wasi::ERRNO_BADF)));
        refused("stdout as a preopen", wasi::fd_prestat_get(1));
        refused("the name of stdout", wasi::fd_prestat_dir_name(1, path.as_mut_ptr(), path.len()));

        let stat = wasi::fd_fdstat_get(WORK).expect("a status");
        assert_eq!(stat.fs_filetype, wasi::FILETYPE_DIRECTORY);
        let rights =
            wasi::fd_fdstat_set_rights(WORK, stat.fs_rights_base, stat.fs_rights_inheriting);
        assert_eq!(rights, Err(wasi::ERRNO_NOTSUP));
        assert_eq!(wasi::fd_fdstat_set_rights(99, 0, 0), Err(wasi::ERRNO_BADF));
        let root = wasi::fd_filestat_get(WORK).expect("a directory has a status");
        assert_eq!(root.filetype, wasi::FILETYPE_DIRECTORY);
        refused("a seek in a directory", wasi::fd_seek(WORK, 0, wasi::WHENCE_SET));
        refused("a write to a directory", wasi::fd_write(WORK, &[]));

        let sub = open_dir("sub").expect("can open");
        refused("a directory that is not preopened", wasi::fd_prestat_get(sub));
        let leaf = wasi::path_filestat_get(sub, 0, "deeper/leaf.txt").expect("below it");
        assert_eq!(leaf.size, 5);
        refused("its parent", wasi::path_filestat_get(sub, 0, "../hello.txt"));
        wasi::path_rename(sub, "inner.txt", WORK, "outer.txt")
            .expect("can move between directories");
        wasi::path_link(WORK, 0, "outer.txt", sub, "linked").expect("can link between directories");
        assert_eq!(close(sub), Ok(()));
        assert_eq!(wasi::path_filestat_get(sub, 0, "linked").err(), Some(wasi::ERRNO_BADF));
        assert_eq!(wasi::path_filestat_get(WORK, 0, "sub/linked").expect("it is there").nlink, 2);
    }
}
