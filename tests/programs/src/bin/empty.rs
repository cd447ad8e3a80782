//# stdout:
//! Does nothing: start-up and exit alone.

fn main() {}
