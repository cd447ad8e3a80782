//! The Python that `wrr py` runs: RustPython with its standard library inside, and what a debugger needs of it.

mod debug;

use rustpython::{InterpreterBuilder, InterpreterBuilderExt};

fn main() -> std::process::ExitCode {
    rustpython::run(InterpreterBuilder::new().init_stdlib())
}
