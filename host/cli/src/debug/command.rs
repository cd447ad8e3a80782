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
    Tick(Direction, u32),
    Finish(Direction),
    Continue(Direction),
    Break { at: Option<BreakAt>, condition: Option<String>, is_temporary: bool },
    Ignore { id: u32, times: u32 },
    Watch(WatchWhat),
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
    Memory { format: Format, at: String },
    Mark(String),
    When,
    Output(Option<usize>),
    Events(u32),
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

/// What to watch.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchWhat {
    Expression(String),
    Memory { at: u32, len: u32 },
}

/// How `x` shows memory: `x/8xw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub count: u32,
    pub letter: char,
    /// Of a unit, in bytes.
    pub bytes: u32,
}

/// What a command is called, with its aliases, its arguments, and what it does.
pub const HELP: &[(&str, &str, &str)] = &[
    (
        "go, g, goto",
        "T",
        "go to a moment: start, end, crash, 12345 (a tick), #17 (just before event 17), 40%, 2.5s, @name",
    ),
    ("step, s", "[N]", "go to the next line, also into functions"),
    ("bstep, bs", "[N]", "go back to the line before, also into functions"),
    ("next, n", "[N]", "go to the next line of this function"),
    ("bnext, bn", "[N]", "go back to the line before in this function"),
    ("finish", "", "go on until this function has returned"),
    ("bfinish", "", "go back to where this function was called"),
    (
        "continue, c",
        "",
        "go on to the next breakpoint, or the next statement that changes a watched value",
    ),
    ("bcontinue, bc", "", "go back to the last one; from a crash, to the statement that raised"),
    ("stepi, si", "[N]", "go to the next instruction of the interpreter, or tick of the machine"),
    ("bstepi, bsi", "[N]", "go back to the one before"),
    (
        "break, b",
        "[PLACE] [if CONDITION]",
        "stop at a function, a qualified name, FILE:LINE or LINE",
    ),
    ("tbreak, tb", "[PLACE] [if CONDITION]", "the same, once"),
    ("ignore", "ID N", "pass a breakpoint N times first"),
    (
        "watch, w",
        "EXPRESSION | *ADDR:LEN",
        "stop at statements that change a value, or bytes of memory",
    ),
    ("delete, d", "[ID]...", "delete breakpoints and watchpoints, or all of them"),
    ("info, i", "breakpoints|watchpoints|checkpoints|marks|objects|events", "list them"),
    ("backtrace, bt, where", "", "show the functions that have been called"),
    ("up", "[N]", "look at the function that called this one"),
    ("down", "[N]", "look at the function that this one called"),
    ("frame, f", "N", "look at a function of the backtrace"),
    ("list, l", "[LINE]", "show the text around"),
    ("locals", "", "show the local variables"),
    (
        "print, p",
        "EXPRESSION",
        "evaluate something; nothing of it stays; $1, $2, ... are objects that were printed",
    ),
    ("!", "STATEMENT", "run something; nothing of it stays"),
    ("whatis", "EXPRESSION", "show the type of something"),
    ("x", "[/COUNT FORMAT SIZE] ADDR", "show memory: x/8xw 1024; formats x d u c s, sizes b h w g"),
    ("mark", "NAME", "give this moment a name, for go @NAME"),
    ("when", "", "show what time it is: tick, event, wall clock"),
    ("output", "[N|all]", "show the last N lines that were printed by now"),
    ("events", "[N]", "show what the program asked the system around here"),
    ("help, h", "[COMMAND]", "this"),
    ("quit, q", "", "leave"),
];

/// The first names of all commands and their aliases.
pub fn names() -> impl Iterator<Item = &'static str> {
    HELP.iter().flat_map(|(names, ..)| names.split(", "))
}

impl Command {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Command, String> {
        let line = line.trim();
        if let Some(statement) = line.strip_prefix('!') {
            return Ok(Command::Run(needed(statement.trim(), "what? !STATEMENT")?));
        }
        if line.starts_with('#') {
            return Ok(Command::Nothing);
        }
        let end = line.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let rest = rest.trim();
        use Direction::{Backward, Forward};
        let count = || number(rest, 1);
        Ok(match name {
            "" if rest.is_empty() => Command::Nothing,
            "go" | "g" | "goto" => Command::Go(place(rest)?),
            "step" | "s" => Command::Step(Forward, count()?),
            "bstep" | "bs" => Command::Step(Backward, count()?),
            "next" | "n" => Command::Next(Forward, count()?),
            "bnext" | "bn" => Command::Next(Backward, count()?),
            "stepi" | "si" => Command::Tick(Forward, count()?),
            "bstepi" | "bsi" => Command::Tick(Backward, count()?),
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
            "watch" | "w" => Command::Watch(watch(rest)?),
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
            "x" => memory(rest)?,
            "mark" => Command::Mark(needed(rest, "which name? mark NAME")?),
            "when" => Command::When,
            "output" => Command::Output(match rest {
                "all" => None,
                count => Some(number(count, 20)? as usize),
            }),
            "events" => Command::Events(number(rest, 5)?),
            "help" | "h" => Command::Help(rest.to_owned()),
            "quit" | "q" | "exit" => Command::Quit,
            _ => return Err(format!("there is no command {line:?}; help lists them")),
        })
    }

