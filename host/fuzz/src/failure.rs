//! What counts as a failure, which two are the same one, and what to call them.

use wrr::format::{Ending, Failure, FailureFrame, FailureKind, Tick};
use wrr::{Bound, End, Frame};

/// So many frames tell one failure from another.
const FRAMES_COMPARED: usize = 3;

/// What names a failure: its kind, and the functions in which it happened.
pub(crate) type FailureKey = (FailureKind, Vec<String>);

/// How a run has failed, if it has.
pub(crate) fn failure(
    end: &End,
    bound: Option<Bound>,
    tick: Tick,
    crash_exits: &[u32],
) -> Option<Failure> {
    let kind = match (&end.ending, bound) {
        (Ending::Trapped { kind }, _) => FailureKind::Trap(*kind),
        (Ending::Exited { code }, _) if crash_exits.contains(code) => FailureKind::Exit(*code),
        (Ending::Interrupted, Some(Bound::Ticks)) => FailureKind::Timeout,
        (Ending::Interrupted, Some(Bound::Memory)) => FailureKind::Memory,
        _ => return None,
    };
    let (message, frames) = match &end.trap {
        Some((message, backtrace)) => (message.clone(), backtrace.frames.clone()),
        None => (end.ending.to_string(), Vec::new()),
    };
    Some(Failure { kind, message, tick, frames: frames.into_iter().map(frame).collect() })
}

pub(crate) fn frame(frame: Frame) -> FailureFrame {
    FailureFrame {
        function: frame.function,
        name: frame.name,
        offset: frame.module_offset.map(|offset| offset as u64),
    }
}

/// Longer names are cut off.
const NAME_CHARS_MAX: usize = 200;

/// Whether a character changes how others are shown: control characters, and those that turn the direction of writing (Unicode, annex 9).
fn is_unseen(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// A function's name for people: demangled, without the hash, one line.
pub(crate) fn name_of(frame: &FailureFrame) -> String {
    match &frame.name {
        Some(name) => {
            let name = format!("{:#}", rustc_demangle::demangle(name));
            let shown = name.chars().map(|c| if is_unseen(c) { '\u{fffd}' } else { c });
            let mut shown: String = shown.take(NAME_CHARS_MAX + 1).collect();
            if shown.chars().count() > NAME_CHARS_MAX {
                shown.pop();
                shown.push('…');
            }
            shown
        }
        None => format!("function {}", frame.function),
    }
}

/// Beginnings of the names of functions that end a program for others, or fail for them: what is to be known is who called them. Of Rust's standard library, of
/// wasi-libc, and of C++'s.
const MESSENGERS: &[&str] = &[
    "abort",
    "__abort",
    "_Exit",
    "exit",
    "__assert",
    "__wasi_proc_exit",
    "__wasilibc",
    "__imported_wasi_snapshot_preview1_proc_exit",
    "proc_exit",
    "wasi::",
    "__rust",
    "__rg_oom",
    "__rdl_oom",
    "__cxa_",
    "_ZSt9terminate",
    "std::terminate",
    "rust_begin_unwind",
    "rust_panic",
    "core::panicking",
    "core::option::expect_failed",
    "core::option::unwrap_failed",
    "core::result::unwrap_failed",
    "core::slice::index::slice_",
    "core::slice::copy_from_slice_impl",
    "core::str::slice_error_fail",
    "core::cell::panic_",
    "std::panicking",
    "std::process::abort",
    "std::process::exit",
    "std::sys::",
    "std::rt::",
    "std::alloc::",
    "alloc::alloc::",
    "alloc::raw_vec::",
    "<alloc::raw_vec::",
    "<std::panicking",
    "<std::sys::",
    "dlmalloc",
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "sbrk",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "memchr",
    "strlen",
    "strcmp",
    "strncmp",
    "strcpy",
    "strncpy",
    "strcat",
    "operator new",
    "_Znw",
    "_Zna",
];

/// Beginnings of the names of what Rust calls when it panics.
const PANICS: &[&str] = &["core::panicking", "std::panicking", "rust_begin_unwind"];

fn is_messenger(name: &str) -> bool {
    MESSENGERS.iter().any(|start| name.starts_with(start))
}

/// What was demangled with its crates' hashes: `core[0123]::panicking`.
fn without_hashes(name: &str) -> String {
    let mut depth = 0;
    name.chars()
        .filter(|c| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => return depth == 0,
            }
            false
        })
        .collect()
}

/// The frames that tell where a failure comes from: without those that only bring the bad news. All of them, if there are no others.
#[must_use]
pub fn significant(frames: &[FailureFrame]) -> &[FailureFrame] {
    let names: Vec<String> = frames.iter().map(name_of).map(|name| without_hashes(&name)).collect();
    // A panic may call a hook, which is anybody's.
    let panic = names.iter().rposition(|name| PANICS.iter().any(|start| name.starts_with(start)));
    let behind = panic.map_or(0, |at| at + 1);
    let first = names.iter().skip(behind).position(|name| !is_messenger(name));
    &frames[first.map_or(0, |first| behind + first)..]
}

