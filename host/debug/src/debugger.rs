//! The debugger: where it stands, and going from there.

mod cancelling;
mod machine;
mod values;

pub use machine::MachineFrame;
pub use values::Value;

use crate::breakpoint::{Breakpoint, BreakpointId, Location, Stopper};
use crate::interpreter::{Address, Frame, Interpreter, Raising};
use crate::memory::Memory;
use crate::objects::Object;
use crate::python::Python;
use crate::quest::{Step, StepTo};
use crate::sources::Sources;
use crate::stops::{Hit, StepOrStops, Stops, Wanted, functions_of};
use crate::watch::{Baseline, Change, Watched, Watchpoint};
use std::collections::BTreeMap;
use std::sync::Arc;
use wrr::format::Tick;
use wrr::{
    Backward, Error, LookAt, Looked, Moment, Position, Quest, Searched, Target, Test, View, Walked,
    Walker,
};

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
    /// The statement here does something to what is watched.
    Watchpoint(BreakpointId, Change),
    /// The statement here raises an exception that is caught, or ends the program.
    Raise,
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
    /// What else is to be said: a condition that could not be evaluated.
    pub note: Option<String>,
}

/// A statement that a watchpoint has stopped before, and where its effect is seen.
#[derive(Clone, Copy, Debug)]
struct Guilty {
    at: Position,
    seen_at: Tick,
}

