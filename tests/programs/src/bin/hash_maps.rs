//! A hash map under churn: its order depends on a random seed, its contents do not.

use std::collections::HashMap;

const STEPS: u64 = 50_000;

fn main() {
    let mut map = HashMap::new();
    for step in 0..STEPS {
        *map.entry(step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52).or_insert(0u64) += step;
        if step % 3 == 0 {
            map.remove(&(step % 4096));
        }
    }
    let sum: u64 = map.iter().map(|(key, value)| key ^ value).fold(0, u64::wrapping_add);
    let first: Vec<String> = map.keys().take(5).map(u64::to_string).collect();
    println!("{} entries, sum {sum:x}, begins with {}", map.len(), first.join(" "));
}
