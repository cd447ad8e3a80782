//! Breakpoints: where a program is to stop.

use crate::interpreter::Code;
use std::fmt;
use std::str::FromStr;

/// The number of a breakpoint or a watchpoint, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BreakpointId(pub u32);

/// What has a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopper {
    /// A breakpoint.
    Breakpoint,
    /// A watchpoint.
    Watchpoint,
}

/// Where to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// At the first line of a function with this name, or this qualified name; a module's is `<module>`.
    Function(String),
    /// At a line of a file. The file can be named by the end of its path.
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u32,
    },
}

impl FromStr for Location {
    type Err = String;

    /// `NAME`, `QUALIFIED.NAME`, `FILE:LINE`.
    fn from_str(text: &str) -> Result<Location, String> {
        let text = text.trim();
        if let Some((file, line)) = text.rsplit_once(':') {
            let number = line.trim().parse::<u32>().ok().filter(|line| *line > 0);
            let line = number.ok_or_else(|| format!("{line:?} is no line number"))?;
            if file.is_empty() {
                return Err("which file? Write FILE:LINE, or LINE for this one".to_owned());
            }
            return Ok(Location::Line { file: file.to_owned(), line });
        }
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(format!("{text:?} is no function and no FILE:LINE"));
        }
        Ok(Location::Function(text.to_owned()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Function(name) => write!(f, "{name}"),
            Location::Line { file, line } => write!(f, "{file}:{line}"),
        }
    }
}

impl Location {
    /// Whether it may be in this code.
    #[must_use]
    pub fn may_be_in(&self, code: &Code) -> bool {
        match self {
            Location::Function(name) if code.is_of_the_program => {
                *name == code.name
                    || *name == code.qualified_name
                    || code.qualified_name.replace(".<locals>", "") == *name
            }
            Location::Function(_) => false,
            Location::Line { file, line } => {
                is_end_of_path(file, &code.path) && code.lines.contains(line)
            }
        }
    }

    /// Whether it is where an instruction of a code begins something: `before` is the instruction that was executed last in the
    /// frame.
    #[must_use]
    pub fn is_at(&self, code: &Code, index: u32, before: Option<u32>) -> bool {
        match self {
            Location::Function(_) => {
                let body = code.body();
                index == body && before.is_none_or(|before| before < body) && self.may_be_in(code)
            }
            Location::Line { line, .. } => {
                code.line(index) == *line
                    && begins_line(code, index, before)
                    && self.may_be_in(code)
            }
        }
    }
}

/// Whether a line begins with this instruction: the one before was of another line, or further down.
#[must_use]
pub fn begins_line(code: &Code, index: u32, before: Option<u32>) -> bool {
    let line = code.line(index);
    line != 0
        && index >= code.body()
        && match before {
            None => true,
            Some(before) => before < code.body() || code.line(before) != line || before >= index,
        }
}

/// Whether a name is the end of a path, at a boundary of its parts.
fn is_end_of_path(name: &str, path: &str) -> bool {
    let name = name.strip_prefix("./").unwrap_or(name);
    match path.strip_suffix(name) {
        Some(rest) => rest.is_empty() || rest.ends_with(['/', '\\']),
        None => false,
    }
}

/// A breakpoint with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// Its number.
    pub id: BreakpointId,
    /// Where.
    pub location: Location,
    /// An expression that has to be true there.
    pub condition: Option<String>,
    /// It is gone after it has stopped the program once.
    pub is_temporary: bool,
    /// How many times to pass it first.
    pub ignore: u32,
    /// How many times the program was stopped there.
    pub hits: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> Code {
        Code {
            address: 8,
            path: "/app/lib/shop.py".to_owned(),
            name: "pay".to_owned(),
            qualified_name: "Cart.pay".to_owned(),
            lines: vec![3, 4, 4, 5, 4],
            is_of_the_program: true,
            is_generator: false,
        }
    }

    #[test]
    fn locations_are_read() {
        assert_eq!("pay".parse(), Ok(Location::Function("pay".to_owned())));
        let line = Location::Line { file: "lib/shop.py".to_owned(), line: 4 };
        assert_eq!("lib/shop.py:4".parse(), Ok(line.clone()));
        assert_eq!(line.to_string(), "lib/shop.py:4");
        for wrong in ["", "a b", ":3", "x.py:", "x.py:0", "x.py:one"] {
            assert!(wrong.parse::<Location>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_named_by_whole_parts_of_its_path() {
        for (file, fits) in
            [("shop.py", true), ("lib/shop.py", true), ("op.py", false), ("/app/lib/shop.py", true)]
        {
            let location = Location::Line { file: file.to_owned(), line: 4 };
            assert_eq!(location.may_be_in(&code()), fits, "{file}");
        }
    }

    #[test]
    fn a_line_begins_where_another_one_was_before_or_where_it_is_repeated() {
        let at = |index, before| begins_line(&code(), index, before);
        assert!(!at(0, None), "the call itself");
        assert!(at(1, Some(0)));
        assert!(!at(2, Some(1)));
        assert!(at(4, Some(3)));
        assert!(at(1, Some(4)), "back to the beginning of the same line");
        let entry = Location::Function("Cart.pay".to_owned());
        assert!(entry.is_at(&code(), 1, Some(0)));
        assert!(!entry.is_at(&code(), 1, Some(4)), "a loop");
    }
}