/// A recorded run in a debugger.
pub struct Debugger<'a> {
    walker: Walker<'a>,
    interpreter: Option<Arc<dyn Interpreter>>,
    sources: Sources,
    breakpoints: Vec<Breakpoint>,
    watchpoints: Vec<Watchpoint>,
    objects: BTreeMap<usize, Object>,
    marks: BTreeMap<String, Position>,
    baseline: Option<Baseline>,
    next_id: u32,
    /// Where the last watchpoint has stopped it.
    guilty: Option<Guilty>,
    /// It was sent to where the program died.
    is_at_crash: bool,
    /// The instruction that comes, if it stands at a passage.
    index: Option<u32>,
    frames: Vec<Frame>,
    machine: Vec<MachineFrame>,
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
            watchpoints: Vec::new(),
            objects: BTreeMap::new(),
            marks: BTreeMap::new(),
            baseline: None,
            next_id: 1,
            guilty: None,
            is_at_crash: false,
            index: None,
            frames: Vec::new(),
            machine: Vec::new(),
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

    /// The interpreter's frames, innermost first.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The frames of the module's functions, innermost first, if the program is shown as what it is.
    #[must_use]
    pub fn machine_frames(&self) -> &[MachineFrame] {
        &self.machine
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
        let there = number < self.frames.len().max(self.machine.len());
        if there {
            self.selected = number;
        }
        there
    }

    /// Reads the frames where it stands. The one that is looked at is the innermost one of the program itself.
    fn refresh(&mut self) -> Result<(), Error> {
        self.frames.clear();
        self.machine.clear();
        if let (Some(interpreter), Some(memory)) = (&self.interpreter, self.walker.memory(0)) {
            self.frames = interpreter.frames(Memory(memory), self.index);
        }
        if self.interpreter.is_none() {
            self.machine = machine::frames(&mut self.walker)?;
        }
        let own = self.frames.iter().position(|frame| frame.code.is_of_the_program);
        self.selected = own.unwrap_or(0);
        Ok(())
    }

    /// It may have moved.
    fn arrive(&mut self, why: Why, from: Position) -> Result<Arrived, Error> {
        let has_moved = self.walker.position() != from;
        if has_moved {
            self.is_at_crash = false;
            self.index = self.index_here();
            self.refresh()?;
        }
        Ok(Arrived { why, has_moved, note: None })
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
        self.as_a_whole(|debugger| debugger.go_there(moment))
    }

    fn go_there(&mut self, moment: &Moment) -> Result<Arrived, Error> {
        let from = self.walker.position();
        if let Moment::Name(name) = moment
            && let Some(mark) = self.marks.get(name).copied()
        {
            return self.go_to_position(mark);
        }
        if self.walker.go_to(moment)? == Walked::Interrupted {
            return Ok(interrupted());
        }
        match (moment, self.interpreter.clone()) {
            (Moment::Start, Some(interpreter)) => {
                self.walker.search_on(&mut Step::forward(interpreter, StepTo::Line))?;
            }
            (Moment::End, Some(interpreter)) => {
                self.walker.search_back(&mut Step::backward(interpreter, StepTo::Any))?;
            }
            _ => {
                let goal = match self.walker.trace().target(moment)? {
                    Target::Tick(tick) => tick,
                    Target::Event(_) => Tick(u64::MAX),
                };
                self.settle(goal)?;
            }
        }
        self.arrive(Why::Asked, from)
    }

    /// Goes to where the program died: the last thing that it did itself. `None` if it ended well.
    ///
    /// # Errors
    /// What replaying gives.
    pub fn go_to_crash(&mut self) -> Result<Option<Arrived>, Error> {
        use wrr::format::Ending;
        let ended_well = match self.walker.trace().reader().ending() {
            Some(Ending::Exited { code }) => *code == 0,
            Some(Ending::Returned { .. }) => true,
            _ => false,
        };
        if ended_well {
            return Ok(None);
        }
        let arrived = self.go(&Moment::End)?;
        self.is_at_crash |= arrived.why == Why::Asked;
        Ok(Some(arrived))
    }

    /// Goes to a position.
    ///
    /// # Errors
    /// What replaying gives.
    pub fn go_to_position(&mut self, position: Position) -> Result<Arrived, Error> {
        self.as_a_whole(|debugger| {
            let from = debugger.walker.position();
            match debugger.walker.go_back_to(position)? {
                Walked::Interrupted => Ok(interrupted()),
                _ => debugger.arrive(Why::Asked, from),
            }
        })
    }

    /// If it does not stand at a passage, or at one behind the goal, it goes to the last one before; if there is none it stays.
    fn settle(&mut self, goal: Tick) -> Result<(), Error> {
        let is_there = self.walker.position().tick <= goal && self.walker.shown_here().is_some();
        if self.interpreter.is_none() || is_there {
            return Ok(());
        }
        self.walker.search_back(&mut Passage)?;
        Ok(())
    }

    fn interpreter(&self) -> Result<Arc<dyn Interpreter>, Error> {
        self.interpreter.clone().ok_or_else(|| {
            Error::Moment(
                "the program is not one that an interpreter runs: there are stepi, bstepi, x and watch *ADDR:LEN"
                    .to_owned(),
            )
        })
    }

    fn search(&mut self, quest: &mut dyn Quest, direction: Direction) -> Result<Arrived, Error> {
        self.as_a_whole(|debugger| debugger.search_there(quest, direction))
    }

    fn search_there(
        &mut self,
        quest: &mut dyn Quest,
        direction: Direction,
    ) -> Result<Arrived, Error> {
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
        self.arrive(why, from)
    }

    fn step_to(&mut self, to: StepTo, direction: Direction) -> Result<Arrived, Error> {
        let interpreter = self.interpreter()?;
        if direction == Direction::Backward {
            return self.search(&mut Step::backward(interpreter, to), direction);
        }
        if self.breakpoints.is_empty() && self.watchpoints.is_empty() {
            return self.search(&mut Step::forward(interpreter, to), direction);
        }
        self.as_a_whole(|debugger| {
            let from = debugger.walker.position();
            loop {
                let step = Step::forward(Arc::clone(&interpreter), to.clone());
                let mut quest = StepOrStops::new(step, debugger.stops(direction)?);
                match debugger.walker.search_on(&mut quest)? {
                    Searched::Found => {
                        if let Some(arrived) = debugger.arrive_at_hit(quest.stops, from)? {
                            return Ok(arrived);
                        }
                        // A breakpoint that is to be passed.
                    }
                    Searched::Nothing => {
                        debugger.walker.return_to(from)?;
                        return debugger.arrive(Why::Nowhere, from);
                    }
                    Searched::Interrupted => return Ok(interrupted()),
                }
            }
        })
    }

    /// Goes to the next line, or the last one before, also into functions.
    ///
    /// # Errors
    /// What replaying gives.
    pub fn step(&mut self, direction: Direction) -> Result<Arrived, Error> {
        self.step_to(StepTo::Line, direction)
    }

    /// Goes to the next tick, or the last one before; in an interpreter's program to its next instruction.
    ///
    /// # Errors
    /// What replaying gives.
    pub fn step_tick(&mut self, direction: Direction) -> Result<Arrived, Error> {
        if self.interpreter.is_some() {
            return self.search(&mut Passage, direction);
        }
        let from = self.walker.position();
        let tick = match direction {
            Direction::Forward => from.tick.0 + 1,
            Direction::Backward if from.in_call => from.tick.0,
            Direction::Backward if from.tick.0 > 0 => from.tick.0 - 1,
            Direction::Backward => return self.arrive(Why::Start, from),
        };
        if tick > self.walker.last_tick().0 {
            return self.arrive(Why::End, from);
        }
        match self.walker.go(Target::Tick(Tick(tick)))? {
            Walked::Interrupted => Ok(interrupted()),
            _ => self.arrive(Why::Asked, from),
        }
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
            self.interpreter()?;
            return Ok(Arrived { why: Why::Nowhere, has_moved: false, note: None });
        }
        self.step_to(StepTo::Instruction(around), direction)
    }

    /// Goes back to the last statement that raised an exception: one that was caught.
    ///
    /// # Errors
    /// As [`Debugger::step`].
    pub fn go_to_raise(&mut self) -> Result<Arrived, Error> {
        self.as_a_whole(Debugger::go_to_raise_there)
    }

    fn go_to_raise_there(&mut self) -> Result<Arrived, Error> {
        let interpreter = self.interpreter()?;
        let from = self.walker.position();
        loop {
            let mut handlers = Handlers(Arc::clone(&interpreter));
            match self.walker.search_back(&mut handlers)? {
                Searched::Found => {}
                Searched::Nothing => {
                    self.walker.return_to(from)?;
                    return self.arrive(Why::Nowhere, from);
                }
                Searched::Interrupted => return Ok(interrupted()),
            }
            // What was executed before the handler is what raised.
            self.walker.search_back(&mut Passage)?;
            let index = self.walker.shown_here();
            let memory = Memory(self.walker.memory(0).unwrap_or_default());
            let frame = interpreter.frames(memory, index).into_iter().next();
            let again = frame.is_some_and(|frame| {
                interpreter.raising(memory, frame.code.address, frame.index) == Raising::Again
            });
            if !again {
                let arrived = self.arrive(Why::Raise, from)?;
                self.is_at_crash = true;
                return Ok(arrived);
            }
        }
    }

    /// Goes on to the next thing to stop at, or back to the last one.
    ///
    /// # Errors
    /// What replaying gives.
    pub fn resume(&mut self, direction: Direction) -> Result<Arrived, Error> {
        self.as_a_whole(|debugger| debugger.resume_there(direction))
    }

    fn resume_there(&mut self, direction: Direction) -> Result<Arrived, Error> {
        let from = self.walker.position();
        let nothing_set = self.breakpoints.is_empty() && self.watchpoints.is_empty();
        if nothing_set && self.is_at_crash && direction == Direction::Backward {
            return self.go_to_raise();
        }
        while !(self.breakpoints.is_empty() && self.watchpoints.is_empty()) {
            let mut stops = self.stops(direction)?;
            let searched = match direction {
                Direction::Forward => self.walker.search_on(&mut stops)?,
                Direction::Backward => self.walker.search_back(&mut stops)?,
            };
            match searched {
                Searched::Interrupted => return Ok(interrupted()),
                Searched::Nothing => break,
                Searched::Found => {
                    if let Some(arrived) = self.arrive_at_hit(stops, from)? {
                        return Ok(arrived);
                    }
                }
            }
        }
        let (moment, why) = match direction {
            Direction::Forward => (Moment::End, Why::End),
            Direction::Backward => (Moment::Start, Why::Start),
        };
        let arrived = self.go(&moment)?;
        let has_moved = self.walker.position() != from;
        Ok(match arrived.why {
            Why::Asked => Arrived { why, has_moved, note: None },
            _ => arrived,
        })
    }

    /// A search has found what `continue` stops at, or nothing of that. `None` if it is a breakpoint that is to be passed.
    fn arrive_at_hit(&mut self, stops: Stops, from: Position) -> Result<Option<Arrived>, Error> {
        let certain = stops.at(self.walker.position().tick).map(Hit::Breakpoint);
        let note = stops.failure.map(|(id, failure)| {
            format!("the condition of breakpoint {} cannot be evaluated: {failure}", id.0)
        });
        let why = match stops.hit.or(certain) {
            Some(Hit::Watchpoint(id, change)) => {
                if stops.stands_before_effect {
                    let at = self.walker.position();
                    self.guilty = Some(Guilty { at, seen_at: stops.seen_at });
                } else {
                    if stops.seen_at < self.walker.position().tick {
                        self.walker.go(Target::Tick(stops.seen_at))?;
                    }
                    self.stand_before_effect()?;
                }
                if let Some(watchpoint) = self.watchpoints.iter_mut().find(|w| w.id == id) {
                    watchpoint.hits += 1;
                }
                self.learn(id, &change);
                Why::Watchpoint(id, change)
            }
            Some(Hit::Breakpoint(id)) if self.is_ignored(id) => return Ok(None),
            Some(Hit::Breakpoint(id)) => Why::Breakpoint(id),
            None => Why::Asked,
        };
        let arrived = self.arrive(why, from)?;
        Ok(Some(Arrived { note, ..arrived }))
    }

    /// The search of `continue`.
    fn stops(&mut self, direction: Direction) -> Result<Stops, Error> {
        let functions = match &self.interpreter {
            Some(_) => Vec::new(),
            None => {
                self.breakpoints.iter().map(|b| functions_of(&b.location, &self.walker)).collect()
            }
        };
        let baseline = match self.watchpoints.is_empty() {
            true => Baseline::default(),
            false => self.baseline()?,
        };
        let here = self.walker.position();
        let told = self.guilty.filter(|guilty| guilty.at == here).map(|guilty| guilty.seen_at);
        Ok(Stops::new(Wanted {
            interpreter: self.interpreter.clone(),
            breakpoints: self.breakpoints.clone(),
            functions,
            watchpoints: self.watchpoints.clone(),
            baseline,
            is_backward: direction == Direction::Backward,
            told: told.filter(|_| direction == Direction::Forward),
        }))
    }

    /// It stands where the effect of a statement is seen first, and goes to the statement.
    fn stand_before_effect(&mut self) -> Result<(), Error> {
        let Position { tick: seen_at, in_call, .. } = self.walker.position();
        if self.interpreter.is_some() {
            self.walker.search_back(&mut Passage)?;
        } else {
            // In a call it is behind the tick that was counted last.
            let before = if in_call { seen_at.0 } else { seen_at.0.saturating_sub(1) };
            self.walker.go(Target::Tick(Tick(before)))?;
        }
        self.guilty = Some(Guilty { at: self.walker.position(), seen_at });
        Ok(())
    }

    /// If what a watchpoint watches begins or ends here, its object does, if it has but one.
    fn learn(&mut self, id: BreakpointId, change: &Change) {
        let here = self.walker.position().tick;
        let Some(watchpoint) = self.watchpoints.iter_mut().find(|w| w.id == id) else { return };
        match change {
            Change::Begins => watchpoint.absent.0 = Some(here),
            Change::Ends => watchpoint.absent.1 = Some(Tick(here.0 + 1)),
            Change::Value { .. } => {}
        }
        let Watched::Expression { objects, frame: None, .. } = &watchpoint.watched else { return };
        let [(_, one)] = &objects[..] else { return };
        let same = |o: &&mut Object| o.address == one.address && o.identity == one.identity;
        for object in self.objects.values_mut().filter(same) {
            match change {
                Change::Begins if here < object.lives.0 => object.before = Some(here),
                Change::Ends if here >= object.lives.1 => object.after = Some(Tick(here.0 + 1)),
                _ => {}
            }
        }
    }

    /// Counts a hit. Whether it is one that is to be passed.
    fn is_ignored(&mut self, id: BreakpointId) -> bool {
        let Some(place) = self.breakpoints.iter().position(|b| b.id == id) else { return false };
        let breakpoint = &mut self.breakpoints[place];
        breakpoint.hits += 1;
        if breakpoint.ignore > 0 {
            breakpoint.ignore -= 1;
            return true;
        }
        if breakpoint.is_temporary {
            self.breakpoints.remove(place);
        }
        false
    }

    fn new_id(&mut self) -> BreakpointId {
        let id = BreakpointId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Sets a breakpoint.
    ///
    /// # Errors
    /// The module has no function with this name, if the program is shown as what it is.
    pub fn add_breakpoint(
        &mut self,
        location: Location,
        condition: Option<String>,
        is_temporary: bool,
    ) -> Result<BreakpointId, Error> {
        if self.interpreter.is_none() {
            if condition.is_some() {
                self.interpreter()?;
            }
            if functions_of(&location, &self.walker).is_empty() {
                return Err(Error::Moment(format!("the module has no function {location}")));
            }
        }
        let id = self.new_id();
        self.breakpoints.push(Breakpoint {
            id,
            location,
            condition,
            is_temporary,
            ignore: 0,
            hits: 0,
        });
        Ok(id)
    }

    /// The breakpoints, by their numbers.
    pub fn breakpoints(&mut self) -> &mut Vec<Breakpoint> {
        &mut self.breakpoints
    }

    /// The watchpoints, by their numbers.
    #[must_use]
    pub fn watchpoints(&self) -> &[Watchpoint] {
        &self.watchpoints
    }

    /// Whether there is a breakpoint or a watchpoint with a number.
    #[must_use]
    pub fn stopper(&self, id: BreakpointId) -> Option<Stopper> {
        if self.breakpoints.iter().any(|b| b.id == id) {
            return Some(Stopper::Breakpoint);
        }
        self.watchpoints.iter().any(|w| w.id == id).then_some(Stopper::Watchpoint)
    }

    /// Takes a breakpoint or a watchpoint away.
    pub fn delete(&mut self, id: BreakpointId) {
        self.breakpoints.retain(|b| b.id != id);
        self.watchpoints.retain(|w| w.id != id);
    }

    /// The places that have names.
    #[must_use]
    pub fn marks(&self) -> &BTreeMap<String, Position> {
        &self.marks
    }

    pub(crate) fn marks_mut(&mut self) -> &mut BTreeMap<String, Position> {
        &mut self.marks
    }

    /// Gives the place where it stands a name.
    pub fn mark(&mut self, name: &str) {
        let here = self.walker.position();
        self.marks.insert(name.to_owned(), here);
    }

    /// The numbered objects.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<usize, Object> {
        &self.objects
    }

    pub(crate) fn objects_mut(&mut self) -> &mut BTreeMap<usize, Object> {
        &mut self.objects
    }
}

