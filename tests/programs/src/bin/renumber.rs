//# dir: /work
//# stdout: through 1\nthrough another number\n
//! `fd_renumber` moves a descriptor; the old number is closed, the number it moved to is replaced.

use wrr_test_programs::{WORK, close, open, pread, read, size, write};

fn main() {
    let first = open("first", wasi::OFLAGS_CREAT, 0).expect("can create");
    let second = open("second", wasi::OFLAGS_CREAT, 0).expect("can create");
    assert_ne!(first, second);
    write(first, &[b"first"]).expect("can write");
    write(second, &[b"second file"]).expect("can write");

    // SAFETY: no pointers are involved.
    unsafe {
        wasi::fd_renumber(first, second).expect("can renumber");
        assert_eq!(size(second), 5, "the number now means the first file");
        assert_eq!(close(first), Err(wasi::ERRNO_BADF), "the old number is closed");
        assert_eq!(write(second, &[b"+"]), Ok(1), "the position moved along");
        let mut buf = [0; 8];
        assert_eq!(pread(second, &mut [&mut buf], 0), Ok(6));
        assert_eq!(&buf[..6], b"first+");

        assert_eq!(wasi::fd_renumber(first, second), Err(wasi::ERRNO_BADF), "from a closed one");
        assert_eq!(wasi::fd_renumber(99, second), Err(wasi::ERRNO_BADF), "from one that never was");

        write(1, &[b"through 1\n"]).expect("can write");
        wasi::fd_renumber(1, second).expect("can renumber stdout");
        write(second, &[b"through another number\n"]).expect("can write");
        assert_eq!(write(1, &[b"lost"]), Err(wasi::ERRNO_BADF));
    }
    // The number of a closed descriptor may be used again, but must not be used twice.
    let third = open("first", 0, 0).expect("can open");
    let fourth = open("second", 0, 0).expect("can open");
    assert!(third != fourth && third != second && fourth != second);
    assert!(![0, 2, WORK].contains(&third) && ![0, 2, WORK].contains(&fourth));
    assert_eq!((size(third), size(fourth)), (6, 11));

    assert_eq!(close(third), Ok(()));
    assert_eq!(read(third, &mut [&mut [0; 4]]), Err(wasi::ERRNO_BADF));
    // SAFETY: no pointers are involved.
    assert_eq!(unsafe { wasi::fd_sync(third) }, Err(wasi::ERRNO_BADF));
}
