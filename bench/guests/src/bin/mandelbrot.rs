//! Floating point in registers: `mandelbrot [SIZE]` counts the iterations of every point of a square picture.

const SIZE_DEFAULT: usize = 1_000;
const ITERATIONS_MAX: u32 = 200;

fn main() {
    let size = std::env::args().nth(1).map_or(SIZE_DEFAULT, |n| n.parse().expect("a size"));
    let scale = 3.0 / size as f64;
    let mut total = 0u64;
    for row in 0..size {
        for column in 0..size {
            total += u64::from(escape(column as f64 * scale - 2.0, row as f64 * scale - 1.5));
        }
    }
    println!("mandelbrot {total}");
}

fn escape(re: f64, im: f64) -> u32 {
    let (mut x, mut y) = (0.0, 0.0);
    for iteration in 0..ITERATIONS_MAX {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 4.0 {
            return iteration;
        }
        y = 2.0 * x * y + im;
        x = xx - yy + re;
    }
    ITERATIONS_MAX
}
