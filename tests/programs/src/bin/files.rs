//# dir: /work
//# stdout: files: ok\n
//! Every operation on a regular file: positions, vectors, sizes, flags, reopening, the end of the file.

use wrr_test_programs::{close, open, pread, pwrite, read, refused, seek, size, write};

const FRESH: wasi::Oflags = wasi::OFLAGS_CREAT | wasi::OFLAGS_TRUNC;

fn main() {
    positions();
    vectors();
    sizes();
    flags();
    opening();
    fixture();
    println!("files: ok");
}

fn positions() {
    let fd = open("positions", FRESH, 0).expect("can create");
    assert_eq!(write(fd, &[b"0123456789"]), Ok(10));
    assert_eq!(tell(fd), 10);
    assert_eq!(seek(fd, 0, wasi::WHENCE_CUR), Ok(10));
    assert_eq!(seek(fd, -3, wasi::WHENCE_END), Ok(7));
    let mut buf = [0; 8];
    assert_eq!(read(fd, &mut [&mut buf]), Ok(3));
    assert_eq!(&buf[..3], b"789");
    assert_eq!(read(fd, &mut [&mut buf]), Ok(0), "the end of the file");
    assert_eq!(seek(fd, 2, wasi::WHENCE_SET), Ok(2));
    assert_eq!(seek(fd, 2, wasi::WHENCE_CUR), Ok(4));
    refused("a seek to before the start", seek(fd, -1, wasi::WHENCE_SET));
    refused("a seek to before the start", seek(fd, -50, wasi::WHENCE_CUR));
    assert_eq!(tell(fd), 4, "a refused seek does not move");

    assert_eq!(pread(fd, &mut [&mut buf[..4]], 1), Ok(4));
    assert_eq!(&buf[..4], b"1234");
    assert_eq!(pwrite(fd, &[b"AB"], 8), Ok(2));
    assert_eq!(pread(fd, &mut [&mut buf], 100), Ok(0), "past the end");
    assert_eq!(tell(fd), 4, "pread and pwrite do not move");
    assert_eq!(pwrite(fd, &[b"Z"], 14), Ok(1));
    assert_eq!(size(fd), 15);
    assert_eq!(whole(fd), b"01234567AB\0\0\0\0Z");

    assert_eq!(seek(fd, 20, wasi::WHENCE_SET), Ok(20), "beyond the end is a position too");
    assert_eq!(read(fd, &mut [&mut buf]), Ok(0));
    assert_eq!(write(fd, &[b"!"]), Ok(1));
    assert_eq!(size(fd), 21);
    assert_eq!(close(fd), Ok(()));
    assert_eq!(read(fd, &mut [&mut buf]), Err(wasi::ERRNO_BADF));
    assert_eq!(close(fd), Err(wasi::ERRNO_BADF));
}

fn vectors() {
    let fd = open("vectors", FRESH, 0).expect("can create");
    assert_eq!(write(fd, &[b"", b"ab", b"", b"cdef", b"g", b""]), Ok(7));
    assert_eq!(write(fd, &[]), Ok(0));
    assert_eq!(write(fd, &[b"", b""]), Ok(0));
    assert_eq!(pwrite(fd, &[b"h", b"", b"ij"], 7), Ok(3));
    assert_eq!(whole(fd), b"abcdefghij");
    // A host may fill fewer vectors than it was given, so go on until the end.
    let (mut a, mut b) = ([0; 3], [0; 5]);
    let mut seen = Vec::new();
    seek(fd, 0, wasi::WHENCE_SET).expect("can seek");
    loop {
        let count = read(fd, &mut [&mut [], &mut a, &mut [], &mut b]).expect("can read");
        if count == 0 {
            break;
        }
        seen.extend_from_slice(&a[..count.min(a.len())]);
        seen.extend_from_slice(&b[..count.saturating_sub(a.len())]);
    }
    assert_eq!(seen, b"abcdefghij");
    seek(fd, 0, wasi::WHENCE_SET).expect("can seek");
    assert_eq!(read(fd, &mut []), Ok(0));
    assert_eq!(read(fd, &mut [&mut [], &mut []]), Ok(0));
    assert_eq!(tell(fd), 0);
    assert_eq!(close(fd), Ok(()));
}

fn sizes() {
    let fd = open("sizes", FRESH, 0).expect("can create");
    assert_eq!(write(fd, &[b"abcdef"]), Ok(6));
    // SAFETY: no pointers are involved.
    unsafe {
        wasi::fd_filestat_set_size(fd, 3).expect("can shrink");
        assert_eq!(whole(fd), b"abc");
        wasi::fd_filestat_set_size(fd, 5).expect("can grow");
        assert_eq!(whole(fd), b"abc\0\0");
        wasi::fd_advise(fd, 0, 5, wasi::ADVICE_SEQUENTIAL).expect("can advise");
        wasi::fd_advise(fd, 0, 0, wasi::ADVICE_WILLNEED).expect("can advise");
        wasi::fd_sync(fd).expect("can sync");
        wasi::fd_datasync(fd).expect("can sync data");
        match wasi::fd_allocate(fd, 0, 100) {
            Ok(()) => assert_eq!(size(fd), 100),
            Err(errno) => assert_eq!(errno, wasi::ERRNO_NOTSUP),
        }
    }
    assert_eq!(close(fd), Ok(()));
}

