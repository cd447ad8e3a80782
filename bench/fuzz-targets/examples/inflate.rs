//! Raw DEFLATE, by miniz_oxide.

use miniz_oxide::inflate::decompress_to_vec_with_limit;
use std::hint::black_box;
use wrr_bench_fuzz_targets::OUTPUT_BYTES_MAX;
use wrr_fuzz_targets::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = black_box(decompress_to_vec_with_limit(data, OUTPUT_BYTES_MAX));
});
