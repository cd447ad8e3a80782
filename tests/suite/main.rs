//! The real binary, end to end: one test binary with a module for each area, because each binary is linked
//! with all of wrr, and the tests of one run side by side.

#[path = "../support/mod.rs"]
mod support;

mod branch;
mod checkpoints;
mod cli;
#[cfg(unix)]
mod crash;
mod damage;
mod fs;
mod fuzz;
mod moments;
// Where `setsid` gives a process a terminal.
#[cfg(target_os = "linux")]
mod save;
