//! The options of `wrr fuzz`, `wrr repro` and `wrr minimize`.

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use wrr::format::INPUT_BYTES_MAX;

#[derive(Args)]
#[command(after_help = AFTER_FUZZ)]
pub struct FuzzArgs {
    /// The program: a command that reads standard input or a file (@@ among its arguments), or a library that exports
    /// LLVMFuzzerTestOneInput
    pub target: PathBuf,
    /// The folder of the inputs: those in it are tried first, new ones are put there
    #[arg(long, value_name = "DIR")]
    pub corpus: PathBuf,
    /// The folder for what is found
    #[arg(long, value_name = "DIR", required_unless_present = "minimize_corpus")]
    pub crashes: Option<PathBuf>,
    /// Stop after this time: seconds, or 90s, 10m, 2h
    #[arg(long, value_name = "S", value_parser = long_time, conflicts_with = "runs")]
    pub time: Option<Duration>,
    /// Stop after so many runs
    #[arg(long, value_name = "N")]
    pub runs: Option<u64>,
    /// How many workers run at the same time [default: 1]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// What the mutations depend on: with one worker the same seed makes the same campaign [default: another one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Words of the input's language, as AFL and libFuzzer write them (repeatable)
    #[arg(long, value_name = "FILE")]
    pub dict: Vec<PathBuf>,
    /// Instead of fuzzing, take inputs that show nothing that smaller ones do not show out of the corpus, into DIR.redundant
    #[arg(long)]
    pub minimize_corpus: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub rules: RuleArgs,
    /// The program's arguments; @@ stands for the name of a file with the input
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

const AFTER_FUZZ: &str = "\
Examples:
  wrr fuzz parser.wasm --corpus corpus --crashes crashes --time 10m
  wrr fuzz convert.wasm --corpus corpus --crashes crashes --crash-exit 3 -- --strict @@

A finding is three files: NAME.wrr (a recording, for wrr repro, replay, debug), NAME.input, NAME.md.
Exit codes: 0 nothing new was found, 1 something was, 2 an error.";

/// What counts as a failure, and what a run may use.
#[derive(Args, Clone)]
pub struct RuleArgs {
    /// How many ticks a run may take from where it reads its input
    #[arg(long, value_name = "N", default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout_ticks: u64,
    /// How large a memory may become: bytes, or 64M, 1G
    #[arg(long, value_name = "N", default_value = "1G", value_parser = size)]
    pub memory_limit: u64,
    /// An exit code that counts as a failure (repeatable)
    #[arg(long = "crash-exit", value_name = "CODE", allow_negative_numbers = true)]
    pub crash_exits: Vec<i32>,
    /// The longest input, in bytes [default: 4096, or the longest one of the corpus]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=INPUT_BYTES_MAX as i64))]
    pub max_len: Option<u32>,
    /// Let the program read a folder, under its own name or as GUEST; what it writes there is gone with the input (repeatable)
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    pub dirs: Vec<String>,
    /// Set a variable (repeatable)
    #[arg(long = "env", value_name = "K=V")]
    pub env: Vec<String>,
}

#[derive(Args)]
#[command(after_help = AFTER_REPRO)]
pub struct ReproArgs {
    /// A finding's recording; with --target an input
    pub file: PathBuf,
    /// Give the finding's input to another build of the program
    #[arg(long, value_name = "PROGRAM", conflicts_with = "target")]
    pub against: Option<PathBuf>,
    /// Give the input to this program, which is one as for wrr fuzz
    #[arg(long, value_name = "PROGRAM")]
    pub target: Option<PathBuf>,
    #[command(flatten)]
    pub rules: RuleArgs,
    /// With --target: the program's arguments; @@ stands for the name of a file with the input
    #[arg(last = true, value_name = "ARGS", requires = "target")]
    pub args: Vec<String>,
}

const AFTER_REPRO: &str = "\
The verdict is one line. Exit codes: 0 it fails as recorded (with --against, in the same place; with --target, at all),
1 it does not, 2 an error.";

#[derive(Args)]
pub struct MinimizeArgs {
    /// A finding's recording
    pub file: PathBuf,
    /// A folder that the program had, under its own name or as GUEST (repeatable)
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    pub dirs: Vec<String>,
}

/// A time that may be long.
fn long_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let unit = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => -1.0,
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    seconds
        .filter(|seconds| (0.001..=1e9).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "give a time, like 60, 90s, 10m or 2h".to_owned())
}

/// A number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['K', 'k']) {
        Some(number) => (number, 1 << 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(number) => (number, 1 << 20),
            None => match text.strip_suffix(['G', 'g']) {
                Some(number) => (number, 1 << 30),
                None => (text, 1),
            },
        },
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| "give a number of bytes, like 65536, 64M or 1G".to_owned())
}
