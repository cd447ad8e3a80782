//! Watchpoints: expressions whose value is watched, and places in memory.
//!
//! What an expression's value depends on is what its evaluation reads: the evaluation is made in a diversion in which all accesses are noted. The run is then
//! looked at where one of these words is written. There the expression is evaluated anew: it may have another value, or depend on something else.
//!
//! ```text
//!            it is not there: an object, or its frame
//! Absent ◀──────────────────────────────────────────▶ Is(value)  ──one of the words has changed──▶ evaluated anew
//! ```

use crate::breakpoint::BreakpointId;
use crate::interpreter::{Address, Code, Evaluated, Frame, Interpreter, Request, Scope};
use crate::memory::Memory;
use crate::objects::{Object, names_in};
use std::ops::Range;
use std::sync::Arc;
use wrr::format::Tick;
use wrr::{Error, Target, Test, View, Walker};

/// The longest text of a value, in bytes.
const TEXT_BYTES_MAX: u32 = 1 << 20;

/// The most words that a watched value may depend on: they are all compared again and again.
pub(crate) const WORDS_MAX: usize = 1 << 14;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// An expression of the program's language.
    Expression {
        /// As it is evaluated: with names instead of numbered objects.
        source: String,
        /// The mapping of global names.
        globals: Option<Object>,
        /// The frame that it has names of, with its code.
        frame: Option<(Address, Arc<Code>)>,
        /// The objects that it names.
        objects: Vec<(String, Object)>,
    },
    /// So many bytes of memory 0, from an address on.
    Memory {
        /// The first one's address.
        at: Address,
        /// How many; in whole words of 32 bits they are compared.
        len: u32,
    },
}

/// A watchpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchpoint {
    /// Its number.
    pub id: BreakpointId,
    /// As it was written.
    pub text: String,
    /// What is watched.
    pub watched: Watched,
    /// How many times the program was stopped by it.
    pub hits: u32,
    /// What it names is not there up to this tick, and from that one on, as far as that is known.
    pub absent: (Option<Tick>, Option<Tick>),
}

/// What a watched expression is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It could not be found out yet.
    Unknown,
    /// Something that it names is not there.
    Absent,
    /// Its value, or the exception that evaluating it raises.
    Is(String),
}

/// What has happened to a watched expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has another value.
    Value {
        /// What it was.
        old: String,
        /// What it is.
        new: String,
    },
    /// What it names is there from here on.
    Begins,
    /// What it names is there up to here.
    Ends,
}

/// A watchpoint during a search.
pub(crate) struct Watching {
    pub id: BreakpointId,
    watched: Watched,
    pub seen: Seen,
    /// What the value depends on, and what that held.
    words: Vec<u32>,
    held: Vec<u32>,
    /// The frames around its frame.
    around: Vec<Address>,
    /// Its frame begins at this tick.
    pub begins: Tick,
    /// As in [`Watchpoint`].
    absent: (Option<Tick>, Option<Tick>),
    /// Its frame is not the one that was meant any more.
    over: bool,
    /// It could not be evaluated where it was to be: it is tried again and again.
    due: Option<Due>,
}

/// A value that could not be found out.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// Since then.
    since: Tick,
    /// When it is tried again, and how long after that, in ticks.
    next: Tick,
    gap: u64,
}

/// What [`Watching::find`] has found.
enum Found {
    /// Something that it names is not there.
    Absent,
    /// Its frame is not there any more, another one is at its place.
    Over,
    /// It can be evaluated; the slots are words that say which objects local names stand for.
    There { scope: Scope, slots: Vec<Address> },
}

/// What an evaluation of nothing reads: the interpreter's own affairs.
pub(crate) type Baseline = Arc<Vec<Range<u64>>>;