fn flags() {
    let fd = open("flags", wasi::OFLAGS_CREAT, wasi::FDFLAGS_APPEND).expect("can create");
    assert_eq!(fdflags(fd), wasi::FDFLAGS_APPEND);
    assert_eq!(write(fd, &[b"one"]), Ok(3));
    seek(fd, 0, wasi::WHENCE_SET).expect("can seek");
    assert_eq!(write(fd, &[b"two"]), Ok(3));
    assert_eq!(whole(fd), b"onetwo");
    // SAFETY: no pointers are involved.
    unsafe { wasi::fd_fdstat_set_flags(fd, 0) }.expect("can stop appending");
    assert_eq!(fdflags(fd), 0);
    seek(fd, 0, wasi::WHENCE_SET).expect("can seek");
    assert_eq!(write(fd, &[b"TEN"]), Ok(3));
    assert_eq!(whole(fd), b"TENtwo");
    // SAFETY: no pointers are involved.
    unsafe { wasi::fd_fdstat_set_flags(fd, wasi::FDFLAGS_APPEND) }.expect("can append again");
    seek(fd, 0, wasi::WHENCE_SET).expect("can seek");
    assert_eq!(write(fd, &[b"end"]), Ok(3));
    assert_eq!(whole(fd), b"TENtwoend");
    assert_eq!(close(fd), Ok(()));
}

fn opening() {
    let fd = open("opening", wasi::OFLAGS_CREAT | wasi::OFLAGS_EXCL, 0).expect("can create");
    write(fd, &[b"kept"]).expect("can write");
    assert_eq!(close(fd), Ok(()));
    let again = open("opening", wasi::OFLAGS_CREAT | wasi::OFLAGS_EXCL, 0);
    assert_eq!(again, Err(wasi::ERRNO_EXIST));
    let fd = open("opening", wasi::OFLAGS_CREAT, 0).expect("can reopen");
    assert_eq!(whole(fd), b"kept");
    assert_eq!(close(fd), Ok(()));
    let fd = open("opening", wasi::OFLAGS_TRUNC, 0).expect("can truncate");
    assert_eq!(size(fd), 0);
    assert_eq!(close(fd), Ok(()));
    assert_eq!(open("absent", 0, 0), Err(wasi::ERRNO_NOENT));
    assert_eq!(open("opening", wasi::OFLAGS_DIRECTORY, 0), Err(wasi::ERRNO_NOTDIR));
    assert_eq!(open("opening/below", 0, 0), Err(wasi::ERRNO_NOTDIR));
    // SAFETY: the crate passes pointers to live values only.
    unsafe { wasi::path_unlink_file(3, "opening") }.expect("can unlink");
    assert_eq!(open("opening", 0, 0), Err(wasi::ERRNO_NOENT));

    // An unlinked file lives on for as long as it is open.
    let fd = open("unlinked", FRESH, 0).expect("can create");
    write(fd, &[b"still here"]).expect("can write");
    // SAFETY: the crate passes pointers to live values only.
    unsafe { wasi::path_unlink_file(3, "unlinked") }.expect("can unlink");
    assert_eq!(whole(fd), b"still here");
    assert_eq!(close(fd), Ok(()));

    // Reading only: writes are refused.
    // SAFETY: the crate passes pointers to live values only.
    let fd = unsafe { wasi::path_open(3, 0, "hello.txt", 0, wasi::RIGHTS_FD_READ, 0, 0) };
    let fd = fd.expect("can open for reading");
    assert_eq!(write(fd, &[b"x"]), Err(wasi::ERRNO_BADF));
    assert_eq!(close(fd), Ok(()));
}

fn fixture() {
    let text = std::fs::read_to_string("/work/hello.txt").expect("the fixture is there");
    assert_eq!(text, "hello from the fixture\n");
    let numbers = std::fs::read_to_string("/work/numbers.txt").expect("the fixture is there");
    assert_eq!(numbers.lines().map(|n| n.parse::<u32>().expect("a number")).sum::<u32>(), 20_100);
    let meta = std::fs::metadata("/work/sub/deeper/leaf.txt").expect("the fixture is there");
    assert!(meta.is_file() && meta.len() == 5);
    std::fs::copy("/work/numbers.txt", "/work/copy.txt").expect("can copy");
    assert_eq!(std::fs::read_to_string("/work/copy.txt").expect("can read"), numbers);
}

fn tell(fd: wasi::Fd) -> u64 {
    // SAFETY: the crate passes pointers to live values only.
    unsafe { wasi::fd_tell(fd) }.expect("an open file has a position")
}

fn fdflags(fd: wasi::Fd) -> wasi::Fdflags {
    // SAFETY: the crate passes pointers to live values only.
    let stat = unsafe { wasi::fd_fdstat_get(fd) }.expect("an open file has a status");
    assert_eq!(stat.fs_filetype, wasi::FILETYPE_REGULAR_FILE);
    stat.fs_flags
}

/// The file's contents; its position stays where it was.
fn whole(fd: wasi::Fd) -> Vec<u8> {
    let mut bytes = vec![0; size(fd) as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        let count = pread(fd, &mut [&mut bytes[filled..]], filled as u64).expect("can read");
        assert!(count > 0, "the file is shorter than its size");
        filled += count;
    }
    bytes
}
