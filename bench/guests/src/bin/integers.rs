//! The tightest loop: `integers [MILLIONS]` runs that many million steps of a generator, one after the other.

const MILLIONS_DEFAULT: u64 = 1_500;

fn main() {
    let millions =
        std::env::args().nth(1).map_or(MILLIONS_DEFAULT, |n| n.parse().expect("a number"));
    let mut state = 88_172_645_463_325_252u64;
    for _ in 0..millions * 1_000_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    println!("integers {state}");
}
