//! What `continue` stops at: breakpoints and watchpoints, as one search.

use crate::breakpoint::{Breakpoint, BreakpointId, Location};
use crate::interpreter::{Evaluated, Interpreter, Request};
use crate::memory::Memory;
use crate::quest::{Past, SharedPast, Step, locked};
use crate::watch::{Baseline, Change, Watching, Watchpoint};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use wrr::format::Tick;
use wrr::{
    Backward, Error, Judged, LookAt, Looked, Looker, Position, Quest, Target, Test, View, Walker,
};

/// A breakpoint that was hit, and when.
type BreakpointAt = (Tick, BreakpointId);

/// What the run was stopped at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A breakpoint.
    Breakpoint(BreakpointId),
    /// A watchpoint, and what has happened there.
    Watchpoint(BreakpointId, Change),
}

/// What is searched for.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub interpreter: Option<Arc<dyn Interpreter>>,
    pub breakpoints: Vec<Breakpoint>,
    /// By breakpoint: the functions of the module that it means.
    pub functions: Vec<Vec<u32>>,
    pub watchpoints: Vec<Watchpoint>,
    pub baseline: Baseline,
    pub is_backward: bool,
    /// A watched value that changes at this tick has been told of already.
    pub told: Option<Tick>,
}

/// The search.
pub(crate) struct Stops {
    wanted: Wanted,
    /// Shared with the looker.
    watching: Arc<Mutex<Vec<Watching>>>,
    /// The last two breakpoints that the looker has come to, and where.
    at: Arc<Mutex<[Option<BreakpointAt>; 2]>>,
    /// What was found last.
    pub hit: Option<Hit>,
    /// Where its effect is seen.
    pub seen_at: Tick,
    /// It was found by the place before its effect, and that is where the walker stands.
    pub stands_before_effect: bool,
    /// Where the search backward begins.
    from: Option<Target>,
    /// Where the watched values were last evaluated, in a search backward.
    looked_at: Option<Position>,
    /// The lookers of a search backward are asked about breakpoints alone.
    is_noting: bool,
    /// A condition could not be evaluated.
    pub failure: Option<(BreakpointId, String)>,
    past: SharedPast,
}

impl Stops {
    pub fn new(wanted: Wanted) -> Stops {
        let watching = wanted.watchpoints.iter().map(Watching::new).collect();
        Stops {
            wanted,
            watching: Arc::new(Mutex::new(watching)),
            at: Arc::default(),
            hit: None,
            seen_at: Tick(0),
            stands_before_effect: false,
            from: None,
            looked_at: None,
            is_noting: false,
            failure: None,
            past: Arc::default(),
        }
    }

    /// The breakpoint at a tick at which the looker was.
    pub fn at(&self, tick: Tick) -> Option<BreakpointId> {
        let last = locked(&self.at).into_iter().flatten().find(|(at, _)| *at == tick);
        last.map(|(_, id)| id)
    }

    /// Where the run is looked at.
    fn look_at(&self) -> LookAt {
        match self.wanted.interpreter {
            Some(_) => LookAt::Passages,
            None => LookAt::Ticks,
        }
    }

    /// Where breakpoints may be. `None` if there are none.
    fn breakpoints_test(&self) -> Option<Test> {
        match &self.wanted.interpreter {
            _ if self.wanted.breakpoints.is_empty() => None,
            Some(interpreter) => Some(interpreter.in_new_code()),
            None => Some(Test::Entry { functions: self.wanted.functions.concat() }),
        }
    }

