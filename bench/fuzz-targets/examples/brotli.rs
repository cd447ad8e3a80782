//! Brotli, by brotli-decompressor.

use brotli_decompressor::BrotliDecompress;
use std::hint::black_box;
use wrr_bench_fuzz_targets::BoundedOutput;
use wrr_fuzz_targets::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = data;
    let mut output = BoundedOutput::default();
    if is_window_small(data) {
        let _ = black_box(BrotliDecompress(&mut input, &mut output));
        black_box(output);
    }
});

/// Whether the window has at most 256 KiB. The decoder clears all of it, which for 16 MiB takes
/// longer than any input here.
fn is_window_small(data: &[u8]) -> bool {
    // RFC 7932, 9.1: the lowest bit tells 16 from a code of four bits or, if those are 0, of seven.
    data.first().is_some_and(|first| first & 1 == 0 || (first >> 1) & 7 <= 1)
}
