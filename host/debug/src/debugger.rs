//! The debugger: where it stands, and going from there.

use crate::breakpoint::{Breakpoint, BreakpointId, Location};
use crate::interpreter::{Address, Evaluated, Frame, Interpreter, Request};
use crate::memory::Memory;
use crate::python::Python;
use crate::quest::{Breaks, Step, StepTo};
use crate::sources::Sources;
use std::sync::{Arc, Mutex, PoisonError};
use wrr::{Error, LookAt, Looked, Moment, Position, Quest, Searched, Test, View, Walked, Walker};

/// The longest text of a value, in bytes.
const TEXT_BYTES_MAX: u32 = 64 << 10;

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// With time.
    Forward,
    /// Against it.
    Backward,
}

/// Why it stands where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was to go there.
    Asked,
    /// A breakpoint.
    Breakpoint(BreakpointId),
    /// There was nothing to stop at up to the end of the run.
    End,
    /// There was nothing to stop at back to the start of the run.
    Start,
    /// It was interrupted, and is where it was before.
    Interrupted,
    /// There is no such place: it has not moved.
    Nowhere,
}

/// Where it has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Why.
    pub why: Why,
    /// Whether it has moved.
    pub has_moved: bool,
}

/// An object that has a number, `$1` and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub address: Address,
    /// What it is, as the interpreter tells.
    pub identity: u64,
    /// Where it was seen.
    pub seen: Position,
    /// Its type's name.
    pub type_name: String,
}

/// A recorded run in a debugger.
pub struct Debugger<'a> {
    walker: Walker<'a>,
    interpreter: Option<Arc<dyn Interpreter>>,
    sources: Sources,
    breakpoints: Vec<Breakpoint>,
    objects: Vec<Object>,
    next_id: u32,
    /// The instruction that comes, if it stands at a passage.
    index: Option<u32>,
    frames: Vec<Frame>,
    selected: usize,
}

impl<'a> Debugger<'a> {
    /// A debugger at the start of a recording.
    ///
    /// # Errors
    /// The recording cannot be read or replayed.
    pub fn new(mut walker: Walker<'a>) -> Result<Debugger<'a>, Error> {
        let interpreter = find_interpreter(&mut walker)?;
        let sources = match &interpreter {
            Some(_) => sources_of(&walker)?,
            None => Sources::default(),
        };
        let mut debugger = Debugger {
            walker,
            interpreter,
            sources,
            breakpoints: Vec::new(),
            objects: Vec::new(),
            next_id: 1,
            index: None,
            frames: Vec::new(),
            selected: 0,
        };
        debugger.go(&Moment::Start)?;
        Ok(debugger)
    }

    /// The run.
    pub fn walker(&mut self) -> &mut Walker<'a> {
        &mut self.walker
    }

    /// Whether the program is shown as what an interpreter runs.
    #[must_use]
    pub fn has_interpreter(&self) -> bool {
        self.interpreter.is_some()
    }

    /// The text of the program.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Adds a text of the program that the recording does not have.
    pub fn add_source(&mut self, path: &str, text: &str) {
        self.sources.add(path, text);
    }

    /// The interpreter's frames, innermost first.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The number of the frame in which names are looked up.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The frame in which names are looked up.
    #[must_use]
    pub fn frame(&self) -> Option<&Frame> {
        self.frames.get(self.selected)
    }

    /// Looks names up in another frame. `false` if there is none with this number.
    pub fn select(&mut self, number: usize) -> bool {
        let there = number < self.frames.len();
        if there {
            self.selected = number;
        }
        there
    }

    /// Reads the frames where it stands. The one that is looked at is the innermost one of the program itself.
    fn refresh(&mut self) {
        self.frames.clear();
        if let (Some(interpreter), Some(memory)) = (&self.interpreter, self.walker.memory(0)) {
            self.frames = interpreter.frames(Memory(memory), self.index);
        }
        let own = self.frames.iter().position(|frame| frame.code.is_of_the_program);
        self.selected = own.unwrap_or(0);
    }

    /// It has moved to a place where somebody has looked, or to another one.
    fn arrive(&mut self, why: Why, from: Position) -> Arrived {
        let has_moved = self.walker.position() != from;
        if has_moved {
            self.index = self.index_here();
            self.refresh();
        }
        Arrived { why, has_moved }
    }

    /// The instruction that comes, if it stands at a passage: the local that the passage shows is in the guest's frame.
    fn index_here(&mut self) -> Option<u32> {
        self.interpreter.as_ref()?;
        self.walker.shown_here()
    }

