//! 4 MiB to standard output in pieces of odd sizes, with standard error in between.

use wrr_test_programs::write;

const TOTAL_BYTES: usize = 4 << 20;

fn main() {
    let pattern: Vec<u8> = (0..100_000u32).map(|n| b'a' + (n * n % 26) as u8).collect();
    let (mut written, mut pieces, mut piece_bytes) = (0, 0, 1);
    while written < TOTAL_BYTES {
        let count = piece_bytes.min(TOTAL_BYTES - written);
        let mut rest = &pattern[..count];
        while !rest.is_empty() {
            rest = &rest[write(1, &[rest]).expect("can write")..];
        }
        written += count;
        pieces += 1;
        if pieces % 50 == 0 {
            eprintln!("{written}");
        }
        piece_bytes = piece_bytes * 7 % 40_009 + 1;
    }
    eprintln!("{written} bytes in {pieces} pieces");
}
