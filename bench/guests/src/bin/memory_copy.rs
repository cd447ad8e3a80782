//! Bulk memory: `memory_copy [ROUNDS]` copies 16 MiB in pieces of many sizes, and changes some bytes each round.

const ROUNDS_DEFAULT: usize = 3_000;
const BUFFER_BYTES: usize = 16 << 20;

fn main() {
    let rounds = std::env::args().nth(1).map_or(ROUNDS_DEFAULT, |n| n.parse().expect("a number"));
    let mut from: Vec<u8> = (0..BUFFER_BYTES).map(|i| (i * 131 >> 5) as u8).collect();
    let mut to = vec![0u8; BUFFER_BYTES];
    for round in 0..rounds {
        let (mut start, mut size) = (0, 16);
        while start + size <= BUFFER_BYTES {
            to[start..start + size].copy_from_slice(&from[start..start + size]);
            start += size;
            size = if size < 1 << 16 { size * 2 } else { 16 };
        }
        to[round * 4099 % BUFFER_BYTES] ^= 0x5a;
        std::mem::swap(&mut from, &mut to);
    }
    let sum =
        from.iter().step_by(61).fold(0u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    println!("memory_copy {sum}");
}