    /// What happens to what is watched between the place where the walker stands and the next one:
    /// what it is there is known already. `None` if it cannot be said.
    fn judge_watched(&mut self, walker: &mut Walker<'_>) -> Result<Option<bool>, Error> {
        let interpreter = self.wanted.interpreter.clone();
        let (here, at) = (walker.position().tick, self.look_at());
        let mut watching = std::mem::take(&mut *locked(&self.watching));
        let (mut found, mut is_clear) = (None, true);
        for one in watching.iter_mut().filter(|one| one.is_searched()) {
            let after = one.seen.clone();
            one.look(interpreter.as_deref(), walker, &self.wanted.baseline)?;
            is_clear &= one.is_clear();
            let from = self.from.unwrap_or(Target::Tick(here));
            let change = match one.change_to(after) {
                Some(Change::Begins) if one.is_generator() => {
                    // Its frame is entered again and again; only the first time it begins.
                    let begins = walker.at_next_place(at, from, |walker| one.begins_at(walker))?;
                    begins.then_some(Change::Begins)
                }
                change => change,
            };
            if let Some(change) = change {
                found = Some(Hit::Watchpoint(one.id, change));
            }
        }
        let from = self.from.unwrap_or(Target::Tick(here));
        *locked(&self.watching) = watching;
        self.looked_at = Some(walker.position());
        if !is_clear {
            return Ok(None);
        }
        let Some(hit) = found else { return Ok(Some(false)) };
        self.seen_at = walker.at_next_place(at, from, |walker| walker.position().tick)?;
        self.hit = Some(hit);
        self.stands_before_effect = true;
        Ok(Some(true))
    }

    /// Whether something has happened to what is watched, since the last time and up to where the
    /// walker stands.
    fn look_at_watched(&mut self, walker: &mut Walker<'_>) -> Result<bool, Error> {
        let interpreter = self.wanted.interpreter.clone();
        let here = walker.position().tick;
        let mut watching = std::mem::take(&mut *locked(&self.watching));
        let mut found = None;
        for one in watching.iter_mut().filter(|one| one.is_time(here)) {
            if let Some(change) = one.look(interpreter.as_deref(), walker, &self.wanted.baseline)? {
                found = Some((Hit::Watchpoint(one.id, change.0), change.1));
            }
        }
        *locked(&self.watching) = watching;
        let Some((hit, seen_at)) = found.filter(|_| self.wanted.told != Some(here)) else {
            return Ok(false);
        };
        self.hit = Some(hit);
        self.seen_at = seen_at;
        Ok(true)
    }

    /// Whether the condition of a breakpoint holds where the walker stands.
    fn holds(&mut self, id: BreakpointId, walker: &mut Walker<'_>) -> Result<bool, Error> {
        let breakpoint = self.wanted.breakpoints.iter().find(|b| b.id == id);
        let Some(condition) = breakpoint.and_then(|b| b.condition.clone()) else { return Ok(true) };
        let Some(interpreter) = self.wanted.interpreter.clone() else { return Ok(true) };
        let index = walker.shown_here();
        let memory = Memory(walker.memory(0).unwrap_or_default());
        let frames = interpreter.frames(memory, index);
        let scope = frames.first().map(|frame| interpreter.scope(memory, frame.address));
        let request = Request {
            scope: scope.unwrap_or_default(),
            source: format!("bool({condition})"),
            only_expression: true,
            text_bytes_max: 1 << 10,
            ..Request::default()
        };
        let came = walker.divert(|diversion| interpreter.evaluate(diversion, &request))?;
        Ok(match came {
            Evaluated::Value { text, .. } => text == "True",
            // Better to stop once too often than to pass by.
            failed => {
                self.failure = Some((id, crate::watch::shown(failed)));
                true
            }
        })
    }
}

impl Quest for Stops {
    fn test(&mut self) -> (LookAt, Test) {
        self.is_noting = false;
        self.stands_before_effect = false;
        // The test for new code has to be the first one that passes: what is known is told of that one.
        let mut tests: Vec<Test> = self.breakpoints_test().into_iter().collect();
        let watching = locked(&self.watching);
        tests.extend(watching.iter().map(|w| w.test(self.wanted.interpreter.as_deref())));
        (self.look_at(), Test::Any(tests))
    }

