//# stdout: 4066 distinct of 20000: 3ad650d0e01d96d1\n
//! Allocation churn: many small and some large blocks, memory that grows and is used again.

use std::collections::BTreeMap;
use wrr_test_programs::checksum;

const ROUNDS: u32 = 40;
const WORDS: u32 = 500;

fn main() {
    let mut state = 1u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut kept: Vec<String> = Vec::new();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut hash = 0u64;
    for round in 0..ROUNDS {
        let mut words: Vec<String> =
            (0..WORDS).map(|_| format!("{:x}", next() % 4096).repeat(3)).collect();
        words.sort();
        for word in &words {
            *counts.entry(word.clone()).or_default() += 1;
        }
        kept.push(words.concat());
        if round % 5 == 4 {
            kept.remove(0);
        }
        let large = vec![(round & 0xff) as u8; 200_000 + round as usize * 1000];
        hash = hash.rotate_left(7) ^ checksum(&large[..1000]) ^ checksum(kept[0].as_bytes());
    }
    let distinct = counts.len();
    let total: u32 = counts.values().sum();
    assert_eq!(total, ROUNDS * WORDS);
    println!("{distinct} distinct of {total}: {hash:016x}");
}
