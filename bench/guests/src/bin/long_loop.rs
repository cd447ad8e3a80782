//! One activation of one function from beginning to end: `long_loop integers|matrix SIZE` works in 100 parts, in
//! loops of `main`, and prints the seconds that parts 60 to 100 took. A run that is resumed at 50 % resumes in there.

use std::hint::black_box;
use std::time::Instant;

const PARTS: usize = 100;
const MEASURED_FROM: usize = 60;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let size = args[2].parse().expect("a size");
    let seconds = match args[1].as_str() {
        "integers" => integers(size),
        "matrix" => matrix(size),
        other => panic!("no loop is called {other}"),
    };
    println!("last parts: {seconds:.4} s");
}

/// `millions` steps of a generator in each part.
fn integers(millions: usize) -> f64 {
    let mut state = 88_172_645_463_325_252u64;
    let mut from = None;
    for part in 0..PARTS {
        if part == MEASURED_FROM {
            from = Some(Instant::now());
        }
        for _ in 0..millions * 1_000_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
    }
    black_box(state);
    from.expect("the mark was passed").elapsed().as_secs_f64()
}

/// Each part computes a hundredth of the rows of a matrix product.
fn matrix(size: usize) -> f64 {
    let a: Vec<f64> = (0..size * size).map(|i| (i % 1013) as f64 * 0.5).collect();
    let b: Vec<f64> = (0..size * size).map(|i| (i % 1009) as f64 * 0.25).collect();
    let mut from = None;
    let mut total = 0.0;
    for part in 0..PARTS {
        if part == MEASURED_FROM {
            from = Some(Instant::now());
        }
        for i in part * size / PARTS..(part + 1) * size / PARTS {
            for j in 0..size {
                let mut sum = 0.0;
                for k in 0..size {
                    sum += a[i * size + k] * b[k * size + j];
                }
                total += sum;
            }
        }
    }
    black_box(total);
    from.expect("the mark was passed").elapsed().as_secs_f64()
}
