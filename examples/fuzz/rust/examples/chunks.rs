//! A container of tagged chunks, some of which hold chunks again.
//!
//! ```text
//! file   := chunk*                          the first chunk is HEAD
//! chunk  := tag:4 length:u16 body:length    padded to an even length inside a LIST
//! HEAD   := version:u8 flags:u8
//! TEXT   := byte*
//! LIST   := chunk*                          at most 4 deep
//! TABL   := row*                            only in a LIST
//! row    := length:u8 cell*                 the cells fill the row exactly
//! cell   := length:u8 byte*
//! ```
//!
//! Bugs 1 (a tag of four bytes), 6 (the padding of a nested chunk) and 7 (a row with too many
//! cells).

use std::hint::black_box;
use wrr_fuzz_targets::{Reader, fuzz_target};

const HEAD: u32 = u32::from_le_bytes(*b"HEAD");
const TEXT: u32 = u32::from_le_bytes(*b"TEXT");
const LIST: u32 = u32::from_le_bytes(*b"LIST");
const TABL: u32 = u32::from_le_bytes(*b"TABL");
/// Samples, of which the average is wanted. No text tag, as it came late to the format.
const SAMPLES: u32 = 0x7bd3_41fe;

const DEPTH_MAX: usize = 4;
const COLUMNS: usize = 4;

/// What is known of a file so far.
#[derive(Default)]
struct Summary {
    version: u8,
    text_bytes: usize,
    average: u8,
    column_widths: [u8; COLUMNS],
}

fuzz_target!(|data: &[u8]| {
    black_box(parse(data));
});

fn parse(data: &[u8]) -> Option<Summary> {
    let mut summary = Summary::default();
    let mut reader = Reader::new(data);
    let (tag, mut head) = chunk(&mut reader)?;
    if tag != HEAD {
        return None;
    }
    summary.version = head.u8()?;
    let flags = head.u8()?;
    if summary.version > 2 || flags & 0xf0 != 0 {
        return None;
    }
    while !reader.is_empty() {
        let (tag, body) = chunk(&mut reader)?;
        interpret(&mut summary, tag, body.rest(), 0)?;
    }
    Some(summary)
}

/// A chunk at the top level, where nothing is padded.
fn chunk<'a>(reader: &mut Reader<'a>) -> Option<(u32, Reader<'a>)> {
    let tag = reader.u32()?;
    let length = reader.u16()?;
    Some((tag, Reader::new(reader.bytes(length.into())?)))
}

fn interpret(summary: &mut Summary, tag: u32, body: &[u8], depth: usize) -> Option<()> {
    match tag {
        TEXT => summary.text_bytes += body.len(),
        LIST if depth < DEPTH_MAX => {
            let mut rest = body;
            while !rest.is_empty() {
                let (tag, body, after) = bug_06_nested_chunk(rest)?;
                interpret(summary, tag, body, depth + 1)?;
                rest = after;
            }
        }
        TABL if depth > 0 => {
            let mut table = Reader::new(body);
            while !table.is_empty() {
                let length = table.u8()?;
                bug_07_row(&mut summary.column_widths, table.bytes(length.into())?)?;
            }
        }
        SAMPLES => summary.average = bug_01_average(body),
        // A HEAD in the middle is an error, an unknown chunk is skipped.
        HEAD => return None,
        _ => (),
    }
    Some(())
}

/// Bug: there may be no samples.
#[inline(never)]
fn bug_01_average(samples: &[u8]) -> u8 {
    // The first half is the left channel, the second half the right one.
    let left = &samples[..samples.len() / 2];
    let sum: usize = left.iter().copied().map(usize::from).sum();
    (sum / left.len()) as u8
}

/// Bug: the byte that pads an odd length is taken for granted.
#[inline(never)]
fn bug_06_nested_chunk(list: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let mut reader = Reader::new(list);
    let tag = reader.u32()?;
    let length = usize::from(reader.u16()?);
    let body = reader.rest();
    if length > body.len() {
        return None;
    }
    Some((tag, &body[..length], &body[length + length % 2..]))
}

/// Bug: there may be more cells than columns.
#[inline(never)]
fn bug_07_row(column_widths: &mut [u8; COLUMNS], row: &[u8]) -> Option<()> {
    // The widths count only if the whole row is sound, so that is found out first.
    let mut cells = Reader::new(row);
    while !cells.is_empty() {
        let length = cells.u8()?;
        cells.bytes(length.into())?;
    }
    let mut cells = Reader::new(row);
    let mut column = 0;
    while !cells.is_empty() {
        let length = cells.u8()?;
        cells.bytes(length.into())?;
        column_widths[column] = column_widths[column].max(length);
        column += 1;
    }
    Some(())
}
