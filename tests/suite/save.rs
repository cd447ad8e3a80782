//! Save and load: somebody sits at an interpreter, is interrupted, and goes on in another process at another terminal.

// Where `setsid` gives a process a terminal.

use crate::support::terminal::{CTRL_C, CTRL_D, Terminal};
use crate::support::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use wrr::Ending;
use wrr::format::{Function, TraceReader};

fn calculator() -> String {
    guest("calculator").module.to_str().unwrap().to_owned()
}

/// A recording into `t.wrr` by a shell line. The calculator stands at its prompt and knows that `x` is 42.
fn recording_by(line: &str, folder: &Path) -> Terminal {
    let calculator = calculator();
    // So that no terminal shows that something is being compiled.
    expect_code(&finish(wrr(folder).args(["run", &calculator]), b""), 0);
    let mut terminal = Terminal::shell(folder, line, &["record", "-o", "t.wrr", &calculator]);
    terminal.expect("> ");
    terminal.ask("x = 41", "> ");
    terminal.ask("x = x + 1", "> ");
    terminal.ask("x", "42\r\n> ");
    terminal
}

fn recording(folder: &Path) -> Terminal {
    recording_by("exec \"$0\" \"$@\"", folder)
}

/// A saved calculator goes on: shows its prompt, nothing else of what was there, and knows its variable.
#[track_caller]
fn expect_to_go_on(folder: &Path, trace: &str) {
    let mut terminal = Terminal::start(folder, &["resume", trace]);
    terminal.expect("> ");
    terminal.ask("x + 1", "43\r\n> ");
    terminal.type_in(CTRL_D);
    assert_eq!(terminal.end(), (Some(0), "> x + 1\r\n43\r\n> \r\n".to_owned()));
}

#[test]
fn after_ctrl_c_it_goes_on_at_its_prompt_as_often_as_wanted() {
    if ignored_here(2) {
        return;
    }
    let folder = scratch();
    let folder = folder.path();
    let mut terminal = recording(folder);
    terminal.type_in(CTRL_C);
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(130));
    let said = "> ^C\r\nwrr: saved; to go on: wrr resume t.wrr -o t-2.wrr\r\n";
    assert!(shown.ends_with(said), "{shown:?}");
    expect_to_go_on(folder, "t.wrr");
    expect_to_go_on(folder, "t.wrr");
}

#[test]
fn after_its_terminal_was_closed_it_goes_on_at_its_prompt() {
    // Whether wrr or the program notices it first is up to chance.
    for _ in 0..10 {
        let folder = scratch();
        let folder = folder.path();
        assert_eq!(recording(folder).close(), Some(129));
        let reader = TraceReader::open(&folder.join("t.wrr")).unwrap();
        assert_eq!(reader.ending(), Some(&Ending::Interrupted));
        let last = reader.events().unwrap().last().unwrap().unwrap();
        assert_eq!(last.call.function, Function::FdWrite, "the end of the input is not recorded");
        expect_to_go_on(folder, "t.wrr");
    }
}

#[test]
fn without_the_signal_a_closed_terminal_is_no_end_of_input_either() {
    let folder = scratch();
    let folder = folder.path();
    let terminal = recording_by("trap '' HUP; exec \"$0\" \"$@\"", folder);
    assert_eq!(terminal.close(), Some(129));
    expect_to_go_on(folder, "t.wrr");
}

#[test]
fn a_line_that_was_not_finished_was_never_typed() {
    let folder = scratch();
    let folder = folder.path();
    let mut terminal = recording(folder);
    terminal.type_in("x = 9");
    terminal.expect("x = 9");
    assert_eq!(terminal.close(), Some(129));
    expect_to_go_on(folder, "t.wrr");
}

#[test]
fn killed_at_its_prompt_it_goes_on_there() {
    let folder = scratch();
    let folder = folder.path();
    let terminal = recording(folder);
    // What is shown is in the file before the program waits; here as soon as it can be read.
    let outputs = || -> Option<usize> {
        let events = TraceReader::open(&folder.join("t.wrr")).ok()?;
        let all = events.events().ok()?.flatten();
        Some(all.filter(|e| e.call.function == Function::FdWrite).count())
    };
    while outputs() != Some(5) {
        std::thread::sleep(Duration::from_millis(1));
    }
    terminal.kill();
    expect_to_go_on(folder, "t.wrr");
}

#[test]
fn saved_again_and_again_it_knows_everything_and_no_answer_comes_twice() {
    if ignored_here(2) {
        return;
    }
    let folder = scratch();
    let folder = folder.path();
    assert_eq!(recording(folder).close(), Some(129));
    let mut second = Terminal::start(folder, &["resume", "t.wrr", "-o", "t-2.wrr"]);
    second.expect("> ");
    second.ask("y = x * 2", "> ");
    second.type_in(CTRL_C);
    let (code, shown) = second.end();
    let said = "wrr: saved; to go on: wrr resume t-2.wrr -o t-3.wrr";
    assert_eq!((code, shown), (Some(130), format!("> y = x * 2\r\n> ^C\r\n{said}\r\n")));
    let mut third = Terminal::start(folder, &["resume", "t-2.wrr", "-o", "t-3.wrr"]);
    third.expect("> ");
    third.ask("y + x", "126\r\n> ");
    assert_eq!(third.close(), Some(129));
    expect_to_go_on(folder, "t-3.wrr");
    let replayed = finish(wrr(folder).args(["replay", "t-3.wrr"]), b"");
    expect_code(&replayed, 130);
    assert_eq!(text(&replayed.stdout), "> > > 42\n> > 126\n> ");
}

#[test]
fn from_a_terminal_into_a_pipe_nothing_is_shown_twice() {
    let folder = scratch();
    let folder = folder.path();
    assert_eq!(recording(folder).close(), Some(129));
    let resumed = finish(wrr(folder).args(["resume", "t.wrr"]), b"x\n");
    expect_code(&resumed, 0);
    assert_eq!(text(&resumed.stdout), "42\n> \n");
    assert_eq!(text(&resumed.stderr), "");
}

#[test]
fn from_a_pipe_to_a_terminal_it_goes_on_at_its_prompt() {
    let folder = scratch();
    let folder = folder.path();
    let mut command = wrr(folder);
    command.args(["record", "-o", "t.wrr", &calculator()]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(b"x = 42\nx\n").unwrap();
    let mut shown = Vec::new();
    // The answer, then the prompt: the input is still open.
    stdout.read_until(b'\n', &mut shown).unwrap();
    stdout.read_until(b'>', &mut shown).unwrap();
    assert_eq!(text(&shown), "> > 42\n>");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    expect_code(&output, 143);
    assert_eq!(text(&output.stderr), "wrr: saved; to go on: wrr resume t.wrr -o t-2.wrr\n");
    drop(stdin);
    expect_to_go_on(folder, "t.wrr");
}
