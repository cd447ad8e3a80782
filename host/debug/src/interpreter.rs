//! What the debugger asks of a guest that is an interpreter: one adapter for each kind.

use crate::memory::Memory;
use std::sync::Arc;
use wrr::{Diversion, Error, Test, View};

/// The address of something in the guest's memory.
pub type Address = u32;

/// A piece of a program: a function's or a module's code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// Where it is.
    pub address: Address,
    /// The file that it is from, as the program knows it.
    pub path: String,
    /// Its own name.
    pub name: String,
    /// Its name with those of what it stands in.
    pub qualified_name: String,
    /// The line by instruction; 0 where there is none.
    pub lines: Vec<u32>,
    /// Whether the program's author has written it; otherwise it came with the interpreter.
    pub is_of_the_program: bool,
}

impl Code {
    /// The line of an instruction; 0 if it has none.
    #[must_use]
    pub fn line(&self, index: u32) -> u32 {
        self.lines.get(index as usize).copied().unwrap_or(0)
    }

    /// The first instruction of what stands in a function; before it are those of the call itself, which have the line of the
    /// function's beginning.
    #[must_use]
    pub fn body(&self) -> u32 {
        if self.name.starts_with('<') {
            return 0;
        }
        let head = self.line(0);
        let body = self.lines.iter().position(|line| *line != head && *line != 0);
        body.unwrap_or(0) as u32
    }

    /// The instructions of a line, as ranges with both bounds in them.
    #[must_use]
    pub fn ranges_of(&self, line: u32) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (index, _) in self.lines.iter().enumerate().filter(|(_, l)| **l == line) {
            let index = index as u32;
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == index => *last = index,
                _ => ranges.push((index, index)),
            }
        }
        ranges
    }
}

/// A call of a function that has not returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it is; while it lives no other one is there.
    pub address: Address,
    /// What runs in it.
    pub code: Arc<Code>,
    /// The instruction that comes next in the innermost frame; in others the one that is being executed.
    pub index: u32,
}

impl Frame {
    /// The line that it is at.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.code.line(self.index)
    }
}

/// A place in an interpreted program: between two instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The innermost frame.
    pub frame: Address,
    /// Its code.
    pub code: Address,
    /// The instruction that comes.
    pub index: u32,
    /// The instruction that was executed last in this frame; `None` if there was none.
    pub before: Option<u32>,
}

/// Something to be evaluated.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The frame in which names are looked up.
    pub frame: Address,
    /// More names, with the objects that they stand for.
    pub names: Vec<(String, Address)>,
    /// The text.
    pub source: String,
    /// Refuse what is not an expression.
    pub only_expression: bool,
    /// The longest text of an answer, in bytes.
    pub text_bytes_max: u32,
}

/// What an evaluation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// It was a statement.
    Nothing,
    /// A value.
    Value {
        /// Where it is, in the diversion.
        object: Address,
        /// Its type's name.
        type_name: String,
        /// As the language shows it.
        text: String,
    },
    /// It raised an exception: its type's name, and a line about it.
    Raised {
        /// The type's name.
        type_name: String,
        /// The exception in a line.
        text: String,
    },
    /// It is not of the language.
    SyntaxError(String),
    /// The interpreter itself failed, or was interrupted.
    Failed(String),
}

/// An interpreter in a guest.
pub trait Interpreter: Send + Sync {
    /// The place that is looked at, at a passage.
    fn place(&self, view: &View<'_>) -> Option<Place>;

    /// A code.
    fn code(&self, memory: Memory<'_>, address: Address) -> Option<Arc<Code>>;

    /// Names of a code that never stand for anything else: of its file, and of itself. Those who compare them need not read the code.
    fn code_id(&self, memory: Memory<'_>, address: Address) -> Option<[Address; 2]>;

    /// The frames, innermost first. `index` is the instruction that comes, if it stands at a passage.
    fn frames(&self, memory: Memory<'_>, index: Option<u32>) -> Vec<Frame>;

    /// Passes if the innermost frame is one of these.
    fn in_frames(&self, frames: &[Address]) -> Test;

    /// Passes where a code's id has not been asked about; see [`Interpreter::code_id`].
    fn in_new_code(&self) -> Test;

    /// The local variables of a frame that have a value, with their objects; those that a class or a module has are not among them.
    fn locals(&self, memory: Memory<'_>, frame: Address) -> Vec<(String, Address)>;

    /// What tells one object from another one that is or was at the same address: `None` if none is there.
    fn identity(&self, memory: Memory<'_>, object: Address) -> Option<u64>;

    /// Evaluates.
    ///
    /// # Errors
    /// The diversion cannot do what it is asked.
    fn evaluate(
        &self,
        diversion: &mut Diversion<'_>,
        request: &Request,
    ) -> Result<Evaluated, Error>;
}
