//! Start-up: the least that a program does.

fn main() {
    println!("hello");
}
