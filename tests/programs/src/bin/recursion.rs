//# stdout: bottom\na28b1f46\n
//! 20,000 frames deep with output at the bottom: deep, but not too deep.

use std::hint::black_box;

const DEPTH: u32 = 20_000;

fn main() {
    let result = descend(black_box(DEPTH), 1);
    println!("{:08x}", result as u32);
}

/// Not a tail call, and without anything that needs the stack in linear memory.
#[inline(never)]
fn descend(depth: u32, value: u64) -> u64 {
    if depth == 0 {
        println!("bottom");
        return value;
    }
    let below = descend(depth - 1, value.wrapping_mul(31).wrapping_add(u64::from(depth)));
    below.rotate_left(5) ^ u64::from(depth)
}
