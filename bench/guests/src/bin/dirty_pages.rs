//! What a guest feels of checkpoints: `dirty_pages PAGES SECONDS` writes to that many 4 KiB pages of 64 MiB, spread
//! evenly and the same each time, between two readings of the clock; prints the longest times between readings.

use std::time::Instant;

const MEMORY_BYTES: usize = 64 << 20;
const PAGE_BYTES: usize = 4 << 10;
const READINGS_MAX: usize = 4 << 20;

fn main() {
    let mut args = std::env::args().skip(1).map(|n| n.parse::<u64>().expect("a number"));
    let (Some(pages), Some(seconds)) = (args.next(), args.next()) else {
        panic!("usage: dirty_pages PAGES SECONDS");
    };
    let mut memory = contents();
    let mut gaps_ns = Vec::with_capacity(READINGS_MAX);
    let start = Instant::now();
    let mut last = start;
    while last.duration_since(start).as_secs() < seconds && gaps_ns.len() < READINGS_MAX {
        write_to(&mut memory, pages as usize, gaps_ns.len() as u64);
        let now = Instant::now();
        gaps_ns.push(now.duration_since(last).as_nanos() as u32);
        last = now;
    }
    report(gaps_ns);
}

/// Numbers of 20 bits: neither all the same nor impossible to compress.
fn contents() -> Vec<u8> {
    let words = MEMORY_BYTES as u32 / 4;
    (0..words).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 12).to_le_bytes()).collect()
}

fn write_to(memory: &mut [u8], pages: usize, round: u64) {
    let spacing = MEMORY_BYTES / PAGE_BYTES / pages * PAGE_BYTES;
    for (i, page) in memory.chunks_exact_mut(spacing).take(pages).enumerate() {
        page[..8].copy_from_slice(&(round << 16 | i as u64).to_le_bytes());
    }
}

fn report(mut gaps_ns: Vec<u32>) {
    gaps_ns.sort_unstable();
    let us = |ns: u32| f64::from(ns) / 1e3;
    let quantile = |share: f64| us(gaps_ns[(gaps_ns.len() as f64 * share) as usize]);
    println!(
        "rounds {} p50_us {:.1} p99_us {:.1} max_us {:.1}",
        gaps_ns.len(),
        quantile(0.5),
        quantile(0.99),
        us(gaps_ns[gaps_ns.len() - 1])
    );
}
