//! Fuzzing a program from a snapshot, with findings that are recordings.
//!
//! ```text
//!   module ──▶ Target ──▶ Runner: the program where it is about to read its input, in the variant that counts decisions
//!                            ▲  │ an input: go back, read it, run to an end
//!                            │  ▼
//!   corpus ◀── LibAFL: which input next, what to change ◀── counters, comparisons
//!                                   │ a failure that is new
//!                                   ▼
//!                  record it, replay it in two engines ──▶ NAME.wrr, NAME.input, NAME.md
//! ```
//!
//! A library with libFuzzer's interface becomes a command that reads standard input (see [`wrr::fuzz_command`]), so that there is one kind of
//! target only. The program's world is the deterministic one: a run depends on the module and the input alone.
//!
//! Invariant: nothing of one input is left for the next one, and a finding that is written has been seen four times.

mod campaign;
mod clock;
mod corpus;
mod correspondence;
mod dictionary;
mod error;
mod failure;
mod finding;
mod minimize;
mod report;
mod repro;
mod runner;
mod target;
mod worker;

pub use campaign::{Campaign, CampaignEnd, CampaignOptions, Found, Stats};
pub use corpus::{MinimizedCorpus, minimize_corpus};
pub use dictionary::{DictionaryError, parse_dictionary};
pub use error::FuzzError;
pub use failure::{describe, failing_function, significant, where_it_failed};
pub use finding::{Written, write_finding};
pub use minimize::{Minimized, minimize};
pub use report::report;
pub use repro::{Against, Verdict, against, repro, run_input};
pub use runner::{Run, Runner};
pub use target::{FILE_ARGUMENT, Target, TargetOptions};
