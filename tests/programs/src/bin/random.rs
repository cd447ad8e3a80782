//! Randomness reaches the guest: direct fills, hash map order, and numbers derived from them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use wrr_test_programs::checksum;

fn main() {
    let mut fills = [[0u8; 64]; 3];
    for fill in &mut fills {
        // SAFETY: the buffer is live and 64 bytes long.
        unsafe { wasi::random_get(fill.as_mut_ptr(), fill.len()) }.expect("random bytes");
    }
    assert_ne!(fills[0], fills[1]);
    assert_ne!(fills[1], fills[2]);
    // SAFETY: nothing is written.
    unsafe { wasi::random_get(fills[0].as_mut_ptr(), 0) }.expect("no bytes are possible too");
    println!("fills: {:016x}", checksum(fills.as_flattened()));

    let mut large = vec![0u8; 100_000];
    // SAFETY: the buffer is live and as long as it says.
    unsafe { wasi::random_get(large.as_mut_ptr(), large.len()) }.expect("many random bytes");
    let zeros = large.iter().filter(|byte| **byte == 0).count();
    assert!((200..700).contains(&zeros), "{zeros} zeros in {}", large.len());
    println!("large: {:016x}", checksum(&large));

    let words: HashMap<u32, u32> = (0..50).map(|n| (n, n * n)).collect();
    let order: Vec<String> = words.keys().map(u32::to_string).collect();
    assert_eq!(words.values().sum::<u32>(), (0..50).map(|n| n * n).sum());
    println!("order: {}", order.join(" "));
    println!("hash: {:016x}", RandomState::new().hash_one("wrr"));
}
