//# trap: unreachable
//# stdout: outer\nmiddle\n
//! A panic that aborts: a trap below named functions, so that a backtrace has something to show.

fn main() {
    outer(std::env::args().count() as u32);
}

#[inline(never)]
fn outer(count: u32) -> u32 {
    println!("outer");
    middle(count + 1) + 1
}

#[inline(never)]
fn middle(count: u32) -> u32 {
    println!("middle");
    innermost(count * 2) + 1
}

#[inline(never)]
fn innermost(count: u32) -> u32 {
    let list = std::hint::black_box([1, 2, 3]);
    assert!(list.len() > 1000 + count as usize, "the list is too short");
    list[0]
}
