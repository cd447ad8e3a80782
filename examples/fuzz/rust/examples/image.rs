//! A picture with a palette, packed as runs.
//!
//! ```text
//! file    := "PIX1" width:u32 height:u32 colours:u8 palette run*
//! palette := (red:u8 green:u8 blue:u8) for each colour
//! run     := length:u8 colour:u8
//! ```
//!
//! Bugs 5 (the check of a colour's index is off by one) and 9 (width times height wraps).

use std::hint::black_box;
use wrr_fuzz_targets::{Reader, fuzz_target};

/// Neither side may be longer than this.
const SIDE_PIXELS_MAX: u32 = 1 << 24;
const AREA_PIXELS_MAX: u32 = 1 << 16;

#[derive(Clone, Copy)]
struct Colour {
    red: u8,
    green: u8,
    blue: u8,
}

fuzz_target!(|data: &[u8]| {
    black_box(parse(data));
});

/// The picture in shades of grey.
fn parse(data: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(data);
    if reader.bytes(4)? != b"PIX1" {
        return None;
    }
    let width = reader.u32()?;
    let height = reader.u32()?;
    if width == 0 || height == 0 || width > SIDE_PIXELS_MAX || height > SIDE_PIXELS_MAX {
        return None;
    }
    let mut canvas = bug_09_canvas(width, height)?;

    let colours = reader.u8()?;
    let mut palette = Vec::with_capacity(colours.into());
    for _ in 0..colours {
        palette.push(Colour { red: reader.u8()?, green: reader.u8()?, blue: reader.u8()? });
    }

    let mut at = 0;
    while !reader.is_empty() {
        let length = usize::from(reader.u8()?);
        let index = usize::from(reader.u8()?);
        let run = canvas.get_mut(at..at + length)?;
        run.fill(shade(bug_05_colour(&palette, index)?));
        at += length;
    }
    Some(canvas)
}

fn shade(colour: Colour) -> u8 {
    let sum = 2 * u32::from(colour.red) + 5 * u32::from(colour.green) + u32::from(colour.blue);
    (sum / 8) as u8
}

/// Bug: an index that is just behind the palette passes.
#[inline(never)]
fn bug_05_colour(palette: &[Colour], index: usize) -> Option<Colour> {
    if index > palette.len() {
        return None;
    }
    Some(palette[index])
}

/// An empty picture with a mark at the start of each row.
///
/// Bug: the area wraps around, so that a huge picture looks small enough.
#[inline(never)]
fn bug_09_canvas(width: u32, height: u32) -> Option<Vec<u8>> {
    let area = width.wrapping_mul(height);
    if area > AREA_PIXELS_MAX {
        return None;
    }
    let mut canvas = vec![0; area as usize];
    let start: *mut u8 = canvas.as_mut_ptr();
    for row in 0..height {
        let offset = row.wrapping_mul(width) as usize;
        // SAFETY: row < height, so the offset is below the area, unless that has wrapped. Which is
        // the bug.
        unsafe { start.wrapping_add(offset).write_volatile(0xff) };
    }
    Some(canvas)
}