/// Evaluates something that reads nothing of the program, to know what every evaluation reads.
pub(crate) fn baseline(
    interpreter: &dyn Interpreter,
    walker: &mut Walker<'_>,
) -> Result<Baseline, Error> {
    let request = Request {
        source: "None".to_owned(),
        only_expression: true,
        text_bytes_max: TEXT_BYTES_MAX,
        ..Request::default()
    };
    let read = walker.divert_noting(|diversion| {
        interpreter.evaluate(diversion, &request)?;
        Ok(diversion.take_accesses())
    })?;
    Ok(Arc::new(read))
}

/// The words of some ranges that are in none of others. Both ascend.
fn without(ranges: &[Range<u64>], others: &[Range<u64>]) -> Vec<u32> {
    let mut words = Vec::new();
    for range in ranges {
        for at in range.clone().step_by(4) {
            let next = others.partition_point(|other| other.end <= at);
            if others.get(next).is_none_or(|other| other.start > at)
                && let Ok(at) = u32::try_from(at)
            {
                words.push(at);
            }
        }
    }
    words
}

/// A value as it is shown.
pub(crate) fn shown(evaluated: Evaluated) -> String {
    match evaluated {
        Evaluated::Value { text, .. } => text,
        Evaluated::Raised { text, .. } => format!("<{text}>"),
        Evaluated::SyntaxError(what) | Evaluated::Failed(what) => format!("<{what}>"),
        Evaluated::Nothing => String::new(),
    }
}

impl Watching {
    pub fn new(watchpoint: &Watchpoint) -> Watching {
        Watching {
            id: watchpoint.id,
            watched: watchpoint.watched.clone(),
            seen: Seen::Unknown,
            words: Vec::new(),
            held: Vec::new(),
            around: Vec::new(),
            begins: Tick(0),
            absent: watchpoint.absent,
            over: false,
            due: None,
        }
    }

    /// The test that passes where its frame begins, if it has one.
    pub fn beginning(&self, interpreter: &dyn Interpreter) -> Option<Test> {
        match &self.watched {
            Watched::Expression { frame: Some((address, code)), .. } => {
                Some(interpreter.at_beginning(*address, code.address))
            }
            _ => None,
        }
    }

    /// It is not known here: it is tried again after some time, and later and later.
    fn put_off(&mut self, here: Tick, due: Option<Due>) {
        let due = due.unwrap_or(Due { since: here, next: here, gap: 1 });
        let gap = 2 * due.gap;
        self.due = Some(Due { since: due.since, next: Tick(here.0.saturating_add(gap)), gap });
    }

    /// A stretch begins at a tick. `false` if it need not be looked at there, as it is not there, or only later.
    pub fn start(&mut self, here: Tick, until: Target) -> bool {
        self.begins = Tick(0);
        self.due = None;
        self.over = match (self.absent, until) {
            ((Some(before), _), Target::Tick(end)) if end <= before => true,
            ((_, Some(gone)), _) => here >= gone,
            _ => false,
        };
        match self.absent.0 {
            // Where a frame begins is searched for.
            Some(before) if here <= before && !self.over && !self.has_frame() => {
                self.wait_until(before);
                false
            }
            _ => !self.over,
        }
    }

    /// A search backward begins, or goes on, at a tick. `false` if there is nothing before.
    pub fn start_back(&mut self, here: Tick) -> bool {
        self.begins = Tick(0);
        self.due = None;
        self.over = self.absent.0.is_some_and(|before| here <= before);
        !self.over
    }

    /// Forgets the value: the next look evaluates it again.
    pub fn forget(&mut self) {
        self.seen = Seen::Unknown;
    }

    /// Whether it is searched for.
    pub fn is_searched(&self) -> bool {
        !self.over
    }

    /// Whether what it is was found out where it was looked at last.
    pub fn is_clear(&self) -> bool {
        self.over || (self.due.is_none() && self.seen != Seen::Unknown)
    }

    fn has_frame(&self) -> bool {
        matches!(self.watched, Watched::Expression { frame: Some(_), .. })
    }

