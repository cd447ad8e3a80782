//# stdout: f64 0/0: 7ff8000000000000\nf64 inf-inf: 7ff8000000000000\nf64 inf*0: 7ff8000000000000\nf64 nan+1: 7ff8000000000000\nf64 payload+1: 7ff8000000000000\nf64 sqrt(-1): 7ff8000000000000\nf64 inf/inf: 7ff8000000000000\nf64 floor(payload): 7ff8000000000000\nf64 trunc(nan): 7ff8000000000000\nf32 0/0: 7fc00000\nf32 inf-inf: 7fc00000\nf32 nan*2: 7fc00000\nf32 sqrt(-1): 7fc00000\nf32 from f64 payload: 7fc00000\n-0: 8000000000000000\nmin: 8000000000000000\nmax: 1.0 inf\ndenormal: 0005555555555555\nsin: bfd6664b2568d867\nsaturated: 0 9223372036854775807 0\n
//! Bit patterns of results that are not a number are the canonical ones on every CPU.

#![allow(clippy::eq_op, reason = "operations that give no number are the point")]

use std::hint::black_box;

fn main() {
    let (zero, inf, nan) = (black_box(0.0f64), black_box(f64::INFINITY), black_box(f64::NAN));
    let negative_payload = black_box(f64::from_bits(0xfff8_0000_0000_1234));
    let wide = [
        ("0/0", zero / zero),
        ("inf-inf", inf - inf),
        ("inf*0", inf * zero),
        ("nan+1", nan + black_box(1.0)),
        ("payload+1", negative_payload + black_box(1.0)),
        ("sqrt(-1)", black_box(-1.0f64).sqrt()),
        ("inf/inf", inf / inf),
        ("floor(payload)", negative_payload.floor()),
        ("trunc(nan)", nan.trunc()),
    ];
    for (what, value) in wide {
        assert!(value.is_nan());
        println!("f64 {what}: {:016x}", value.to_bits());
    }

    let (zero, inf, nan) = (black_box(0.0f32), black_box(f32::INFINITY), black_box(f32::NAN));
    let narrow = [
        ("0/0", zero / zero),
        ("inf-inf", inf - inf),
        ("nan*2", nan * black_box(2.0)),
        ("sqrt(-1)", black_box(-1.0f32).sqrt()),
        ("from f64 payload", negative_payload as f32),
    ];
    for (what, value) in narrow {
        assert!(value.is_nan());
        println!("f32 {what}: {:08x}", value.to_bits());
    }

    println!("-0: {:016x}", (black_box(-0.0f64) + black_box(-0.0)).to_bits());
    println!("min: {:016x}", black_box(-0.0f64).min(black_box(1.0)).to_bits());
    println!("max: {:?} {:?}", nan.max(1.0), black_box(f32::MAX) * 2.0);
    println!("denormal: {:016x}", (black_box(f64::MIN_POSITIVE) / 3.0).to_bits());
    println!("sin: {:016x}", black_box(1e6f64).sin().to_bits());
    println!("saturated: {} {} {}", nan as i32, inf as i64, black_box(-1e30f64) as u8);
}
