//! A serial number that is checked in stages, each of which is only reached past the one before.
//!
//! ```text
//! serial := "WRR-" letter:8 check:u32 key:u64
//! ```
//!
//! Bug 15: a serial number passes.

use std::hint::black_box;
use wrr_fuzz_targets::{Reader, fuzz_target};

const LENGTH_BYTES: usize = 24;
/// What the eight letters are after their shift.
const LETTERS: [u8; 8] = [0x5e, 0x44, 0x4a, 0x56, 0x64, 0x6c, 0x57, 0x66];
const CHECK: u32 = 0x5a0f_c3d1;
const KEY: u64 = 0x1d8f_03b6_e27a_94c5;

fuzz_target!(|data: &[u8]| {
    black_box(check(data));
});

/// The stage that a serial number fails at.
fn check(serial: &[u8]) -> u8 {
    if serial.len() != LENGTH_BYTES {
        return 0;
    }
    stages(&mut Reader::new(serial)).unwrap_or(0)
}

fn stages(serial: &mut Reader) -> Option<u8> {
    if serial.bytes(4)? != b"WRR-" {
        return Some(1);
    }
    for (place, expected) in (0..).zip(LETTERS) {
        let letter = serial.u8()?;
        if (letter ^ 0x15).wrapping_add(3 * place) != expected {
            return Some(2);
        }
    }
    if serial.u32()? ^ 0x0bad_5eed != CHECK {
        return Some(3);
    }
    let key = u64::from(serial.u32()?) | u64::from(serial.u32()?) << 32;
    if key.wrapping_add(0x0123_4567_89ab_cdef) != KEY {
        return Some(4);
    }
    bug_15_accept(key);
    Some(5)
}

#[inline(never)]
fn bug_15_accept(key: u64) {
    panic!("the serial number with the key {key:#x} is valid");
}
