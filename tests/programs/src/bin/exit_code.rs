//# exit: 42
//# stdout: leaving\n
//! The exit code is passed on, and nothing after the exit happens.

fn main() {
    println!("leaving");
    std::process::exit(42);
}
