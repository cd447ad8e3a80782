//! All clock ids; resolution; monotonicity; a sleep lasts at least as long as it was asked to.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SLEEP: Duration = Duration::from_millis(5);

fn main() {
    for id in [wasi::CLOCKID_REALTIME, wasi::CLOCKID_MONOTONIC] {
        // SAFETY: the crate passes pointers to live values only.
        let resolution_ns = unsafe { wasi::clock_res_get(id) }.expect("this clock exists");
        assert!(resolution_ns > 0 && resolution_ns <= 1_000_000_000);
        println!("clock {}: resolution {resolution_ns}", id.raw());
    }
    for id in [wasi::CLOCKID_PROCESS_CPUTIME_ID, wasi::CLOCKID_THREAD_CPUTIME_ID] {
        // SAFETY: the crate passes pointers to live values only.
        let (resolution, time) = unsafe { (wasi::clock_res_get(id), wasi::clock_time_get(id, 0)) };
        assert_eq!(resolution.is_ok(), time.is_ok());
        println!("clock {}: {:?} {:?}", id.raw(), resolution, time);
    }
    let mut last_ns = 0;
    for _ in 0..1000 {
        // SAFETY: the crate passes pointers to live values only.
        let now_ns = unsafe { wasi::clock_time_get(wasi::CLOCKID_MONOTONIC, 1) }.expect("a time");
        assert!(now_ns >= last_ns, "monotonic time went back");
        last_ns = now_ns;
    }

    let before = Instant::now();
    std::thread::sleep(SLEEP);
    let slept = before.elapsed();
    assert!(slept >= SLEEP, "slept for only {slept:?}");
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    println!("slept {slept:?}, ends at {:?}", since_epoch.expect("after 1970"));
}
