//# stdout: attempt 2, 3 in memory\nunknown\n
//! Goes back twice, in memory as well, and then does not. It writes nothing in between: a replay does not repeat what was taken
//! back.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static WRITTEN: AtomicU32 = AtomicU32::new(3);

fn deep(left: u32) {
    if left > 0 {
        WRITTEN.fetch_add(left, Relaxed);
        return deep(left - 1);
    }
    wrr_guest::rollback("start");
}

fn main() {
    let large = vec![1_u8; 100_000];
    let attempt = wrr_guest::checkpoint("start");
    assert_eq!(WRITTEN.load(Relaxed), 3);
    assert!(large.iter().all(|byte| *byte == 1));
    if attempt < 2 {
        deep(5);
    }
    println!("attempt {attempt}, {} in memory", WRITTEN.load(Relaxed));
    assert_eq!(wrr_guest::rollback("nothing"), wrr_guest::Failure::Unknown);
    println!("unknown");
}
