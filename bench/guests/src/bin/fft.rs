//! Floating point between arrays: `fft [ROUNDS]` transforms 65,536 complex numbers there and back.

const ROUNDS_DEFAULT: usize = 60;
const LENGTH: usize = 1 << 16;

fn main() {
    let rounds = std::env::args().nth(1).map_or(ROUNDS_DEFAULT, |n| n.parse().expect("a number"));
    let mut re: Vec<f64> = (0..LENGTH).map(|i| (i % 251) as f64).collect();
    let mut im = vec![0.0; LENGTH];
    for _ in 0..rounds {
        transform(&mut re, &mut im, -1.0);
        transform(&mut re, &mut im, 1.0);
        re.iter_mut().chain(&mut im).for_each(|x| *x /= LENGTH as f64);
    }
    println!("fft {:.6}", re.iter().zip(&im).map(|(re, im)| re + im).sum::<f64>());
}

/// Cooley and Tukey's algorithm with decimation in time, in place.
fn transform(re: &mut [f64], im: &mut [f64], sign: f64) {
    let bits = LENGTH.trailing_zeros();
    for i in 0..LENGTH {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            re.swap(i, j);
            im.swap(i, j);
        }
    }
    let mut half = 1;
    while half < LENGTH {
        let (step_im, step_re) = (sign * std::f64::consts::PI / half as f64).sin_cos();
        for start in (0..LENGTH).step_by(2 * half) {
            let (mut w_re, mut w_im) = (1.0, 0.0);
            for k in start..start + half {
                let (u_re, u_im) = (re[k], im[k]);
                let t_re = re[k + half] * w_re - im[k + half] * w_im;
                let t_im = re[k + half] * w_im + im[k + half] * w_re;
                (re[k], im[k]) = (u_re + t_re, u_im + t_im);
                (re[k + half], im[k + half]) = (u_re - t_re, u_im - t_im);
                (w_re, w_im) = (w_re * step_re - w_im * step_im, w_re * step_im + w_im * step_re);
            }
        }
        half *= 2;
    }
}
