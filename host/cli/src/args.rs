//! What the command line looks like.

mod fuzz;

pub use fuzz::{FuzzArgs, MinimizeArgs, ReproArgs, RuleArgs};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use wrr::{Moment, TrackerKind};

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
  wrr replay rg.wrr --goto 40%           the program's state at that moment
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
    /// Run a Python script and write a trace of it; the Python is inside of wrr
    #[cfg(feature = "python")]
    Py(PyArgs),
    /// Run a recorded program again: same output, same exit code, nothing of this machine is used
    Replay(ReplayArgs),
    /// Walk through a recorded program, forwards and backwards
    Debug(DebugArgs),
    /// Add checkpoints to a trace, so that every moment of it is near one
    Index {
        /// The trace
        file: PathBuf,
        /// How long a seek may replay on a machine like this one
        #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
        max_seek: Duration,
        /// How written pages are found: compare, userfaultfd, mprotect or write-watch [default: the best that works here]
        #[arg(long, value_name = "NAME", value_parser = tracker)]
        tracker: Option<TrackerKind>,
    },
    /// Run a recorded program on from one of its moments: its files are opened again, time and chance are real
    Resume(ResumeArgs),
    /// Run a recorded program on from one of its moments many times at once, each time with other data
    Branch(BranchArgs),
    /// Run a program again and again with inputs that are made up, and record those that it fails on
    Fuzz(FuzzArgs),
    /// See a finding of wrr fuzz again, here or in another build
    Repro(ReproArgs),
    /// Find the smallest input that fails as a finding of wrr fuzz does
    Minimize(MinimizeArgs),
    /// Show or apply what a program that was run with --fs overlay did to its files
    #[command(subcommand)]
    Fs(FsCommand),
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

