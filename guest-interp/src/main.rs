//! The Python that `wrr py` runs: RustPython with its standard library inside, and what a debugger needs of it.

mod allocator;
mod debug;

use allocator::Noting;
use rustpython::{InterpreterBuilder, InterpreterBuilderExt};

#[global_allocator]
static ALLOCATOR: Noting = Noting::new();

fn main() -> std::process::ExitCode {
    rustpython::run(InterpreterBuilder::new().init_stdlib())
}