    /// Goes to a moment. In an interpreter's program that is the last place before it, or at it, where an instruction begins; the start and the end are those of
    /// the program's own code.
    ///
    /// # Errors
    /// There is no such moment; what replaying gives.
    pub fn go(&mut self, moment: &Moment) -> Result<Arrived, Error> {
        let from = self.walker.position();
        if self.walker.go_to(moment)? == Walked::Interrupted {
            return self.go_home(from);
        }
        match (moment, self.interpreter.clone()) {
            (Moment::Start, Some(interpreter)) => {
                self.walker.search_on(&mut Step::forward(interpreter, StepTo::Line))?;
            }
            (Moment::End, Some(interpreter)) => {
                self.walker.search_back(&mut Step::backward(interpreter, StepTo::Any))?;
            }
            _ => self.settle()?,
        }
        Ok(self.arrive(Why::Asked, from))
    }

    /// Goes to a position.
    ///
    /// # Errors
    /// What replaying gives.
    pub fn go_to_position(&mut self, position: Position) -> Result<Arrived, Error> {
        let from = self.walker.position();
        if self.walker.go_back_to(position)? == Walked::Interrupted {
            return self.go_home(from);
        }
        Ok(self.arrive(Why::Asked, from))
    }

    /// Back to where it was, after an interrupt.
    fn go_home(&mut self, from: Position) -> Result<Arrived, Error> {
        self.walker.clear_interrupt();
        self.walker.go_back_to(from)?;
        Ok(self.arrive(Why::Interrupted, from))
    }

    /// If it does not stand at a passage, it goes to the last one before; if there is none it stays.
    fn settle(&mut self) -> Result<(), Error> {
        if self.interpreter.is_none() || self.walker.shown_here().is_some() {
            return Ok(());
        }
        self.walker.search_back(&mut Passage)?;
        Ok(())
    }

    fn interpreter(&self) -> Result<Arc<dyn Interpreter>, Error> {
        self.interpreter.clone().ok_or_else(|| {
            Error::Moment("the program is not one that is interpreted: use stepi".to_owned())
        })
    }

    fn search(&mut self, quest: &mut dyn Quest, direction: Direction) -> Result<Arrived, Error> {
        let from = self.walker.position();
        let searched = match direction {
            Direction::Forward => self.walker.search_on(quest)?,
            Direction::Backward => self.walker.search_back(quest)?,
        };
        let why = match searched {
            Searched::Found => Why::Asked,
            Searched::Nothing => Why::Nowhere,
            Searched::Interrupted => Why::Interrupted,
        };
        Ok(self.arrive(why, from))
    }

    fn step_to(&mut self, to: StepTo, direction: Direction) -> Result<Arrived, Error> {
        let interpreter = self.interpreter()?;
        let mut quest = match direction {
            Direction::Forward => Step::forward(interpreter, to),
            Direction::Backward => Step::backward(interpreter, to),
        };
        self.search(&mut quest, direction)
    }

    /// Goes to the next line, or the last one before, also into functions.
    ///
    /// # Errors
    /// What replaying gives.
    pub fn step(&mut self, direction: Direction) -> Result<Arrived, Error> {
        self.step_to(StepTo::Line, direction)
    }

    /// Goes to the next line of the same function, or the last one before, over what it calls; out of it at its end or beginning.
    ///
    /// # Errors
    /// As [`Debugger::step`].
    pub fn next(&mut self, direction: Direction) -> Result<Arrived, Error> {
        let mut frames = self.frames_from(0);
        if frames.is_empty() {
            return self.step(direction);
        }
        let is_at_entry = self.frames.first().is_some_and(|frame| frame.index <= frame.code.body());
        if direction == Direction::Backward && is_at_entry {
            frames.remove(0);
        }
        self.step_to(StepTo::LineIn(frames), direction)
    }

    fn frames_from(&self, number: usize) -> Vec<Address> {
        self.frames.iter().skip(number).map(|frame| frame.address).collect()
    }

    /// Goes out of the selected function: to where it has returned to, or to where it was called.
    ///
    /// # Errors
    /// As [`Debugger::step`].
    pub fn finish(&mut self, direction: Direction) -> Result<Arrived, Error> {
        let around = self.frames_from(self.selected + 1);
        if around.is_empty() {
            return Ok(Arrived { why: Why::Nowhere, has_moved: false });
        }
        let own = self.frames[self.selected].address;
        if direction == Direction::Forward {
            return self.step_to(StepTo::Instruction(around), direction);
        }
        // The call's beginning, and the place before it.
        let interpreter = self.interpreter()?;
        self.search(&mut Step::to_caller(interpreter, own, around), direction)
    }

