//! `wrr`: the command line.
//!
//! Exit codes: 0 success, 1 a negative finding (a divergence, two traces that differ, an incomplete
//! trace that was to be verified), 2 an error. `run`, `record` and `replay` pass on the guest's own.

mod args;
mod branch;
mod commands;
mod debug;
mod files;
mod fuzz;
mod json;
mod moments;
mod progress;
#[cfg(feature = "python")]
mod py;
mod report;
mod saved;
mod signals;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(match std::env::var_os("WRR_DEBUG") {
            Some(_) => tracing::Level::DEBUG,
            None => tracing::Level::WARN,
        })
        .without_time()
        .with_target(false)
        .init();
    let arguments = args::Arguments::parse();
    match commands::carry_out(arguments.command) {
        Ok(code) => {
            // A guest's code is an i32 on Windows and a byte on Unix; only `exit` takes both.
            if let Ok(byte) = u8::try_from(code) {
                return ExitCode::from(byte);
            }
            std::process::exit(code)
        }
        Err(error) => report::failed(&error),
    }
}