    /// Its frame begins only at this tick: until then it is not there.
    pub fn wait_until(&mut self, tick: Tick) {
        self.begins = tick;
        self.seen = Seen::Absent;
        self.words.clear();
        self.held.clear();
    }

    /// What it is, as it is shown.
    pub fn now(&self) -> String {
        match &self.seen {
            Seen::Unknown => "<cannot be found out here>".to_owned(),
            Seen::Absent => "<not there>".to_owned(),
            Seen::Is(value) => value.clone(),
        }
    }

    /// How many words the value depends on.
    pub fn word_count(&self) -> usize {
        self.words.len()
    }

    fn needed(&self) -> Vec<&Object> {
        match &self.watched {
            Watched::Expression { globals, objects, .. } => {
                globals.iter().chain(objects.iter().map(|(_, object)| object)).collect()
            }
            Watched::Memory { .. } => Vec::new(),
        }
    }

    /// Where the run has to be looked at, as it is now.
    pub fn test(&self, interpreter: Option<&dyn Interpreter>) -> Test {
        if self.over {
            return Test::Any(Vec::new());
        }
        if self.due.is_some() {
            return Test::Always;
        }
        let changed = Test::Changed { words: self.words.clone() };
        let (Some(interpreter), Watched::Expression { frame, .. }) = (interpreter, &self.watched)
        else {
            return changed;
        };
        match &self.seen {
            Seen::Is(_) | Seen::Unknown => {
                let absent = self.needed().into_iter().map(|o| o.is_absent(interpreter));
                let left = interpreter.in_frames(&self.around);
                Test::Any([changed, left].into_iter().chain(absent).collect())
            }
            Seen::Absent => {
                let there = self
                    .needed()
                    .into_iter()
                    .map(|object| interpreter.is_object(object.address, object.identity));
                let inside = frame
                    .iter()
                    .map(|(address, code)| interpreter.in_activation(*address, code.address));
                Test::All(there.chain(inside).collect())
            }
        }
    }

    /// Passes where it may be something else than where it was looked at last. Between the last
    /// such place and that one it is the same everywhere.
    pub fn test_back(&self, interpreter: Option<&dyn Interpreter>) -> Test {
        let differ = Test::Differ { words: self.words.clone(), held: self.held.clone() };
        let (Some(interpreter), Watched::Expression { .. }, false) =
            (interpreter, &self.watched, self.seen == Seen::Absent)
        else {
            return if self.seen == Seen::Absent { self.test(interpreter) } else { differ };
        };
        let absent = self.needed().into_iter().map(|o| o.is_absent(interpreter));
        let left = interpreter.in_frames(&self.around);
        Test::Any([differ, left].into_iter().chain(absent).collect())
    }

    /// The words that [`Watching::test_back`] depends on. A frame that is left is not written to,
    /// but then it has begun before, or is a generator's and holds what it held.
    pub fn words_back(&self, interpreter: Option<&dyn Interpreter>) -> Option<Vec<u32>> {
        let mut words = self.words.clone();
        let (Some(interpreter), Watched::Expression { frame, .. }) = (interpreter, &self.watched)
        else {
            return Some(words);
        };
        if self.seen == Seen::Absent && frame.is_some() {
            return None;
        }
        words.extend(self.needed().iter().flat_map(|o| interpreter.identity_words(o.address)));
        words.extend(frame.iter().flat_map(|(address, _)| interpreter.frame_words(*address)));
        Some(words)
    }

    /// Whether its frame is one of a generator.
    pub fn is_generator(&self) -> bool {
        matches!(&self.watched, Watched::Expression { frame: Some((_, code)), .. } if code.is_generator)
    }

    /// Whether its frame begins where the walker stands.
    pub fn begins_at(&self, walker: &mut Walker<'_>) -> bool {
        self.has_frame() && walker.shown_here() == Some(0)
    }

