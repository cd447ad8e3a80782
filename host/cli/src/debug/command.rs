//! The debugger's commands as they are written.

use wrr::Moment;
use wrr_debug::{Direction, Location};

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Nothing,
    Go(Place),
    Step(Direction, u32),
    Next(Direction, u32),
    Finish(Direction),
    Continue(Direction),
    Break { at: Option<BreakAt>, condition: Option<String>, is_temporary: bool },
    Ignore { id: u32, times: u32 },
    Delete(Vec<u32>),
    Info(String),
    Backtrace,
    Up(usize),
    Down(usize),
    Frame(usize),
    List(Option<u32>),
    Locals,
    Print(String),
    Run(String),
    Whatis(String),
    When,
    Help(String),
    Quit,
}

/// Where to go.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Moment(Moment),
    Crash,
}

/// Where to break.
#[derive(Clone, Debug, PartialEq)]
pub enum BreakAt {
    Location(Location),
    /// A line of the file that is shown.
    Line(u32),
}

/// What a command is called, with its aliases, its arguments, and what it does.
pub const HELP: &[(&str, &str, &str)] = &[
    ("go, g", "T", "go to a moment: start, end, crash, 12345 (a tick), #17 (just before event 17), 40%, 2.5s, @name"),
    ("step, s", "[N]", "go to the next line, also into functions"),
    ("bstep, bs", "[N]", "go back to the line before, also into functions"),
    ("next, n", "[N]", "go to the next line of this function"),
    ("bnext, bn", "[N]", "go back to the line before in this function"),
    ("finish", "", "go on until this function has returned"),
    ("bfinish", "", "go back to where this function was called"),
    ("continue, c", "", "go on to the next breakpoint or change of a watched value"),
    ("bcontinue, bc", "", "go back to the last one"),
    ("break, b", "PLACE [if CONDITION]", "stop at a function, a qualified name, FILE:LINE or LINE"),
    ("tbreak, tb", "PLACE [if CONDITION]", "the same, once"),
    ("ignore", "ID N", "pass a breakpoint N times first"),
    ("delete, d", "[ID]...", "delete breakpoints and watchpoints, or all of them"),
    ("info, i", "breakpoints|checkpoints", "list them"),
    ("backtrace, bt, where", "", "show the functions that have been called"),
    ("up", "[N]", "look at the function that called this one"),
    ("down", "[N]", "look at the function that this one called"),
    ("frame, f", "N", "look at a function of the backtrace"),
    ("list, l", "[LINE]", "show the text around"),
    ("locals", "", "show the local variables"),
    ("print, p", "EXPRESSION", "evaluate something; nothing of it stays"),
    ("!", "STATEMENT", "run something; nothing of it stays"),
    ("whatis", "EXPRESSION", "show the type of something"),
    ("when", "", "show what time it is: tick, event, wall clock"),
    ("help, h", "[COMMAND]", "this"),
    ("quit, q", "", "leave"),
];

impl Command {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Command, String> {
        let line = line.trim();
        if let Some(statement) = line.strip_prefix('!') {
            return Ok(Command::Run(statement.trim().to_owned()));
        }
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        use Direction::{Backward, Forward};
        let count = || number(rest, 1);
        Ok(match name {
            "" => Command::Nothing,
            _ if name.starts_with('#') && name.len() == 1 => Command::Nothing,
            "go" | "g" => Command::Go(place(rest)?),
            "step" | "s" => Command::Step(Forward, count()?),
            "bstep" | "bs" => Command::Step(Backward, count()?),
            "next" | "n" => Command::Next(Forward, count()?),
            "bnext" | "bn" => Command::Next(Backward, count()?),
            "finish" => Command::Finish(Forward),
            "bfinish" => Command::Finish(Backward),
            "continue" | "c" => Command::Continue(Forward),
            "bcontinue" | "bc" => Command::Continue(Backward),
            "break" | "b" => breakpoint(rest, false)?,
            "tbreak" | "tb" => breakpoint(rest, true)?,
            "ignore" => match rest.split_once(char::is_whitespace) {
                Some((id, times)) => {
                    Command::Ignore { id: number(id, 0)?, times: number(times.trim(), 0)? }
                }
                None => return Err("which breakpoint, and how many times? ignore ID N".to_owned()),
            },
            "delete" | "d" => {
                let ids = rest.split_whitespace().map(|id| number(id, 0));
                Command::Delete(ids.collect::<Result<_, _>>()?)
            }
            "info" | "i" => Command::Info(rest.to_owned()),
            "backtrace" | "bt" | "where" => Command::Backtrace,
            "up" => Command::Up(count()? as usize),
            "down" => Command::Down(count()? as usize),
            "frame" | "f" => Command::Frame(number(rest, 0)? as usize),
            "list" | "l" => match rest {
                "" => Command::List(None),
                line => Command::List(Some(number(line, 1)?)),
            },
            "locals" => Command::Locals,
            "print" | "p" => Command::Print(needed(rest, "what? print EXPRESSION")?),
            "whatis" => Command::Whatis(needed(rest, "what? whatis EXPRESSION")?),
            "when" => Command::When,
            "help" | "h" => Command::Help(rest.to_owned()),
            "quit" | "q" | "exit" => Command::Quit,
            _ => return Err(format!("there is no command {name:?}; help lists them")),
        })
    }
}

fn needed(rest: &str, what: &str) -> Result<String, String> {
    match rest {
        "" => Err(what.to_owned()),
        rest => Ok(rest.to_owned()),
    }
}

fn number(text: &str, otherwise: u32) -> Result<u32, String> {
    match text {
        "" => Ok(otherwise),
        text => text.parse().map_err(|_| format!("{text:?} is no number")),
    }
}

fn place(text: &str) -> Result<Place, String> {
    match text {
        "" => Err("where to? go T".to_owned()),
        "crash" => Ok(Place::Crash),
        text => text.parse().map(Place::Moment),
    }
}

fn breakpoint(text: &str, is_temporary: bool) -> Result<Command, String> {
    let (at, condition) = match text.split_once(" if ") {
        Some((at, condition)) => (at.trim(), Some(needed(condition.trim(), "if what?")?)),
        None => (text, None),
    };
    let at = match at {
        "" => None,
        at if at.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(BreakAt::Line(number(at, 0)?))
        }
        at => Some(BreakAt::Location(at.parse()?)),
    };
    Ok(Command::Break { at, condition, is_temporary })
}
