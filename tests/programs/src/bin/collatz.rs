//# args: 300
//! Computes for as long as it is asked to, with little input and output: memory that changes, a deep and a shallow stack,
//! a line now and then.

use std::collections::BTreeMap;

fn length(n: u64, known: &mut BTreeMap<u64, u32>) -> u32 {
    if n == 1 {
        return 1;
    }
    if let Some(&length) = known.get(&n) {
        return length;
    }
    let next = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
    let length = 1 + length(next, known);
    known.insert(n, length);
    length
}

fn main() {
    let rounds: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100);
    let mut known = BTreeMap::new();
    let mut sum = 0u64;
    for round in 0..rounds {
        for n in 1..100 {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(length(round * 100 + n, &mut known)));
        }
        if round % 50 == 49 {
            println!("{round} {sum:x} {}", known.len());
        }
        if known.len() > 50_000 {
            known.clear();
        }
    }
}
