//! Evaluating, numbering objects, and watching.

use super::Debugger;
use crate::breakpoint::BreakpointId;
use crate::interpreter::{Address, Evaluated, Request, Scope};
use crate::memory::Memory;
use crate::objects::{Object, Presence, names_in, stand_in, with_names};
use crate::watch::{Baseline, WORDS_MAX, Watched, Watching, Watchpoint, baseline};
use std::sync::Arc;
use wrr::Error;

/// The longest text of a value, in bytes.
const TEXT_BYTES_MAX: u32 = 64 << 10;

/// What came of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What it came to.
    pub came: Evaluated,
    /// The number that the object has, if it is one of the program's own.
    pub number: Option<usize>,
    /// What was printed.
    pub printed: Vec<u8>,
}

fn says(what: String) -> Error {
    Error::Moment(what)
}

impl Debugger<'_> {
    /// The objects of these numbers, which must live here, under the names that stand for them.
    fn named(&mut self, numbers: &[usize]) -> Result<Vec<(String, Object)>, Error> {
        let interpreter = self.interpreter()?;
        let mut named = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let Some(object) = self.objects.get_mut(&number) else {
                return Err(says(format!("there is no ${number}: print gives numbers to objects")));
            };
            let presence = object.presence(&*interpreter, &mut self.walker)?;
            let seen = object.lives.0.0;
            let what = match presence {
                Presence::Lives => {
                    named.push((stand_in(number), object.clone()));
                    continue;
                }
                Presence::NotYet(Some(tick)) => {
                    format!("${number} does not exist yet: it is created behind tick {}", tick.0)
                }
                Presence::NotYet(None) => {
                    format!("${number} does not exist yet: it was seen at tick {seen}")
                }
                Presence::Gone(Some(tick)) => {
                    format!("${number} does not exist any more: it was gone at tick {}", tick.0)
                }
                Presence::Gone(None) => {
                    format!("${number} does not exist any more: it was seen at tick {seen}")
                }
                Presence::Interrupted => "interrupted".to_owned(),
            };
            return Err(says(what));
        }
        Ok(named)
    }

    fn scope_here(&mut self) -> Result<Scope, Error> {
        let interpreter = self.interpreter()?;
        let Some(frame) = self.frame().map(|frame| frame.address) else {
            return Ok(Scope::default());
        };
        let memory = Memory(self.walker.memory(0).unwrap_or_default());
        Ok(interpreter.scope(memory, frame))
    }

    /// Evaluates in the selected frame, in a diversion. `$1` and the like stand for objects. A value that is an object of the program gets a number.
    ///
    /// # Errors
    /// An object does not live here; the diversion cannot be made.
    pub fn evaluate(&mut self, source: &str) -> Result<Value, Error> {
        let interpreter = self.interpreter()?;
        let (source, numbers) = with_names(source);
        let named = self.named(&numbers)?;
        let request = Request {
            scope: self.scope_here()?,
            names: named.iter().map(|(name, object)| (name.clone(), object.address)).collect(),
            source,
            only_expression: false,
            text_bytes_max: TEXT_BYTES_MAX,
        };
        let (came, printed, identity) = self.walker.divert(|diversion| {
            let came = interpreter.evaluate(diversion, &request)?;
            let printed = diversion.take_printed();
            let memory = Memory(diversion.memory(0).unwrap_or_default());
            let identity = match &came {
                Evaluated::Value { object, .. } => interpreter.identity(memory, *object),
                _ => None,
            };
            Ok((came, printed, identity))
        })?;
        let number = match &came {
            Evaluated::Value { object, type_name, .. } if !interpreter.is_plain(type_name) => {
                identity.and_then(|identity| self.number(*object, identity, type_name))
            }
            _ => None,
        };
        Ok(Value { came, number, printed })
    }

    /// The number of an object that lives here; `None` if it was made by the evaluation.
    fn number(&mut self, address: Address, identity: u64, type_name: &str) -> Option<usize> {
        let interpreter = self.interpreter.clone()?;
        let memory = Memory(self.walker.memory(0)?);
        if interpreter.identity(memory, address) != Some(identity) {
            return None;
        }
        let here = self.walker.position().tick;
        let same: Vec<usize> = self
            .objects
            .iter()
            .filter(|(_, known)| known.address == address && known.identity == identity)
            .map(|(number, _)| *number)
            .collect();
        for number in same {
            let object = self.objects.get_mut(&number)?;
            if matches!(object.presence(&*interpreter, &mut self.walker), Ok(Presence::Lives)) {
                return Some(number);
            }
        }
        let number = self.objects.keys().next_back().map_or(1, |last| last + 1);
        let object = Object::new(address, identity, type_name.to_owned(), here);
        self.objects.insert(number, object);
        Some(number)
    }

    /// What the program has printed here but not written yet.
    ///
    /// # Errors
    /// The diversion cannot be made.
    pub fn unwritten(&mut self) -> Result<Vec<u8>, Error> {
        match self.interpreter.clone() {
            Some(interpreter) => self.walker.divert(|diversion| interpreter.unwritten(diversion)),
            None => Ok(Vec::new()),
        }
    }

    /// The local variables of the selected frame, with what they hold.
    ///
    /// # Errors
    /// As [`Debugger::evaluate`].
    pub fn locals(&mut self) -> Result<Vec<(String, Evaluated)>, Error> {
        let interpreter = self.interpreter()?;
        let scope = self.scope_here()?;
        self.walker.divert(|diversion| {
            let mut names: Vec<String> =
                scope.locals.iter().map(|(name, _)| name.clone()).collect();
            if names.is_empty() {
                names = interpreter.mapping_names(diversion, &scope)?;
            }
            let mut values = Vec::with_capacity(names.len());
            for name in names {
                let request = Request {
                    scope: scope.clone(),
                    source: name.clone(),
                    only_expression: true,
                    text_bytes_max: TEXT_BYTES_MAX,
                    ..Request::default()
                };
                values.push((name, interpreter.evaluate(diversion, &request)?));
            }
            Ok(values)
        })
    }

    pub(super) fn baseline(&mut self) -> Result<Baseline, Error> {
        if let Some(known) = &self.baseline {
            return Ok(Arc::clone(known));
        }
        let found = match self.interpreter.clone() {
            Some(interpreter) => baseline(&*interpreter, &mut self.walker)?,
            None => Baseline::default(),
        };
        self.baseline = Some(Arc::clone(&found));
        Ok(found)
    }

    /// Watches an expression, in the selected frame if it names something of it. Gives what it is now.
    ///
    /// # Errors
    /// It is no expression; an object does not live here; it depends on too much.
    pub fn watch(&mut self, text: &str) -> Result<(BreakpointId, String), Error> {
        let interpreter = self.interpreter()?;
        let (source, numbers) = with_names(text);
        let objects = self.named(&numbers)?;
        let here = self.walker.position().tick;
        let selected = self.frame().map(|frame| (frame.address, Arc::clone(&frame.code)));
        let memory = Memory(self.walker.memory(0).unwrap_or_default());
        let globals = selected.as_ref().and_then(|(frame, _)| {
            let globals = interpreter.scope(memory, *frame).globals;
            let identity = interpreter.identity(memory, globals)?;
            Some(Object::new(globals, identity, "dict".to_owned(), here))
        });
        let names = names_in(&source);
        let frame = selected.filter(|(frame, _)| {
            let has_mapping = interpreter.scope(memory, *frame).mapping != 0;
            let locals = interpreter.local_names(memory, *frame);
            has_mapping || locals.iter().any(|(local, _)| names.contains(local))
        });
        let watched = Watched::Expression { source, globals, frame, objects };
        self.add_watchpoint(text, watched)
    }

    /// Watches bytes of memory 0. Gives what they are now.
    ///
    /// # Errors
    /// There are too many.
    pub fn watch_memory(&mut self, at: Address, len: u32) -> Result<(BreakpointId, String), Error> {
        let text = format!("*{at:#x}:{len}");
        if len == 0 || len as usize > 4 * WORDS_MAX {
            return Err(says(format!("between 1 and {} bytes can be watched", 4 * WORDS_MAX)));
        }
        self.add_watchpoint(&text, Watched::Memory { at, len })
    }

    fn add_watchpoint(
        &mut self,
        text: &str,
        watched: Watched,
    ) -> Result<(BreakpointId, String), Error> {
        let interpreter = self.interpreter.clone();
        let baseline = self.baseline()?;
        let id = self.new_id();
        let text_of = text.to_owned();
        let absent = (None, None);
        let watchpoint = Watchpoint { id, text: text_of, watched, hits: 0, absent };
        let mut watching = Watching::new(&watchpoint);
        watching.look(interpreter.as_deref(), &mut self.walker, &baseline)?;
        if watching.word_count() > WORDS_MAX {
            return Err(says(format!(
                "{text} depends on {} words of memory, the most is {WORDS_MAX}; watch a part of it",
                watching.word_count()
            )));
        }
        tracing::debug!("{text} depends on {} words", watching.word_count());
        let now = watching.now();
        self.watchpoints.push(watchpoint);
        Ok((id, now))
    }
}
