//! Measures each dirty-page tracker that works on this machine, on 256 MiB.
//!
//! `cargo run --release -p wrr-pages --example trackers`. The memory has contents everywhere;
//! writes are spread over it evenly. Each number is the median of several rounds.

use std::time::{Duration, Instant};
use wrr_pages::{DirtyTracker, Mapping, PAGE_BYTES, PageMap, PageStore, TrackerKind};

const MEMORY_BYTES: usize = 256 << 20;
const PAGES: usize = MEMORY_BYTES / PAGE_BYTES;
const ROUNDS: usize = 15;

fn median_us(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort();
    rounds[rounds.len() / 2].as_secs_f64() * 1e6
}

/// Writes `count` pages; returns the time for all of them.
fn write(memory: &Mapping, count: usize, round: usize) -> Duration {
    let start = Instant::now();
    for index in 0..count {
        let page = index * (PAGES / count) % PAGES;
        // SAFETY: the page is accessible, and only this thread knows the memory.
        unsafe { memory.base().add(page * PAGE_BYTES + 64).write_volatile(round as u8) };
    }
    start.elapsed()
}

/// Median times in microseconds: of all writes, and of the `take` after them.
fn measure(tracker: &mut dyn DirtyTracker, memory: &Mapping, count: usize) -> (f64, f64) {
    let (mut writes, mut takes) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        writes.push(write(memory, count, round + 1));
        let start = Instant::now();
        let dirty = tracker.take().expect("take");
        takes.push(start.elapsed());
        assert!(dirty.count() >= count);
    }
    (median_us(writes), median_us(takes))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for kind in TrackerKind::ALL {
        if let Err(error) = kind.probe() {
            println!("{kind}: skipped, {error}");
        }
    }
    let mut memory = Mapping::reserve(MEMORY_BYTES, MEMORY_BYTES, 0)?;
    for (page, bytes) in memory.bytes_mut().chunks_mut(PAGE_BYTES).enumerate() {
        bytes[..8].copy_from_slice(&(page as u64 + 1).to_le_bytes());
    }

    println!();
    println!("| tracker | first write to a page | take, 0 / 1 / 10,000 pages | attach |");
    println!("|---|---|---|---|");
    let plain = median_us((0..ROUNDS).map(|round| write(&memory, 10_000, round)).collect());
    for kind in TrackerKind::available() {
        let mut tracker = kind.create()?;
        let start = Instant::now();
        // SAFETY: the tracker is dropped before the mapping; only this thread has either.
        unsafe { tracker.attach(memory.region()?)? };
        let attach_us = start.elapsed().as_secs_f64() * 1e6;
        let (_, none_us) = measure(tracker.as_mut(), &memory, 0);
        let (_, one_us) = measure(tracker.as_mut(), &memory, 1);
        let (writes_us, many_us) = measure(tracker.as_mut(), &memory, 10_000);
        let first_us = (writes_us - plain) / 1e4;
        println!(
            "| {kind} | {:.2} us | {none_us:.0} us / {one_us:.0} us / {:.2} ms | {:.1} ms |",
            first_us.max(0.0),
            many_us / 1e3,
            attach_us / 1e3
        );
    }

    let mut store = PageStore::new();
    let start = Instant::now();
    let mut map = PageMap::from_memory(memory.bytes(), &mut store)?;
    println!(
        "\nall {PAGES} pages hashed and collected in {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    drop(store.take_new());
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        write(&memory, 1000, 100 + round);
        let dirty =
            (0..1000).map(|index| (index * (PAGES / 1000)) as u32).map(|page| page..page + 1);
        let dirty = dirty.collect();
        let start = Instant::now();
        map.update(&dirty, memory.bytes(), &mut store)?;
        rounds.push(start.elapsed());
        drop(store.take_new());
    }
    println!("update of a page map with 1,000 dirty pages: {:.0} us", median_us(rounds));
    let start = Instant::now();
    let runs = map.runs().count();
    println!("{runs} runs listed in {:.0} us", start.elapsed().as_secs_f64() * 1e6);
    Ok(())
}
