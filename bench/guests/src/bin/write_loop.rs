//! The cost of a small output: `write_loop [CALLS]` writes one byte to standard output that often.
//!
//! Redirect standard output to a null device; the summary goes to standard error.

use wasi::wasi_snapshot_preview1 as raw;

const CALLS_DEFAULT: u64 = 1_000_000;
const STDOUT: i32 = 1;

fn main() {
    let calls =
        std::env::args().nth(1).map_or(CALLS_DEFAULT, |n| n.parse().expect("a number of calls"));
    let byte = b'.';
    let vector = wasi::Ciovec { buf: &raw const byte, buf_len: 1 };
    let mut written = 0u32;
    let mut total = 0u64;
    for _ in 0..calls {
        // SAFETY: vector, byte and result are live.
        let errno = unsafe {
            raw::fd_write(STDOUT, (&raw const vector) as i32, 1, (&raw mut written) as i32)
        };
        assert_eq!(errno, 0);
        total += u64::from(written);
    }
    assert_eq!(total, calls);
    eprintln!("{calls} calls");
}
