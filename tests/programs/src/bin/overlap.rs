//# dir: /work
//! Buffers that overlap each other, their own vector array or the place for the result.
//!
//! What they hold afterwards is the host's choice; it is printed, because a replay must make the same one.

use wasi::wasi_snapshot_preview1 as raw;
use wrr_test_programs::{checksum, open, seek};

/// Room for two vectors, a result and data, 8-byte aligned.
#[repr(C, align(8))]
struct Arena([u8; 256]);

fn main() {
    let fd = open("numbers.txt", 0, 0).expect("can open") as i32;
    let mut arena = Arena([0xaa; 256]);
    let base = arena.0.as_mut_ptr() as u32;

    put(&mut arena, 0, &[base + 64, 32, base + 80, 32]);
    run("vectors that overlap", fd, &mut arena, 2, 200);

    put(&mut arena, 0, &[base, 24]);
    run("a vector that covers the array", fd, &mut arena, 1, 200);

    put(&mut arena, 0, &[base + 96, 64]);
    run("a result inside the buffer", fd, &mut arena, 1, 104);

    put(&mut arena, 0, &[base + 64, 8]);
    run("a result inside the array", fd, &mut arena, 1, 0);

    put(&mut arena, 0, &[base, 0, base + 4, 0]);
    run("empty vectors", fd, &mut arena, 2, 200);
    run("no vectors", fd, &mut arena, 0, 200);

    // Output of the array that describes it.
    let out = open("out", wasi::OFLAGS_CREAT, 0).expect("can create") as i32;
    let mut described = [0u32; 2];
    described[0] = (&raw const described) as u32;
    described[1] = 8;
    let mut written = 0u32;
    // SAFETY: the vector points to itself, which is live.
    let errno =
        unsafe { raw::fd_write(out, (&raw const described) as i32, 1, (&raw mut written) as i32) };
    assert_eq!((errno, written), (0, 8));
}

fn run(what: &str, fd: i32, arena: &mut Arena, vectors: i32, result_at: usize) {
    seek(fd as u32, 0, wasi::WHENCE_SET).expect("can seek");
    let base = arena.0.as_mut_ptr() as i32;
    // SAFETY: vectors, buffers and result all lie inside the arena.
    let errno = unsafe { raw::fd_read(fd, base, vectors, base + result_at as i32) };
    let result: [u8; 4] = arena.0[result_at..result_at + 4].try_into().expect("four bytes");
    let data = &mut arena.0;
    println!(
        "{what}: errno {errno}, result {}, {:016x}",
        u32::from_le_bytes(result),
        checksum(&data[16..])
    );
    assert_eq!(errno, 0);
    data.fill(0xaa);
}

fn put(arena: &mut Arena, at: usize, words: &[u32]) {
    for (index, word) in words.iter().enumerate() {
        let at = at + index * 4;
        arena.0[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
}
