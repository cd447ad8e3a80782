//! What the user is told when something ends badly.

use std::io::Write as _;
use std::process::ExitCode;
use wrr::{Backtrace, End, Ending};

/// Exit code of a negative finding.
pub const FINDING: i32 = 1;
/// Exit code of an error.
pub const ERROR: i32 = 2;
/// Exit code of a run whose terminal was closed, as after SIGHUP.
pub const HANGUP: i32 = 129;

/// Writes to standard error, if that can be written: the exit code matters more than the words. What
/// modules and traces contribute must not control the terminal.
pub fn say(text: &str) {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    let _ = writeln!(std::io::stderr().lock(), "{}", lines.join("\n"));
}

/// Text with its control characters escaped.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Prints an error and gives its exit code. Closed output is quiet.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    let code = match error.downcast_ref::<wrr::Error>() {
        Some(wrr::Error::OutputClosed) => return ExitCode::SUCCESS,
        Some(e) if e.is_finding() => FINDING,
        _ => ERROR,
    };
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // Our own errors say their cause themselves.
    if error.is::<wrr::Error>() || error.is::<wrr::TraceError>() {
        say(&format!("error: {error}"));
    } else {
        say(&format!("error: {error:#}"));
    }
    ExitCode::from(code as u8)
}

pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    // ERROR_PIPE_NOT_CONNECTED has no kind.
    let has_code = |e: &std::io::Error| cfg!(windows) && e.raw_os_error() == Some(233);
    io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe || has_code(e))
}

/// Tells what the exit code of a guest does not, and gives the code.
pub fn ended(end: &End) -> i32 {
    match (&end.ending, &end.trap) {
        (Ending::Trapped { .. }, Some((message, backtrace))) => {
            say(&format!("wrr: trap: {message}\n{}", backtrace_text(backtrace)));
        }
        (Ending::Trapped { kind }, None) => say(&format!("wrr: trap: {kind}")),
        (Ending::HostFailed { what }, _) => say(&format!("error: {what}")),
        (Ending::Exited { .. } | Ending::Returned { .. } | Ending::Interrupted, _) => {}
    }
    end.exit_code().unwrap_or(ERROR)
}

fn backtrace_text(backtrace: &Backtrace) -> String {
    let mut text = String::from("wasm backtrace:");
    for (i, frame) in backtrace.frames.iter().enumerate() {
        let name = match &frame.name {
            Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
            None => format!("function {}", frame.function),
        };
        let offset = frame.module_offset.map_or_else(|| "?".to_owned(), |o| format!("{o:#x}"));
        text += &format!("\n  {i:>3}: {offset:>10}  {name}");
    }
    text
}