#[derive(Subcommand)]
pub enum FsCommand {
    /// List the files that differ from those in the folders: A added, M modified, T other times, R renamed, D deleted
    Diff {
        /// The trace
        file: PathBuf,
        /// The moment, as for `wrr replay --goto` [default: behind everything that was recorded]
        #[arg(long, value_name = "T", value_parser = moment)]
        at: Option<Moment>,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Apply the changes to the folders, all of them or none
    Commit {
        /// The trace
        file: PathBuf,
        /// The moment, as for `wrr replay --goto` [default: behind everything that was recorded]
        #[arg(long, value_name = "T", value_parser = moment)]
        at: Option<Moment>,
        /// A folder that the program had, under its own name or as GUEST (repeatable)
        #[arg(long = "dir", value_name = "HOST[::GUEST]")]
        dirs: Vec<String>,
    },
}

/// Where the program's changes to files go.
#[derive(Args)]
pub struct FilesArgs {
    #[command(flatten)]
    pub fs: FsArg,
    /// Apply what is in the overlay to the folders if the program ends with exit code 0
    #[arg(long)]
    pub commit_fs: bool,
}

#[derive(Args)]
pub struct FsArg {
    /// Where the program's changes to files go: to the folders themselves, or to a private layer above them that goes back
    /// with the program [default: host; for a recorded program as it was]
    #[arg(long, value_enum)]
    pub fs: Option<Fs>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fs {
    /// To the folders
    Host,
    /// To a layer in memory, beyond 256 MiB in a temporary file; the folders stay as they are
    Overlay,
}

#[derive(Args)]
pub struct ReplayArgs {
    /// The trace
    pub file: PathBuf,
    /// Go to a moment and show the state there, instead of replaying with output. T is start, end (or crash), 12345 (a tick),
    /// #17 (just before event 17), 40%, 2.5s (wall clock) or @name
    #[arg(long, value_name = "T", value_parser = moment, conflicts_with_all = ["until", "from"])]
    pub goto: Option<Moment>,
    /// Stop at this moment
    #[arg(long, value_name = "T", value_parser = moment)]
    pub until: Option<Moment>,
    /// Start at this moment, without the output before it
    #[arg(long, value_name = "T", value_parser = moment)]
    pub from: Option<Moment>,
    /// With --goto: print JSON
    #[arg(long, requires = "goto")]
    pub json: bool,
    /// With --goto: write memory 0 to a file
    #[arg(long, value_name = "FILE", requires = "goto")]
    pub dump_memory: Option<PathBuf>,
    /// With --goto: show LEN bytes of memory 0 from ADDR on (decimal or 0x…)
    #[arg(long, value_names = ["ADDR", "LEN"], num_args = 2, requires = "goto", value_parser = number)]
    pub read: Option<Vec<u64>>,
    /// Start from the beginning, even if a checkpoint is nearer
    #[arg(long)]
    pub no_checkpoints: bool,
}

#[derive(Args)]
pub struct ResumeArgs {
    /// The trace
    pub file: PathBuf,
    /// The moment to go on from, as for `wrr replay --goto` [default: behind everything that was recorded]
    #[arg(long, value_name = "T", value_parser = moment)]
    pub at: Option<Moment>,
    /// Record the new run, with the history of the old one, into this trace
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A folder that the program had, under its own name or as GUEST (repeatable)
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    pub dirs: Vec<String>,
    #[command(flatten)]
    pub files: FilesArgs,
    /// Standard input from a file; it goes on where the program was
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    /// Listen on an address, for a program that had such a socket (repeatable)
    #[arg(long = "tcplisten", value_name = "ADDR")]
    pub tcplisten: Vec<SocketAddr>,
    #[command(flatten)]
    pub checkpoints: CheckpointArgs,
    /// When the trace cannot be written any further (a full disk), stop the program or let it go on
    #[arg(long, value_enum, default_value_t = OnTraceError::Stop)]
    pub on_trace_error: OnTraceError,
}

#[derive(Args)]
pub struct CheckpointArgs {
    /// How often to take a checkpoint: a time (500ms, 2s), so many ticks (1000000ticks), or off;
    /// less often where that would cost more than 3 % of the run's time [default: 1s; with
    /// --deterministic 100000000ticks]
    #[arg(long, value_name = "TIME|TICKS|off", value_parser = every)]
    pub checkpoint_every: Option<Every>,
    /// How written pages are found: compare, userfaultfd, mprotect or write-watch [default: the best that works here]
    #[arg(long, value_name = "NAME", value_parser = tracker)]
    pub tracker: Option<TrackerKind>,
}

#[derive(Clone, Copy, Debug)]
pub enum Every {
    Off,
    Time(Duration),
    Ticks(u64),
}

fn moment(text: &str) -> Result<Moment, String> {
    text.parse()
}

fn tracker(text: &str) -> Result<TrackerKind, String> {
    text.parse().map_err(|e: wrr::TrackerError| e.to_string())
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "give a number, decimal or 0x…".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or_default(), 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|n| n * unit);
    // Closer together they would cost more than they save; further apart nobody would find them.
    let sensible = seconds.filter(|s| (0.001..=86_400.0).contains(s));
    sensible
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "give a time from 1ms to 86400s, like 500ms or 2s".to_owned())
}

fn every(text: &str) -> Result<Every, String> {
    match text {
        "off" => Ok(Every::Off),
        text if text.ends_with("ticks") => match text.trim_end_matches("ticks").parse() {
            Ok(ticks) if ticks > 0 => Ok(Every::Ticks(ticks)),
            _ => Err("give a number of ticks, like 1000000ticks".to_owned()),
        },
        text => duration(text)
            .map(Every::Time)
            .map_err(|e| format!("{e}, a number of ticks like 1000000ticks, or off")),
    }
}