    /// Goes on to the next thing to stop at, or back to the last one.
    ///
    /// # Errors
    /// What replaying gives; a condition that cannot be evaluated.
    pub fn resume(&mut self, direction: Direction) -> Result<Arrived, Error> {
        let from = self.walker.position();
        let hit = Arc::new(Mutex::new(None));
        if let (Some(interpreter), false) = (self.interpreter.clone(), self.breakpoints.is_empty())
        {
            let mut quest = Breaks {
                interpreter,
                breakpoints: self.breakpoints.clone(),
                hit: Arc::clone(&hit),
            };
            let arrived = self.search(&mut quest, direction)?;
            match arrived.why {
                Why::Asked => {
                    let at = *hit.lock().unwrap_or_else(PoisonError::into_inner);
                    return Ok(self.hit(at, arrived));
                }
                Why::Nowhere => {}
                _ => return Ok(arrived),
            }
        }
        let (moment, why) = match direction {
            Direction::Forward => (Moment::End, Why::End),
            Direction::Backward => (Moment::Start, Why::Start),
        };
        let arrived = self.go(&moment)?;
        Ok(match arrived.why {
            Why::Asked => Arrived { why, has_moved: self.walker.position() != from },
            _ => arrived,
        })
    }

    fn hit(&mut self, id: Option<BreakpointId>, arrived: Arrived) -> Arrived {
        let Some(id) = id else { return arrived };
        if let Some(place) = self.breakpoints.iter().position(|b| b.id == id) {
            self.breakpoints[place].hits += 1;
            if self.breakpoints[place].is_temporary {
                self.breakpoints.remove(place);
            }
        }
        Arrived { why: Why::Breakpoint(id), ..arrived }
    }

    /// Sets a breakpoint.
    pub fn add_breakpoint(
        &mut self,
        location: Location,
        condition: Option<String>,
        is_temporary: bool,
    ) -> BreakpointId {
        let id = BreakpointId(self.next_id);
        self.next_id += 1;
        self.breakpoints.push(Breakpoint {
            id,
            location,
            condition,
            is_temporary,
            ignore: 0,
            hits: 0,
        });
        id
    }

    /// The breakpoints, by their numbers.
    pub fn breakpoints(&mut self) -> &mut Vec<Breakpoint> {
        &mut self.breakpoints
    }

    /// Evaluates in the selected frame, in a diversion. Gives what it came to and what it printed.
    ///
    /// # Errors
    /// The diversion cannot be made.
    pub fn evaluate(&mut self, source: &str) -> Result<(Evaluated, Vec<u8>), Error> {
        let interpreter = self.interpreter()?;
        let frame = self.frame().map(|frame| frame.address).unwrap_or(0);
        let request = Request {
            frame,
            names: Vec::new(),
            source: source.to_owned(),
            only_expression: false,
            text_bytes_max: TEXT_BYTES_MAX,
        };
        self.walker.divert(|diversion| {
            let evaluated = interpreter.evaluate(diversion, &request)?;
            Ok((evaluated, diversion.take_printed()))
        })
    }

    /// The local variables of the selected frame, with what they hold.
    ///
    /// # Errors
    /// As [`Debugger::evaluate`].
    pub fn locals(&mut self) -> Result<Vec<(String, Evaluated)>, Error> {
        let interpreter = self.interpreter()?;
        let Some(frame) = self.frame().map(|frame| frame.address) else { return Ok(Vec::new()) };
        let memory = self.walker.memory(0).unwrap_or_default();
        let names = interpreter.locals(Memory(memory), frame);
        self.walker.divert(|diversion| {
            let mut values = Vec::with_capacity(names.len());
            for (name, _) in names {
                let request = Request {
                    frame,
                    names: Vec::new(),
                    source: name.clone(),
                    only_expression: true,
                    text_bytes_max: TEXT_BYTES_MAX,
                };
                values.push((name, interpreter.evaluate(diversion, &request)?));
            }
            Ok(values)
        })
    }
}

/// Any passage.
struct Passage;

impl Quest for Passage {
    fn test(&mut self) -> (LookAt, Test) {
        (LookAt::Passages, Test::Always)
    }

    fn looker(&mut self) -> Box<dyn wrr::Looker> {
        Box::new(|_: &View<'_>| Looked::Stop)
    }
}

/// The interpreter that a program is, asked at its first passage.
fn find_interpreter(walker: &mut Walker<'_>) -> Result<Option<Arc<dyn Interpreter>>, Error> {
    if !walker.has_passages()? {
        return Ok(None);
    }
    if walker.search_on(&mut Passage)? != Searched::Found {
        return Ok(None);
    }
    let args = &walker.trace().reader().manifest().args;
    let text_is_the_program = args.get(1).is_none_or(|arg| arg == "-c");
    let python = walker.divert(|diversion| Python::find(diversion, text_is_the_program))?;
    Ok(Some(Arc::new(python)))
}

/// The texts that the program has read, and the one that it was given.
fn sources_of(walker: &Walker<'_>) -> Result<Sources, Error> {
    let reader = walker.trace().reader();
    let args = &reader.manifest().args;
    let script = args.iter().skip(1).find(|arg| !arg.starts_with('-'));
    let mut endings = vec![".py"];
    endings.extend(script.map(String::as_str));
    let mut sources = Sources::of(reader, &endings)?;
    if let Some(place) = args.iter().position(|arg| arg == "-c")
        && let Some(text) = args.get(place + 1)
    {
        sources.add("<string>", text);
    }
    Ok(sources)
}
