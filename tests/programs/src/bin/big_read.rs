//# dir: /work
//# stdout: 3145728 bytes, checksum as written\n
//! Reads back a 3 MiB file in pieces of 64 KiB: what went out comes in again.

use wrr_test_programs::{checksum, close, open, read, write};

const TOTAL_BYTES: usize = 3 << 20;
const PIECE_BYTES: usize = 64 << 10;

fn main() {
    let mut state = 12_345u32;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(TOTAL_BYTES)
    .collect();
    let fd = open("big", wasi::OFLAGS_CREAT, 0).expect("can create");
    let mut rest = data.as_slice();
    while !rest.is_empty() {
        rest = &rest[write(fd, &[rest]).expect("can write")..];
    }
    assert_eq!(close(fd), Ok(()));

    let fd = open("big", 0, 0).expect("can open");
    let mut back = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = read(fd, &mut [&mut piece]).expect("can read");
        if count == 0 {
            break;
        }
        back.extend_from_slice(&piece[..count]);
    }
    assert_eq!(checksum(&back), checksum(&data));
    println!("{} bytes, checksum as written", back.len());
}
