//! What a fuzzer found: the input, how it was given, and the failure that is to be seen again.
//!
//! A chunk of its own, so that the trace around it is a recording like any other. Serialised with postcard, see `docs/trace-format.md`.

use crate::event::Tick;
use crate::manifest::TrapKind;
use serde::{Deserialize, Serialize};

/// The longest input that a fuzzer gives, in bytes.
pub const INPUT_BYTES_MAX: usize = 16 << 20;

/// How a program failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureKind {
    /// It trapped.
    Trap(TrapKind),
    /// It exited with a code that counts as a failure.
    Exit(u32),
    /// It had not ended when it was to.
    Timeout,
    /// A memory would have grown beyond its limit.
    Memory,
}

/// A frame of the failing program's stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureFrame {
    /// The function's index in the module.
    pub function: u32,
    /// Its name in the name section.
    pub name: Option<String>,
    /// Where in the module's bytes, if that is known.
    pub offset: Option<u64>,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Of which kind.
    pub kind: FailureKind,
    /// What the engine says about it.
    pub message: String,
    /// When.
    pub tick: Tick,
    /// The innermost frames, first.
    pub frames: Vec<FailureFrame>,
}

/// How the program is given its input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Given {
    /// On standard input.
    Stdin,
    /// As a file of this name.
    File(String),
    /// As the bytes that `LLVMFuzzerTestOneInput` is called with.
    Function,
}

/// What a fuzzer found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is to be seen again.
    pub failure: Failure,
    /// The input.
    pub input: Vec<u8>,
    /// How it was given.
    pub given: Given,
    /// The exit codes that count as failures.
    pub crash_exits: Vec<u32>,
    /// How many ticks a run may take from where it reads its input.
    pub timeout_ticks: u64,
}