    /// What happens from what it is now to what it is afterwards.
    pub fn change_to(&self, after: Seen) -> Option<Change> {
        // The mapping of global names is nothing that a person has made.
        let is_named = matches!(&self.watched, Watched::Expression { frame, objects, .. } if frame.is_some() || !objects.is_empty());
        match (&self.seen, after) {
            (Seen::Is(old), Seen::Is(new)) if *old != new => {
                Some(Change::Value { old: old.clone(), new })
            }
            (Seen::Absent, Seen::Is(_)) if is_named => Some(Change::Begins),
            (Seen::Is(_), Seen::Absent) if is_named && !self.is_generator() => Some(Change::Ends),
            _ => None,
        }
    }

    /// Whether somebody has to be asked at a place: it is not the time of its frame before that begins.
    pub fn is_time(&self, tick: Tick) -> bool {
        !self.over && tick >= self.begins && self.absent.1.is_none_or(|gone| tick <= gone)
    }

    /// Whether its words are others than they were.
    pub fn has_changed(&self, memory: Memory<'_>) -> bool {
        self.words.iter().zip(&self.held).any(|(at, held)| memory.word(*at) != Some(*held))
    }

    /// Evaluates it where the walker stands. Gives what has happened since the last time, and at which tick that was seen: an earlier one if it could not be
    /// evaluated there.
    pub fn look(
        &mut self,
        interpreter: Option<&dyn Interpreter>,
        walker: &mut Walker<'_>,
        baseline: &Baseline,
    ) -> Result<Option<(Change, Tick)>, Error> {
        let here = walker.position().tick;
        let due = self.due.take();
        tracing::debug!("a watched value is looked at, at tick {}", here.0);
        let seen = match (interpreter, self.watched.clone()) {
            (_, Watched::Memory { at, len }) => {
                let bytes = walker.memory(0).and_then(|bytes| Memory(bytes).bytes(at, len));
                let first = at & !3;
                self.words = (first..at.saturating_add(len)).step_by(4).collect();
                match bytes {
                    Some(bytes) => Seen::Is(hex(bytes)),
                    None => Seen::Is("<outside of the memory>".to_owned()),
                }
            }
            (Some(interpreter), Watched::Expression { .. }) => match self.find(interpreter, walker)
            {
                Found::Over => {
                    self.over = true;
                    return Ok(None);
                }
                Found::Absent => Seen::Absent,
                Found::There { scope, slots } => {
                    self.evaluate(interpreter, walker, baseline, (scope, slots), due)?
                }
            },
            (None, Watched::Expression { .. }) => Seen::Absent,
        };
        let memory = Memory(walker.memory(0).unwrap_or_default());
        self.held = self.words.iter().map(|at| memory.word(*at).unwrap_or(0)).collect();
        let before = std::mem::replace(&mut self.seen, seen.clone());
        let is_generator = matches!(&self.watched, Watched::Expression { frame: Some((_, code)), .. } if code.is_generator);
        // The mapping of global names is nothing that a person has made.
        let is_named = matches!(&self.watched, Watched::Expression { frame, objects, .. } if frame.is_some() || !objects.is_empty());
        let change = match (before, seen) {
            (Seen::Is(old), Seen::Is(new)) if old != new => Change::Value { old, new },
            (Seen::Absent, Seen::Is(_)) if is_named && (!is_generator || here == self.begins) => {
                Change::Begins
            }
            (Seen::Is(_), Seen::Absent) if is_named && !is_generator => Change::Ends,
            _ => return Ok(None),
        };
        Ok(Some((change, due.map_or(here, |due| due.since))))
    }

