//! PNG, by the crate of that name, without its checksums: few changed files would pass them.

use png::{Decoder, Limits};
use std::hint::black_box;
use std::io::Cursor;
use wrr_bench_fuzz_targets::OUTPUT_BYTES_MAX;
use wrr_fuzz_targets::fuzz_target;

fuzz_target!(|data: &[u8]| {
    black_box(decode(data));
});

fn decode(data: &[u8]) -> Option<Vec<u8>> {
    let mut decoder =
        Decoder::new_with_limits(Cursor::new(data), Limits { bytes: OUTPUT_BYTES_MAX });
    decoder.ignore_checksums(true);
    let mut reader = decoder.read_info().ok()?;
    let size_bytes = reader.output_buffer_size()?;
    if size_bytes > OUTPUT_BYTES_MAX {
        return None;
    }
    let mut pixels = vec![0; size_bytes];
    reader.next_frame(&mut pixels).ok()?;
    Some(pixels)
}
