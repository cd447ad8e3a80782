//! Input throughput: `read_file PATH` reads a file to its end in pieces of 64 KiB, and prints its size.

use std::fs::File;
use std::os::fd::AsRawFd;
use wasi::wasi_snapshot_preview1 as raw;

const PIECE_BYTES: usize = 64 << 10;

fn main() {
    let path = std::env::args().nth(1).expect("usage: read_file PATH");
    let file = File::open(&path).expect("the file can be opened");
    let mut piece = vec![0u8; PIECE_BYTES];
    let vector = wasi::Iovec { buf: piece.as_mut_ptr(), buf_len: piece.len() };
    let mut count = 0u32;
    let mut total = 0u64;
    loop {
        // SAFETY: vector, buffer and result are live.
        let errno = unsafe {
            raw::fd_read(file.as_raw_fd(), (&raw const vector) as i32, 1, (&raw mut count) as i32)
        };
        assert_eq!(errno, 0);
        if count == 0 {
            break;
        }
        total += u64::from(count);
    }
    println!("{total} bytes");
}
