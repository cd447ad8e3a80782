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
    /// Whether its frames can be left and entered again.
    pub is_generator: bool,
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
        if self.name == "<module>" {
            return u32::from(self.lines.len() > 1);
        }
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

/// Where names are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The mapping of global names; 0 if there is none.
    pub globals: Address,
    /// The mapping of local names where it is another one; otherwise 0.
    pub mapping: Address,
    /// Local names that have a value, with their objects.
    pub locals: Vec<(String, Address)>,
}

/// What an instruction has to do with exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raising {
    /// A handler begins.
    Handler,
    /// An exception that was caught goes on.
    Again,
    /// Anything else; it may raise one.
    Other,
}

/// Something to be evaluated.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Where names are looked up.
    pub scope: Scope,
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
    /// The interpreter itself failed, or was interrupted: there are moments at which it cannot evaluate.
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

    /// Passes in a frame with this code.
    fn in_activation(&self, frame: Address, code: Address) -> Test;

    /// Words that are written when a frame begins.
    fn frame_words(&self, frame: Address) -> Vec<Address>;

    /// Passes where a handler of exceptions begins.
    fn at_handler(&self) -> Test;

    /// Passes in a frame with this code where it begins.
    fn at_beginning(&self, frame: Address, code: Address) -> Test;

    /// Where names are looked up in a frame.
    fn scope(&self, memory: Memory<'_>, frame: Address) -> Scope;

    /// The names that the mapping of a scope has, in a diversion: of local names if there are such, otherwise of global ones.
    ///
    /// # Errors
    /// As [`Interpreter::evaluate`].
    fn mapping_names(
        &self,
        diversion: &mut Diversion<'_>,
        scope: &Scope,
    ) -> Result<Vec<String>, Error>;

    /// The names that are local in a frame, whether they have a value or not, each with the words that say which object it stands for. Those of a class or a
    /// module are not among them.
    fn local_names(&self, memory: Memory<'_>, frame: Address) -> Vec<(String, Vec<Address>)>;

    /// What an instruction has to do with exceptions.
    fn raising(&self, memory: Memory<'_>, code: Address, index: u32) -> Raising;

    /// What tells one object from another one that is or was at the same address: `None` if none is there.
    fn identity(&self, memory: Memory<'_>, object: Address) -> Option<u64>;

    /// The words that [`Interpreter::identity`] depends on.
    fn identity_words(&self, object: Address) -> Vec<Address>;

    /// Passes where [`Interpreter::identity`] gives this.
    fn is_object(&self, object: Address, identity: u64) -> Test;

    /// Whether a value of this type is its text and nothing else, so that nobody needs a number for it.
    fn is_plain(&self, type_name: &str) -> bool;

    /// What the program has printed but not written yet, in a diversion.
    ///
    /// # Errors
    /// The diversion cannot do what it is asked.
    fn unwritten(&self, diversion: &mut Diversion<'_>) -> Result<Vec<u8>, Error>;

    /// Evaluates. What the evaluation reads is noted in a diversion that can: see [`Diversion::take_accesses`].
    ///
    /// # Errors
    /// The diversion cannot do what it is asked.
    fn evaluate(
        &self,
        diversion: &mut Diversion<'_>,
        request: &Request,
    ) -> Result<Evaluated, Error>;
}
