//! Somebody sits at the debugger.

use super::*;
use crate::support::terminal::{CTRL_C, CTRL_D, Terminal};

/// The line editor asks where the cursor is before it shows its prompt.
const WHERE: &str = "\x1b[6n";
const THERE: &str = "\x1b[1;1R";

fn prompt(terminal: &mut Terminal) {
    terminal.expect(WHERE);
    terminal.type_in(THERE);
    terminal.expect(") ");
}

/// With a place for the history of its own.
fn start(folder: &Path, arguments: &[&str]) -> Terminal {
    let line = "XDG_STATE_HOME=\"$PWD/state\" exec \"$0\" \"$@\"";
    Terminal::shell(folder, line, &[&["debug"], arguments].concat())
}

pub fn it_asks_and_answers() {
    let folder = objects();
    let mut terminal = start(folder.path(), &["objects.wrr"]);
    terminal.expect("objects.py:4");
    prompt(&mut terminal);
    terminal.type_in("go crash\r");
    terminal.expect("objects.py:36");
    prompt(&mut terminal);
    terminal.type_in("go start\r");
    terminal.expect("objects.py:4");
    prompt(&mut terminal);
    terminal.type_in("next\r");
    terminal.expect("objects.py:9");
    prompt(&mut terminal);
    // An empty line is the last step once more.
    terminal.type_in("\r");
    terminal.expect("objects.py:29");
    prompt(&mut terminal);
    terminal.type_in("foo\r");
    terminal.expect("there is no command \"foo\"");
    prompt(&mut terminal);
    terminal.type_in("quit\r");
    // What went wrong was seen.
    assert_eq!(terminal.end().0, Some(0));
    let mut terminal = start(folder.path(), &["objects.wrr"]);
    prompt(&mut terminal);
    terminal.type_in(CTRL_D);
    assert_eq!(terminal.end().0, Some(0));
}

pub fn ctrl_c_ends_a_search() {
    if ignored_here(2) {
        return;
    }
    let folder = scratch();
    let folder = folder.path();
    recording_of(folder, "slow", SLOW_SEARCH, 0);
    std::fs::write(folder.join("slow.dbg"), SLOW_COMMANDS).unwrap();
    let mut terminal = start(folder, &["slow.wrr", "-x", "slow.dbg"]);
    terminal.expect(") bcontinue\r\n");
    // After half a second it is shown how far it has come.
    terminal.expect(" %");
    terminal.expect("Ctrl-C cancels");
    terminal.type_in(CTRL_C);
    terminal.expect("interrupted; nothing has changed");
    prompt(&mut terminal);
    terminal.type_in("print i\r");
    terminal.expect("29999");
    prompt(&mut terminal);
    terminal.type_in(CTRL_D);
    assert_eq!(terminal.end().0, Some(0));
}
