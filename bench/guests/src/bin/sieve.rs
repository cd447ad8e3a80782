//! Byte stores with growing strides: `sieve [LIMIT]` counts primes with the sieve of Eratosthenes, ten times.

const LIMIT_DEFAULT: usize = 50_000_000;
const ROUNDS: usize = 10;

fn main() {
    let limit = std::env::args().nth(1).map_or(LIMIT_DEFAULT, |n| n.parse().expect("a limit"));
    let total: usize = (0..ROUNDS).map(|round| primes_up_to(limit + round)).sum();
    println!("sieve {total}");
}

fn primes_up_to(limit: usize) -> usize {
    let mut composite = vec![false; limit + 1];
    let mut n = 2;
    while n * n <= limit {
        if !composite[n] {
            for multiple in (n * n..=limit).step_by(n) {
                composite[multiple] = true;
            }
        }
        n += 1;
    }
    composite[2..].iter().filter(|composite| !**composite).count()
}
