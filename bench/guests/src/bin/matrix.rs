//! Floating point and memory: `matrix [SIZE]` multiplies two square matrices of doubles in the naive way.

const SIZE_DEFAULT: usize = 1_400;

fn main() {
    let size = std::env::args().nth(1).map_or(SIZE_DEFAULT, |n| n.parse().expect("a size"));
    let a: Vec<f64> = (0..size * size).map(|i| (i % 1013) as f64 * 0.5).collect();
    let b: Vec<f64> = (0..size * size).map(|i| (i % 1009) as f64 * 0.25).collect();
    let product = multiply(&a, &b, size);
    println!("matrix {:.3}", product.iter().sum::<f64>());
}

fn multiply(a: &[f64], b: &[f64], size: usize) -> Vec<f64> {
    let mut product = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..size {
            let mut sum = 0.0;
            for k in 0..size {
                sum += a[i * size + k] * b[k * size + j];
            }
            product[i * size + j] = sum;
        }
    }
    product
}
