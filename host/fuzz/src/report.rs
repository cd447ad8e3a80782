//! A finding in words, ready for an issue tracker.

use crate::failure::{describe, failing_function, name_of};
use crate::{Target, Written};
use std::fmt::Write as _;
use wrr::format::Given;

/// So much of an input is shown, in bytes.
const INPUT_SHOWN: usize = 1024;
/// So many frames are shown.
const FRAMES_SHOWN: usize = 20;

/// A Markdown summary: what happens, where, with what input, and how to see it.
#[must_use]
pub fn report(target: &Target, input: &[u8], written: &Written, stderr: &[u8]) -> String {
    let failure = &written.failure;
    let name = |path: &std::path::Path| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let trace = name(&written.trace);
    let function = failing_function(failure).unwrap_or_else(|| "an unknown function".to_owned());
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("# {}: {} in `{}`\n", plain(target.name()), describe(failure), code(&function)));
    line(format!(
        "Given {}, the program fails at tick {} with: {}.\n",
        match &target.given {
            Given::Stdin => "this input on standard input".to_owned(),
            Given::File(path) => format!("this input in the file `{path}`"),
            Given::Function => "this input to `LLVMFuzzerTestOneInput`".to_owned(),
        },
        failure.tick.0,
        plain(&failure.message),
    ));
    line("```text".to_owned());
    for (number, frame) in failure.frames.iter().take(FRAMES_SHOWN).enumerate() {
        let offset = frame.offset.map(|at| format!(" at {at:#x}")).unwrap_or_default();
        line(format!("#{number:<3} {}{offset}", fenced(&name_of(frame))));
    }
    if failure.frames.len() > FRAMES_SHOWN {
        line(format!("... and {} more", failure.frames.len() - FRAMES_SHOWN));
    }
    line("```\n".to_owned());
    line("To see it again, on any system, and to walk backwards from it:\n".to_owned());
    line("```sh".to_owned());
    line(format!("wrr repro {trace}"));
    line(format!("wrr debug {trace}        # go crash"));
    line("```\n".to_owned());
    let bytes = if input.len() == 1 { "byte" } else { "bytes" };
    line(format!("The input, {} {bytes}:\n", input.len()));
    line("```text".to_owned());
    line(hex(&input[..input.len().min(INPUT_SHOWN)]).trim_end().to_owned());
    if input.len() > INPUT_SHOWN {
        line(format!("... and {} more bytes", input.len() - INPUT_SHOWN));
    }
    line("```".to_owned());
    if !stderr.is_empty() {
        line("\nWhat it wrote to standard error:\n".to_owned());
        line("```text".to_owned());
        for shown in String::from_utf8_lossy(stderr).lines() {
            line(fenced(shown));
        }
        line("```".to_owned());
    }
    text
}

/// Text that cannot end a block of code, without control characters.
fn fenced(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect::<String>()
        .replace("```", "'''")
}

/// Text that cannot end a span of code.
fn code(text: &str) -> String {
    text.replace('`', "'")
}

/// Text without anything that Markdown would take for more.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if "\\`*_[]<>#|".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Sixteen bytes a line: offset, hexadecimal, text.
fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (row, chunk) in bytes.chunks(16).enumerate() {
        let _ = write!(out, "{:08x} ", row * 16);
        for byte in chunk {
            let _ = write!(out, " {byte:02x}");
        }
        let text: String = chunk
            .iter()
            .map(
                |&byte| {
                    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
                },
            )
            .collect();
        let _ = writeln!(out, "{:width$}  |{}|", "", fenced(&text), width = (16 - chunk.len()) * 3);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_with_their_text() {
        let shown = hex(b"ABC\n```0123456789");
        assert_eq!(
            shown,
            "00000000  41 42 43 0a 60 60 60 30 31 32 33 34 35 36 37 38  |ABC.'''012345678|\n\
             00000010  39                                               |9|\n"
        );
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(plain("a*b_<c>\n"), "a\\*b\\_\\<c\\>");
        assert_eq!(fenced("```\u{1b}[31m"), "'''\u{fffd}[31m");
    }
}
