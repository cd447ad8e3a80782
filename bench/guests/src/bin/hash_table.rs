//! Unpredictable memory accesses: `hash_table [OPERATIONS]` counts pseudo-random numbers in a `HashMap`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

const OPERATIONS_DEFAULT: u64 = 50_000_000;
const KEYS: u64 = 1_000_000;

/// A hash that is the same in every run.
#[derive(Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn main() {
    let operations =
        std::env::args().nth(1).map_or(OPERATIONS_DEFAULT, |n| n.parse().expect("a number"));
    let mut table: HashMap<u64, u64, BuildHasherDefault<Multiply>> = HashMap::default();
    let mut random = 88_172_645_463_325_252u64;
    for i in 0..operations {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = random % KEYS;
        if random >> 62 == 0 {
            table.remove(&key);
        } else {
            *table.entry(key).or_default() += i;
        }
    }
    let sum = table.iter().fold(0u64, |sum, (key, value)| sum.wrapping_add(key ^ value));
    println!("hash_table {} {sum}", table.len());
}