    /// Where its names are looked up, where the walker stands.
    fn find(&mut self, interpreter: &dyn Interpreter, walker: &mut Walker<'_>) -> Found {
        let Watched::Expression { source, globals, frame, .. } = &self.watched else {
            return Found::Absent;
        };
        let index = walker.shown_here();
        let here = walker.position().tick;
        let memory = Memory(walker.memory(0).unwrap_or_default());
        if !self.needed().iter().all(|object| object.seems_there(interpreter, memory)) {
            return Found::Absent;
        }
        let Some((address, code)) = frame else {
            let globals = globals.as_ref().map_or(0, |globals| globals.address);
            let scope = Scope { globals, ..Scope::default() };
            return Found::There { scope, slots: Vec::new() };
        };
        let frames = interpreter.frames(memory, index);
        let is_it = |f: &Frame| f.address == *address && f.code.address == code.address;
        let Some(place) = frames.iter().position(is_it) else { return Found::Absent };
        let begins_here = place == 0 && frames[place].index == 0;
        if self.seen == Seen::Absent && self.begins < here && begins_here {
            // Another call that has its frame at the same place.
            return Found::Over;
        }
        let used = names_in(source);
        let locals = interpreter.local_names(memory, *address).into_iter();
        let slots = locals.filter(|(name, _)| used.contains(name)).flat_map(|(_, words)| words);
        let found =
            Found::There { scope: interpreter.scope(memory, *address), slots: slots.collect() };
        self.around = frames[place + 1..].iter().map(|frame| frame.address).collect();
        found
    }

    fn evaluate(
        &mut self,
        interpreter: &dyn Interpreter,
        walker: &mut Walker<'_>,
        baseline: &Baseline,
        (scope, slots): (Scope, Vec<Address>),
        due: Option<Due>,
    ) -> Result<Seen, Error> {
        let Watched::Expression { source, objects, .. } = &self.watched else {
            return Ok(Seen::Absent);
        };
        let request = Request {
            scope,
            names: objects.iter().map(|(name, object)| (name.clone(), object.address)).collect(),
            source: source.clone(),
            only_expression: true,
            text_bytes_max: TEXT_BYTES_MAX,
        };
        let (value, read) = walker.divert_noting(|diversion| {
            let value = interpreter.evaluate(diversion, &request)?;
            Ok((value, diversion.take_accesses()))
        })?;
        if let Evaluated::Failed(why) = &value {
            tracing::debug!("a watched value cannot be found out here: {why}");
            self.put_off(walker.position().tick, due);
            return Ok(match &self.seen {
                Seen::Absent => Seen::Unknown,
                known => known.clone(),
            });
        }
        self.words = without(&read, baseline);
        self.words.extend(slots);
        self.words.sort_unstable();
        self.words.dedup();
        Ok(Seen::Is(shown(value)))
    }

    /// Whether the looker's test holds for this one, as far as it is more than changed words.
    pub fn wants(&self, interpreter: Option<&dyn Interpreter>, view: &View<'_>) -> bool {
        if !self.is_time(view.tick) {
            return false;
        }
        let memory = Memory(view.memory);
        match &self.seen {
            _ if self.due.is_some_and(|due| view.tick < due.next) => false,
            _ if self.due.is_some() => true,
            Seen::Is(_) if self.has_changed(memory) => true,
            _ => {
                let Some(interpreter) = interpreter else { return false };
                let there = self.needed().iter().all(|o| o.seems_there(interpreter, memory));
                let innermost = interpreter.place(view).map(|place| (place.frame, place.code));
                match (&self.seen, &self.watched) {
                    (Seen::Is(_) | Seen::Unknown, _) => {
                        !there || innermost.is_some_and(|(frame, _)| self.around.contains(&frame))
                    }
                    (Seen::Absent, Watched::Expression { frame, .. }) => {
                        there
                            && frame.as_ref().is_none_or(|(address, code)| {
                                innermost == Some((*address, code.address))
                            })
                    }
                    _ => false,
                }
            }
        }
    }
}

/// Bytes as people read them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 * bytes.len());
    for (number, byte) in bytes.iter().enumerate() {
        if number > 0 {
            text.push(' ');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_evaluation_reads_is_left_out() {
        let words = without(&[8..20, 40..44, 60..64], &[0..4, 12..16, 40..48]);
        assert_eq!(words, [8, 16, 60]);
    }
}