#[derive(Args)]
pub struct BranchArgs {
    /// The trace
    pub file: PathBuf,
    /// The moment, as for `wrr replay --goto`
    #[arg(long, value_name = "T", value_parser = moment)]
    pub at: Moment,
    /// A run for each of these
    #[arg(long, value_name = "DATA", num_args = 1.., required_unless_present = "each")]
    pub with: Vec<String>,
    /// A run for each line of a file; - is standard input
    #[arg(long, value_name = "LIST", conflicts_with = "with")]
    pub each: Option<PathBuf>,
    /// How many run at the same time [default: one for each processor]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Where a run finds its DATA: what `branch` of wrr:guest/control gives next, or the rest of standard input
    /// [default: branch, if the program imports that]
    #[arg(long, value_enum)]
    pub to: Option<DataTo>,
    /// A folder that the program had, under its own name or as GUEST (repeatable)
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    pub dirs: Vec<String>,
    #[command(flatten)]
    pub fs: FsArg,
    /// Record each run, with the history of the old one, into this folder
    #[arg(long, value_name = "DIR")]
    pub record_dir: Option<PathBuf>,
    /// Print JSON, one object a line, with the outputs
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum DataTo {
    /// What the program's next call of `branch` gives
    Branch,
    /// The rest of standard input, as a line
    Stdin,
}

#[derive(Args)]
pub struct DebugArgs {
    /// The trace
    pub file: PathBuf,
    /// Where to begin, as for `wrr replay --goto` [default: start]
    #[arg(long, value_name = "T")]
    pub goto: Option<String>,
    /// Carry out the commands of a file first (repeatable); - is standard input
    #[arg(short = 'x', value_name = "SCRIPT")]
    pub scripts: Vec<PathBuf>,
}

#[cfg(feature = "python")]
#[derive(Args)]
#[command(
    override_usage = "wrr py [OPTIONS] SCRIPT [ARGS]...\n       wrr py [OPTIONS] -c CODE [ARGS]...\n       wrr py [OPTIONS] -m MODULE [ARGS]...\n       wrr py [OPTIONS]"
)]
pub struct PyArgs {
    #[command(flatten)]
    pub recording: RecordingArgs,
    /// Run this text
    #[arg(short = 'c', value_name = "CODE", conflicts_with = "module")]
    pub code: Option<String>,
    /// Run a module as a script
    #[arg(short = 'm', value_name = "MODULE")]
    pub module: Option<String>,
    #[command(flatten)]
    pub world: WorldArgs,
    /// The script and its arguments; its folder can be read by it. Without one Python asks for statements
    #[arg(trailing_var_arg = true, value_names = ["SCRIPT", "ARGS"])]
    pub command: Vec<String>,
}

#[derive(Args)]
pub struct RecordArgs {
    #[command(flatten)]
    pub recording: RecordingArgs,
    #[command(flatten)]
    pub program: ProgramArgs,
}

#[derive(Args)]
pub struct RecordingArgs {
    /// The trace to write [default: PROGRAM with the extension .wrr, in this folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Virtual time, seeded randomness, sorted listings, neutral file metadata: two recordings are the same file
    #[arg(long)]
    pub deterministic: bool,
    /// When the trace cannot be written any further (a full disk), stop the program or let it go on
    #[arg(long, value_enum, default_value_t = OnTraceError::Stop)]
    pub on_trace_error: OnTraceError,
    /// Run the program again and again, N times at most, until its exit code is not 0; the trace is that of the last run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub until_failure: Option<u32>,
    #[command(flatten)]
    pub checkpoints: CheckpointArgs,
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
    #[command(flatten)]
    pub world: WorldArgs,
    /// Call this export instead of _start, with ARGS as its numbers
    #[arg(long, value_name = "EXPORT")]
    pub invoke: Option<String>,
    /// The program (a .wasm module, or .wat text) and its arguments
    // One list, so that everything behind the program is the program's, options too.
    #[arg(required = true, trailing_var_arg = true, num_args = 1.., value_names = ["PROGRAM", "ARGS"])]
    pub command: Vec<String>,
}

/// What a program may see of the world.
#[derive(Args)]
pub struct WorldArgs {
    /// Let the program use a folder, under its own name or as GUEST (repeatable)
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    pub dirs: Vec<String>,
    #[command(flatten)]
    pub files: FilesArgs,
    /// Set a variable; K alone takes its value from here (repeatable)
    #[arg(long = "env", value_name = "K[=V]")]
    pub env: Vec<String>,
    /// Standard input from a file
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    /// Listen on an address and pass the socket, from descriptor 3 on (repeatable)
    #[arg(long = "tcplisten", value_name = "ADDR")]
    pub tcplisten: Vec<SocketAddr>,
}
