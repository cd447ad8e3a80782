//! The maze: `w`, `a`, `s` and `d` go up, left, down and right, and a wall ends the run.
//!
//! Each step leaves an `X`, which is a wall from then on, so that a long walk is one that gets
//! somewhere.
//!
//! Bug 14: somebody gets to the `#`.

use std::hint::black_box;
use wrr_fuzz_targets::fuzz_target;

const MAZE: [[u8; 11]; 7] = [
    *b"+-+---+---+",
    *b"| |     |#|",
    *b"| | --+ | |",
    *b"| |   | | |",
    *b"| +-- | | |",
    *b"|     |   |",
    *b"+-----+---+",
];

fuzz_target!(|data: &[u8]| {
    black_box(walk(data));
});

/// Where the walk ends, unless at a wall.
fn walk(steps: &[u8]) -> Option<(usize, usize)> {
    let mut maze = MAZE;
    let (mut x, mut y) = (1, 1);
    maze[y][x] = b'X';
    for step in steps {
        // There is a wall all around, so no step leaves the maze.
        match step {
            b'w' => y -= 1,
            b's' => y += 1,
            b'a' => x -= 1,
            b'd' => x += 1,
            _ => return None,
        }
        match maze[y][x] {
            b' ' => maze[y][x] = b'X',
            b'#' => bug_14_exit(x, y),
            _ => return None,
        }
    }
    Some((x, y))
}

#[inline(never)]
fn bug_14_exit(x: usize, y: usize) {
    panic!("the exit is at {x}, {y}");
}
