//! Calls: `fib [N]` computes the recursive Fibonacci number.

use std::hint::black_box;

const N_DEFAULT: u32 = 43;

fn main() {
    let n = std::env::args().nth(1).map_or(N_DEFAULT, |n| n.parse().expect("a number"));
    println!("fib {}", fib(n));
}

// Hidden from the optimiser, which would make a loop of one of the two calls.
fn fib(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { black_box(fib(n - 1)) + black_box(fib(n - 2)) }
}