/// Two failures with equal keys are the same one.
pub(crate) fn key(failure: &Failure) -> FailureKey {
    let frames = significant(&failure.frames).iter().take(FRAMES_COMPARED);
    // Of recursion that does not end all that is known is where it goes round.
    let names: Vec<String> = frames.map(name_of).collect();
    let is_overflow =
        matches!(failure.kind, FailureKind::Trap(wrr::format::TrapKind::StackOverflow));
    match is_overflow {
        true => {
            let mut round: Vec<String> = failure.frames.iter().map(name_of).collect();
            round.sort_unstable();
            round.dedup();
            (failure.kind, round)
        }
        false => (failure.kind, names),
    }
}

/// The function that a failure is named by.
#[must_use]
pub fn failing_function(failure: &Failure) -> Option<String> {
    significant(&failure.frames).first().map(name_of)
}

/// A failure's kind in words.
#[must_use]
pub fn describe(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::Trap(_) => {
            let message: String = failure.message.chars().filter(|c| !c.is_control()).collect();
            message
        }
        FailureKind::Exit(code) => format!("exit code {}", code as i32),
        FailureKind::Timeout => "timeout".to_owned(),
        FailureKind::Memory => "memory limit".to_owned(),
    }
}

/// A failure in one line: what, in which function, when.
#[must_use]
pub fn where_it_failed(failure: &Failure) -> String {
    let function = failing_function(failure).map(|name| format!(" in {name}")).unwrap_or_default();
    format!("{}{function} at tick {}", describe(failure), failure.tick.0)
}

/// A part of a file's name that says what a failure is.
pub(crate) fn slug(failure: &Failure) -> String {
    let kind = match failure.kind {
        FailureKind::Trap(kind) => kind.name().to_owned(),
        FailureKind::Exit(code) => format!("exit-{}", code as i32),
        FailureKind::Timeout => "timeout".to_owned(),
        FailureKind::Memory => "memory-limit".to_owned(),
    };
    let function = failing_function(failure).unwrap_or_default();
    // The last part of a path says most.
    let function = function.rsplit("::").next().unwrap_or_default();
    let plain = function.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let plain: String = plain.take(40).collect();
    match plain.trim_matches('_') {
        "" => kind,
        plain => format!("{kind}-{plain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrr::format::TrapKind;

    fn failure_in(kind: FailureKind, names: &[&str]) -> Failure {
        let frames = names.iter().map(|name| FailureFrame {
            function: 1,
            name: Some((*name).to_owned()),
            offset: None,
        });
        Failure { kind, message: "m".to_owned(), tick: Tick(5), frames: frames.collect() }
    }

    #[test]
    fn messengers_are_passed_over() {
        let trap = FailureKind::Trap(TrapKind::Unreachable);
        let panic = failure_in(
            trap,
            &[
                "abort",
                "_RNvCs1_7___rustc10rust_panic",
                "_ZN4core9panicking9panic_fmt17h0123456789abcdefE",
                "parse",
                "main",
            ],
        );
        assert_eq!(failing_function(&panic).as_deref(), Some("parse"));
        assert_eq!(key(&panic).1, ["parse", "main"]);
        assert_eq!(slug(&panic), "unreachable-parse");
        // A hook is called by a panic.
        let hook =
            failure_in(trap, &["abort", "hooks::print", "std::panicking::rust_panic", "parse"]);
        assert_eq!(failing_function(&hook).as_deref(), Some("parse"));
        // Nobody else is there.
        assert_eq!(failing_function(&failure_in(trap, &["abort"])).as_deref(), Some("abort"));
        assert_eq!(
            where_it_failed(&failure_in(FailureKind::Timeout, &["spin"])),
            "timeout in spin at tick 5"
        );
    }

    #[test]
    fn recursion_is_one_failure_wherever_it_ends() {
        let overflow = FailureKind::Trap(TrapKind::StackOverflow);
        let one = failure_in(overflow, &["a", "b", "a", "b"]);
        let other = failure_in(overflow, &["b", "a", "b", "a"]);
        assert_eq!(key(&one), key(&other));
        assert_ne!(key(&one), key(&failure_in(overflow, &["a", "c"])));
    }

    #[test]
    fn names_cannot_break_a_line() {
        let frame =
            FailureFrame { function: 1, name: Some("a\n\u{1b}[31mb".to_owned()), offset: None };
        assert_eq!(name_of(&frame), "a\u{fffd}\u{fffd}[31mb");
    }
}