/// It was interrupted.
fn interrupted() -> Arrived {
    Arrived { why: Why::Interrupted, has_moved: false, note: None }
}

/// Any passage.
struct Passage;

impl Quest for Passage {
    fn test(&mut self) -> (LookAt, Test) {
        (LookAt::Passages, Test::Always)
    }

    fn backward(&mut self, _walker: &mut Walker<'_>) -> Result<Option<Backward>, Error> {
        Ok(Some(Backward::noting(LookAt::Passages, Test::Always)))
    }

    fn looker(&mut self) -> Box<dyn wrr::Looker> {
        Box::new(|_: &View<'_>| Looked::Stop)
    }
}

/// Where a handler of exceptions begins in the program's own code.
struct Handlers(Arc<dyn Interpreter>);

impl Quest for Handlers {
    fn fork(&self) -> Option<Box<dyn Quest + Send>> {
        Some(Box::new(Handlers(Arc::clone(&self.0))))
    }

    fn test(&mut self) -> (LookAt, Test) {
        (LookAt::Passages, self.0.at_handler())
    }

    fn backward(&mut self, _walker: &mut Walker<'_>) -> Result<Option<Backward>, Error> {
        let (at, test) = self.test();
        Ok(Some(Backward { at, note: None, ask: Some(test), words: None }))
    }

    fn looker(&mut self) -> Box<dyn wrr::Looker> {
        let interpreter = Arc::clone(&self.0);
        Box::new(move |view: &View<'_>| {
            let memory = Memory(view.memory);
            let place = interpreter.place(view);
            let Some((place, code)) =
                place.and_then(|place| Some((place, interpreter.code(memory, place.code)?)))
            else {
                return Looked::On;
            };
            let is_handler =
                interpreter.raising(memory, place.code, place.index) == Raising::Handler;
            if code.is_of_the_program && is_handler { Looked::Stop } else { Looked::On }
        })
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