    /// Whether an empty line does it once more.
    pub fn is_repeated(&self) -> bool {
        matches!(
            self,
            Command::Step(..)
                | Command::Next(..)
                | Command::Tick(..)
                | Command::Continue(..)
                | Command::Up(..)
                | Command::Down(..)
        )
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

/// An address or a length: decimal, or hexadecimal behind `0x`.
pub fn address(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
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
    let (at, condition) = match text.split_once("if ") {
        Some((at, condition)) if at.is_empty() || at.ends_with(char::is_whitespace) => {
            (at.trim(), Some(needed(condition.trim(), "if what?")?))
        }
        _ => (text, None),
    };
    let at = match at {
        "" => None,
        at if at.bytes().all(|byte| byte.is_ascii_digit()) => Some(BreakAt::Line(number(at, 0)?)),
        at => Some(BreakAt::Location(at.parse()?)),
    };
    Ok(Command::Break { at, condition, is_temporary })
}

fn watch(text: &str) -> Result<WatchWhat, String> {
    let text = needed(text, "what? watch EXPRESSION, or watch *ADDR:LEN")?;
    let Some(memory) = text.strip_prefix('*') else { return Ok(WatchWhat::Expression(text)) };
    let (at, len) = memory.split_once(':').unwrap_or((memory, "4"));
    match (address(at.trim()), address(len.trim())) {
        (Some(at), Some(len)) => Ok(WatchWhat::Memory { at, len }),
        _ => Err(format!("{text:?} is no place in memory; write watch *ADDR:LEN")),
    }
}

fn memory(rest: &str) -> Result<Command, String> {
    let mut format = Format { count: 1, letter: 'x', bytes: 4 };
    let at = match rest.strip_prefix('/') {
        None => rest,
        Some(rest) => {
            let (letters, at) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let digits = letters.find(|c: char| !c.is_ascii_digit()).unwrap_or(letters.len());
            format.count = number(&letters[..digits], 1)?;
            for letter in letters[digits..].chars() {
                match letter {
                    'b' => format.bytes = 1,
                    'h' => format.bytes = 2,
                    'w' => format.bytes = 4,
                    'g' => format.bytes = 8,
                    'c' => (format.letter, format.bytes) = ('c', 1),
                    'x' | 'd' | 'u' | 's' => format.letter = letter,
                    _ => return Err(format!("there is no format {letter:?}; see help x")),
                }
            }
            at
        }
    };
    let at = needed(at.trim(), "where? x/8xw ADDR")?;
    Ok(Command::Memory { format, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_help_is_known() {
        for name in names() {
            for line in [name.to_owned(), format!("{name} 1"), format!("{name} end")] {
                let parsed = Command::parse(&line);
                let unknown = parsed.as_ref().err().filter(|e| e.contains("no command"));
                assert_eq!(unknown, None, "{line}");
            }
        }
    }

    #[test]
    fn breakpoints_have_conditions() {
        let at = |text: &str| Some(BreakAt::Location(text.parse().unwrap()));
        let breakpoint = |at, condition: Option<&str>| {
            let condition = condition.map(str::to_owned);
            Ok(Command::Break { at, condition, is_temporary: false })
        };
        assert_eq!(Command::parse("b f"), breakpoint(at("f"), None));
        assert_eq!(Command::parse("b a.py:3 if x > 2"), breakpoint(at("a.py:3"), Some("x > 2")));
        assert_eq!(Command::parse("b if x"), breakpoint(None, Some("x")));
        assert_eq!(Command::parse("b gif"), breakpoint(at("gif"), None));
        assert_eq!(Command::parse("b 12"), breakpoint(Some(BreakAt::Line(12)), None));
    }

    #[test]
    fn memory_is_named_by_address_and_format() {
        let memory = |count, letter, bytes, at: &str| {
            Ok(Command::Memory { format: Format { count, letter, bytes }, at: at.to_owned() })
        };
        assert_eq!(Command::parse("x 16"), memory(1, 'x', 4, "16"));
        assert_eq!(Command::parse("x/8xb 0x10"), memory(8, 'x', 1, "0x10"));
        assert_eq!(Command::parse("x/dg id(a)"), memory(1, 'd', 8, "id(a)"));
        assert!(Command::parse("x/q 1").is_err());
        let watch = Command::Watch(WatchWhat::Memory { at: 32, len: 8 });
        assert_eq!(Command::parse("watch *0x20:8"), Ok(watch));
        assert!(Command::parse("watch *a:8").is_err());
    }
}
