//! LZMA in its oldest container, `.lzma`, by lzma-rs.

use lzma_rs::decompress::Options;
use std::hint::black_box;
use wrr_bench_fuzz_targets::{BoundedOutput, OUTPUT_BYTES_MAX};
use wrr_fuzz_targets::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = data;
    let mut output = BoundedOutput::default();
    let options = Options { memlimit: Some(OUTPUT_BYTES_MAX), ..Options::default() };
    let _ = black_box(lzma_rs::lzma_decompress_with_options(&mut input, &mut output, &options));
    black_box(output);
});
