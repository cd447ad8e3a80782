//# stdout: hello\n
//! The smallest program with output.

fn main() {
    println!("hello");
}
