//! The interpreter of a small language for strings: one byte for an instruction, a stack of values.
//!
//! ```text
//! "  length:u8 bytes   push the bytes
//! :                    push the top once more
//! %                    swap the two at the top
//! .                    drop the top
//! +                    join the two at the top
//! ^                    the top in capitals
//! #                    count in the second value how often the top occurs, push that as a byte
//! =  sum:u32           the Adler-32 of the top is `sum`, or the run ends; then the mean line length
//! ```
//!
//! Bugs 4 (what follows a matching checksum) and 11 (an empty piece is found for ever).

use std::hint::black_box;
use wrr_fuzz_targets::{Reader, fuzz_target};

const VALUES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 512;
/// A shorter text is not worth a checksum.
const CHECKED_BYTES_MIN: usize = 4;

fuzz_target!(|data: &[u8]| {
    black_box(run(data));
});

/// Runs a script and answers with the value at the top of the stack.
fn run(script: &[u8]) -> Option<Vec<u8>> {
    let mut code = Reader::new(script);
    let mut stack: Vec<Vec<u8>> = Vec::new();
    while let Some(instruction) = code.u8() {
        match instruction {
            b'"' => {
                let length = code.u8()?;
                stack.push(code.bytes(length.into())?.to_vec());
            }
            b':' => {
                let top = stack.last()?.clone();
                stack.push(top);
            }
            b'%' => {
                let (top, second) = (stack.pop()?, stack.pop()?);
                stack.extend([top, second]);
            }
            b'.' => {
                stack.pop()?;
            }
            b'+' => {
                let (top, second) = (stack.pop()?, stack.last_mut()?);
                second.extend(top);
                if second.len() > VALUE_BYTES_MAX {
                    return None;
                }
            }
            b'^' => stack.last_mut()?.make_ascii_uppercase(),
            b'#' => {
                let (piece, text) = (stack.pop()?, stack.pop()?);
                stack.push(vec![bug_11_count(&text, &piece)]);
            }
            b'=' => {
                let sum = code.u32()?;
                let text = stack.pop()?;
                if text.len() < CHECKED_BYTES_MIN || sum != adler32(&text) {
                    return None;
                }
                stack.push(vec![bug_04_line_length(&text)]);
            }
            b' ' | b'\n' => (),
            _ => return None,
        }
        if stack.len() > VALUES_MAX {
            return None;
        }
    }
    stack.pop()
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1, 0);
    for &byte in bytes {
        low = (low + u32::from(byte)) % 65521;
        high = (high + low) % 65521;
    }
    high << 16 | low
}

/// Bug: a text may have no line end.
#[inline(never)]
fn bug_04_line_length(text: &[u8]) -> u8 {
    let lines = text.iter().filter(|&&byte| byte == b'\n').count();
    (text.len() / lines) as u8
}

/// Bug: behind an empty piece the search goes on where it was.
#[inline(never)]
fn bug_11_count(text: &[u8], piece: &[u8]) -> u8 {
    let mut count = 0_u8;
    let mut from = 0;
    while let Some(at) = (from..=text.len()).find(|&at| text[at..].starts_with(piece)) {
        count = count.wrapping_add(1);
        from = at + piece.len();
    }
    count
}