    fn looker(&mut self) -> Box<dyn Looker> {
        let interpreter = self.wanted.interpreter.clone();
        let breakpoints = self.wanted.breakpoints.clone();
        let functions = self.wanted.functions.clone();
        let watching = Arc::clone(&self.watching);
        let at = Arc::clone(&self.at);
        let past = Arc::clone(&self.past);
        let is_noting = self.is_noting;
        Box::new(move |view: &View<'_>| {
            let wanted = !is_noting
                && locked(&watching).iter().any(|w| w.wants(interpreter.as_deref(), view));
            let (found, otherwise) = match &interpreter {
                Some(interpreter) if !breakpoints.is_empty() => {
                    breakpoint_at(&**interpreter, &breakpoints, &past, view)
                }
                Some(_) => (None, Looked::On),
                None => {
                    let mut all = breakpoints.iter().zip(&functions);
                    let found = all.find(|(_, functions)| {
                        view.site == 0 && functions.contains(&view.function)
                    });
                    (found.map(|(b, _)| b.id), Looked::On)
                }
            };
            if let Some(id) = found {
                let mut at = locked(&at);
                *at = [Some((view.tick, id)), at[0]];
            }
            if wanted || found.is_some() { Looked::Stop } else { otherwise }
        })
    }

    fn begin(&mut self, walker: &mut Walker<'_>, until: Target) -> Result<(), Error> {
        let interpreter = self.wanted.interpreter.clone();
        self.is_noting = false;
        self.looked_at = None;
        self.window(walker);
        let mut watching = std::mem::take(&mut *locked(&self.watching));
        let here = walker.position().tick;
        for one in &mut watching {
            if !one.start(here, until) {
                continue;
            }
            if let (Some(interpreter), true) = (&interpreter, self.wanted.is_backward)
                && let Some(beginning) = one.beginning(&**interpreter)
                && let Some(tick) = walker.last_where(LookAt::Passages, &beginning, until)?
            {
                one.wait_until(tick);
                continue;
            }
            one.look(interpreter.as_deref(), walker, &self.wanted.baseline)?;
        }
        *locked(&self.watching) = watching;
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn Quest + Send>> {
        let mut stops = Stops::new(self.wanted.clone());
        stops.is_noting = self.is_noting;
        Some(Box::new(stops))
    }

    fn backward(&mut self, walker: &mut Walker<'_>) -> Result<Option<Backward>, Error> {
        let interpreter = self.wanted.interpreter.clone();
        let here = walker.position();
        let is_known = self.looked_at == Some(here);
        self.from.get_or_insert(match here.in_call {
            true => Target::Event(here.event),
            false => Target::Tick(here.tick),
        });
        let mut watching = std::mem::take(&mut *locked(&self.watching));
        let mut is_clear = true;
        for one in &mut watching {
            if !one.start_back(here.tick) {
                continue;
            }
            // Where a place was judged it has been looked at.
            if !is_known {
                one.forget();
                one.look(interpreter.as_deref(), walker, &self.wanted.baseline)?;
            }
            is_clear &= one.is_clear();
        }
        let searched = || watching.iter().filter(|one| one.is_searched());
        let tests: Vec<Test> =
            searched().map(|one| one.test_back(interpreter.as_deref())).collect();
        let words: Option<Vec<Vec<u32>>> =
            searched().map(|one| one.words_back(interpreter.as_deref())).collect();
        *locked(&self.watching) = watching;
        self.looked_at = Some(here);
        self.is_noting = is_clear;
        let ask = self.breakpoints_test();
        Ok(is_clear.then(|| Backward {
            at: self.look_at(),
            words: words.map(|words| words.concat()).filter(|_| ask.is_none()),
            note: (!tests.is_empty()).then_some(Test::Any(tests)),
            ask,
        }))
    }

    fn window(&mut self, walker: &mut Walker<'_>) {
        if let Some(interpreter) = &self.wanted.interpreter {
            *locked(&self.past) = Past::begin(&**interpreter, walker);
        }
    }

    fn judge(&mut self, walker: &mut Walker<'_>) -> Result<Judged, Error> {
        let here = walker.position().tick;
        match self.judge_watched(walker)? {
            Some(true) => return Ok(Judged::Found),
            None => return Ok(Judged::Unclear),
            Some(false) => {}
        }
        let at = self.at(here);
        *locked(&self.at) = Default::default();
        match at {
            Some(id) if self.holds(id, walker)? => {
                self.hit = Some(Hit::Breakpoint(id));
                Ok(Judged::Found)
            }
            _ => Ok(Judged::Missed),
        }
    }

    fn is_certain(&self) -> bool {
        self.wanted.breakpoints.iter().all(|b| b.condition.is_none())
            && locked(&self.watching).is_empty()
    }

    fn end(&mut self, walker: &mut Walker<'_>) -> Result<bool, Error> {
        self.look_at_watched(walker)
    }

    fn confirm(&mut self, walker: &mut Walker<'_>) -> Result<bool, Error> {
        if self.look_at_watched(walker)? {
            return Ok(true);
        }
        let at = self.at(walker.position().tick);
        *locked(&self.at) = Default::default();
        if let Some(id) = at
            && self.holds(id, walker)?
        {
            self.hit = Some(Hit::Breakpoint(id));
            return Ok(true);
        }
        Ok(false)
    }
}

