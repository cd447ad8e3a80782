//! What the command line looks like.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Record a WebAssembly program, replay it bit for bit.
#[derive(Parser)]
#[command(name = "wrr", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  wrr record --dir . rg.wasm TODO        run ripgrep on this folder, write rg.wrr
  wrr replay rg.wrr                      the same output again, without the folder
  wrr events rg.wrr --from 10 --to 20    what it asked the system, and what it got

Exit codes: the program's own for run, record and replay (134 after a trap);
otherwise 0 success, 1 a difference was found, 2 an error.
Environment: WRR_CACHE names the folder for compiled modules (\"off\" for none);
WRR_DEBUG=1 explains what wrr does.";

#[derive(Subcommand)]
pub enum Command {
    /// Run a program; record nothing
    Run(ProgramArgs),
    /// Run a program and write a trace of it
    Record(RecordArgs),
    /// Run a recorded program again: same output, same exit code, nothing of this machine is used
    Replay {
        /// The trace
        file: PathBuf,
    },
    /// Show what was run, with what, and how it ended
    Info {
        /// The trace
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the host calls, a line each
    Events {
        /// The trace
        file: PathBuf,
        /// The first event to list
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: u64,
        /// The last event to list
        #[arg(long, value_name = "N")]
        to: Option<u64>,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Check every byte of a trace, then replay it silently
    Verify {
        /// The trace
        file: PathBuf,
    },
    /// Show the first event in which two traces differ, and how
    Diff {
        /// A trace
        first: PathBuf,
        /// Another trace
        second: PathBuf,
    },
}

#[derive(Args)]
pub struct RecordArgs {
    /// The trace to write [default: PROGRAM with the extension .wrr, in this folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Virtual time, seeded randomness, sorted listings, neutral file metadata: two recordings are the same file
    #[arg(long)]
    pub deterministic: bool,
    /// When the trace cannot be written any further (a full disk), stop the program or let it go on
    #[arg(long, value_enum, default_value_t = OnTraceError::Stop)]
    pub on_trace_error: OnTraceError,
    #[command(flatten)]
    pub program: ProgramArgs,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OnTraceError {
    /// Stop the program
    Stop,
    /// Let it go on, unrecorded
    Continue,
}

#[derive(Args)]
pub struct ProgramArgs {
    /// Let the program use a folder, under its own name or as GUEST (repeatable)
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    pub dirs: Vec<String>,
    /// Set a variable; K alone takes its value from here (repeatable)
    #[arg(long = "env", value_name = "K[=V]")]
    pub env: Vec<String>,
    /// Standard input from a file
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    /// Listen on an address and pass the socket, from descriptor 3 on (repeatable)
    #[arg(long = "tcplisten", value_name = "ADDR")]
    pub tcplisten: Vec<SocketAddr>,
    /// Call this export instead of _start, with ARGS as its numbers
    #[arg(long, value_name = "EXPORT")]
    pub invoke: Option<String>,
    /// The program: a .wasm module, or .wat text
    pub program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}
