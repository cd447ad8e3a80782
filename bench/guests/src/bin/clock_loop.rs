//! The cost of a host call that does next to nothing: `clock_loop [CALLS]` reads the monotonic clock that often.

use wasi::wasi_snapshot_preview1 as raw;

const CALLS_DEFAULT: u64 = 10_000_000;
const MONOTONIC: i32 = 1;

fn main() {
    let calls =
        std::env::args().nth(1).map_or(CALLS_DEFAULT, |n| n.parse().expect("a number of calls"));
    let mut time_ns = 0u64;
    let mut failed = 0u64;
    for _ in 0..calls {
        // SAFETY: the pointer is to a live value.
        let errno = unsafe { raw::clock_time_get(MONOTONIC, 0, (&raw mut time_ns) as i32) };
        failed += u64::from(errno != 0);
    }
    assert_eq!(failed, 0);
    println!("{calls} calls");
}
