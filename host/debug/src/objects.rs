//! Objects with numbers: `$1`, `$2`, … stand for the same object at every moment at which it lives.
//!
//! An object is known by its address and by what the interpreter tells it from others with. Two objects of a type that follow each other at one address are
//! told apart by the moment between them at which there was none.

use crate::interpreter::{Address, Interpreter};
use crate::memory::Memory;
use wrr::format::Tick;
use wrr::{
    Backward, Error, LookAt, Looked, Looker, Quest, Searched, Target, Test, View, Walked, Walker,
};

/// An object that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub address: Address,
    /// What it is, as the interpreter tells.
    pub identity: u64,
    /// Its type's name.
    pub type_name: String,
    /// Between these ticks, included, it is known to live.
    pub lives: (Tick, Tick),
    /// The last tick before it was created, if that is known.
    pub before: Option<Tick>,
    /// The first tick after it was gone, if that is known.
    pub after: Option<Tick>,
}

/// Whether an object is there at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Lives,
    /// Not yet: the last tick before it was created, if that is known.
    NotYet(Option<Tick>),
    /// Not any more: the first tick after it was gone, if that is known.
    Gone(Option<Tick>),
    /// It was interrupted before that was found out.
    Interrupted,
}

/// Any place where something else than the object is at its address.
struct Absence {
    test: Test,
    /// What it depends on.
    words: Vec<Address>,
}

impl Quest for Absence {
    fn fork(&self) -> Option<Box<dyn Quest + Send>> {
        Some(Box::new(Absence { test: self.test.clone(), words: self.words.clone() }))
    }

    fn test(&mut self) -> (LookAt, Test) {
        (LookAt::Passages, self.test.clone())
    }

    fn backward(&mut self, _walker: &mut Walker<'_>) -> Result<Option<Backward>, Error> {
        let words = Some(self.words.clone());
        Ok(Some(Backward { words, ..Backward::noting(LookAt::Passages, self.test.clone()) }))
    }

    fn looker(&mut self) -> Box<dyn Looker> {
        Box::new(|_: &View<'_>| Looked::Stop)
    }
}

impl Object {
    /// An object that lives at a tick.
    #[must_use]
    pub fn new(address: Address, identity: u64, type_name: String, at: Tick) -> Object {
        Object { address, identity, type_name, lives: (at, at), before: None, after: None }
    }

    /// Whether it seems to be there: what is at its address looks like it.
    pub(crate) fn seems_there(&self, interpreter: &dyn Interpreter, memory: Memory<'_>) -> bool {
        interpreter.identity(memory, self.address) == Some(self.identity)
    }

    /// Passes where it is not there.
    pub(crate) fn is_absent(&self, interpreter: &dyn Interpreter) -> Test {
        Test::Not(Box::new(interpreter.is_object(self.address, self.identity)))
    }

    /// Whether it is there where the walker stands, which is where the walker stands again afterwards. What is learned about its life is kept.
    ///
    /// # Errors
    /// What replaying gives.
    pub fn presence(
        &mut self,
        interpreter: &dyn Interpreter,
        walker: &mut Walker<'_>,
    ) -> Result<Presence, Error> {
        let here = walker.position();
        let now = here.tick;
        let (first, last) = self.lives;
        if (first..=last).contains(&now) {
            return Ok(Presence::Lives);
        }
        if self.before.is_some_and(|before| now <= before) {
            return Ok(Presence::NotYet(self.before));
        }
        if self.after.is_some_and(|after| now >= after) {
            return Ok(Presence::Gone(self.after));
        }
        let seems_there =
            self.seems_there(interpreter, Memory(walker.memory(0).unwrap_or_default()));
        if !seems_there {
            return Ok(if now < first { Presence::NotYet(None) } else { Presence::Gone(None) });
        }
        // It looks like it: whether it is depends on what was between.
        let words = interpreter.identity_words(self.address);
        let mut absence = Absence { test: self.is_absent(interpreter), words };
        let from = Target::Tick(if now < first { first } else { last });
        let until = match here.in_call {
            true => Target::Event(here.event),
            false => Target::Tick(now),
        };
        let is_pinned = walker.pin()?;
        let searched = match walker.go(from)? {
            Walked::Interrupted => Searched::Interrupted,
            _ if now < first => walker.search_back_until(&mut absence, now)?,
            _ => walker.search_on_until(&mut absence, until)?,
        };
        let found = walker.position().tick;
        walker.return_to(here)?;
        if is_pinned {
            walker.unpin();
        }
        Ok(match searched {
            Searched::Nothing => {
                self.lives = (first.min(now), last.max(now));
                Presence::Lives
            }
            Searched::Interrupted => Presence::Interrupted,
            Searched::Found if now < first => {
                self.before = Some(found);
                Presence::NotYet(Some(found))
            }
            Searched::Found => {
                self.after = Some(found);
                Presence::Gone(Some(found))
            }
        })
    }
}

/// What stands for `$1` where only names can stand.
pub(crate) fn stand_in(number: usize) -> String {
    format!("_wrr_{number}")
}

/// An expression with names instead of numbered objects, and the numbers that are in it. Texts in it stay as they are.
#[must_use]
pub fn with_names(source: &str) -> (String, Vec<usize>) {
    let mut out = String::with_capacity(source.len());
    let mut numbers = Vec::new();
    let mut quote: Option<char> = None;
    let mut chars = source.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        match quote {
            Some(open) => {
                out.push(c);
                if c == '\\' {
                    out.extend(chars.next().map(|(_, next)| next));
                } else if c == open {
                    quote = None;
                }
            }
            None if c == '$' => {
                let mut digits = String::new();
                while let Some(&(_, digit)) = chars.peek().filter(|(_, c)| c.is_ascii_digit()) {
                    digits.push(digit);
                    chars.next();
                }
                match digits.parse::<usize>() {
                    Ok(number) => {
                        out.push_str(&stand_in(number));
                        if !numbers.contains(&number) {
                            numbers.push(number);
                        }
                    }
                    Err(_) => out.push('$'),
                }
            }
            None => {
                if c == '"' || c == '\'' {
                    quote = Some(c);
                }
                out.push(c);
            }
        }
    }
    (out, numbers)
}

/// The names that an expression may look up: what is no attribute, text or number in it.
#[must_use]
pub(crate) fn names_in(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut quote: Option<char> = None;
    let mut before = ' ';
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match quote {
            Some(open) => {
                if c == '\\' {
                    chars.next();
                } else if c == open {
                    quote = None;
                }
            }
            None if c.is_alphabetic() || c == '_' => {
                let mut name = String::from(c);
                while let Some(&next) = chars.peek().filter(|c| c.is_alphanumeric() || **c == '_') {
                    name.push(next);
                    chars.next();
                }
                // A text with a prefix is none.
                let is_prefix = matches!(chars.peek(), Some('"' | '\''));
                if before != '.' && !is_prefix && !names.contains(&name) {
                    names.push(name);
                }
                before = 'a';
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_objects_become_names_outside_of_texts() {
        let (text, numbers) = with_names("$3 in $12 or '$4' == \"\\\"$5\" and $3.x > $");
        assert_eq!(text, "_wrr_3 in _wrr_12 or '$4' == \"\\\"$5\" and _wrr_3.x > $");
        assert_eq!(numbers, [3, 12]);
    }

    #[test]
    fn names_are_what_is_looked_up() {
        assert_eq!(names_in("a.b + c[d].e(f='g') . h + i2"), ["a", "c", "d", "f", "i2"]);
        assert_eq!(names_in("b'x' + f\"y\" + _z"), ["_z"]);
    }
}