/// A step that ends early at what `continue` stops at.
pub(crate) struct StepOrStops {
    pub step: Step,
    pub stops: Stops,
    /// The looker of the step has stopped it.
    is_at_step: Arc<AtomicBool>,
}

impl StepOrStops {
    pub fn new(step: Step, stops: Stops) -> StepOrStops {
        StepOrStops { step, stops, is_at_step: Arc::default() }
    }
}

impl Quest for StepOrStops {
    fn test(&mut self) -> (LookAt, Test) {
        let (at, stops) = self.stops.test();
        let (_, step) = self.step.test();
        (at, Test::Any(vec![stops, step]))
    }

    fn looker(&mut self) -> Box<dyn Looker> {
        let (mut stops, mut step) = (self.stops.looker(), self.step.looker());
        let is_at_step = Arc::clone(&self.is_at_step);
        Box::new(move |view: &View<'_>| {
            let (stops, step) = (stops.look(view), step.look(view));
            is_at_step.store(step == Looked::Stop, Ordering::Relaxed);
            match (stops, step) {
                (Looked::Stop, _) | (_, Looked::Stop) => Looked::Stop,
                (Looked::Known, Looked::Known) => Looked::Known,
                _ => Looked::On,
            }
        })
    }

    fn begin(&mut self, walker: &mut Walker<'_>, until: Target) -> Result<(), Error> {
        self.step.begin(walker, until)?;
        self.stops.begin(walker, until)
    }

    fn end(&mut self, walker: &mut Walker<'_>) -> Result<bool, Error> {
        self.stops.end(walker)
    }

    fn is_certain(&self) -> bool {
        false
    }

    fn confirm(&mut self, walker: &mut Walker<'_>) -> Result<bool, Error> {
        let is_at_step = self.is_at_step.load(Ordering::Relaxed);
        Ok(self.stops.confirm(walker)? || is_at_step)
    }
}

/// The breakpoint at a place of an interpreted program, or what the looker says if there is none.
fn breakpoint_at(
    interpreter: &dyn Interpreter,
    breakpoints: &[Breakpoint],
    past: &Mutex<Past>,
    view: &View<'_>,
) -> (Option<BreakpointId>, Looked) {
    let Some(place) = interpreter.place(view) else { return (None, Looked::On) };
    let Some(code) = interpreter.code(Memory(view.memory), place.code) else {
        return (None, Looked::On);
    };
    let mut near = breakpoints.iter().filter(|b| b.location.may_be_in(&code)).peekable();
    if near.peek().is_none() {
        return (None, Looked::Known);
    }
    let before = locked(past).pass(&place);
    (near.find(|b| b.location.is_at(&code, place.index, before)).map(|b| b.id), Looked::On)
}

/// The functions of the module that a breakpoint means, by their names.
pub(crate) fn functions_of(location: &Location, walker: &Walker<'_>) -> Vec<u32> {
    match location {
        Location::Function(name) => walker.functions_where(|mangled| {
            let readable = format!("{:#}", rustc_demangle::demangle(mangled));
            let rest = readable.strip_suffix(name.as_str());
            mangled == name || rest.is_some_and(|rest| rest.is_empty() || rest.ends_with("::"))
        }),
        Location::Line { .. } => Vec::new(),
    }
}
