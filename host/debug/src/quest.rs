//! What a debugger searches for, as tests that the guest makes itself and questions where they pass.

use crate::breakpoint::{Breakpoint, BreakpointId, begins_line};
use crate::interpreter::{Address, Interpreter, Place};
use crate::memory::Memory;
use std::sync::{Arc, Mutex, PoisonError};
use wrr::format::Tick;
use wrr::{Error, LookAt, Looked, Looker, Quest, Test, View, Walker};

/// Which places a step can end at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepTo {
    /// The next place where a line of the program begins, in any frame.
    Line,
    /// The same, in one of these frames, the one that is stepped in first: those that are around it follow.
    LineIn(Vec<Address>),
    /// Any instruction in one of these frames.
    Instruction(Vec<Address>),
    /// Any instruction of the program.
    Any,
}

/// A step.
pub struct Step {
    interpreter: Arc<dyn Interpreter>,
    to: StepTo,
    is_backward: bool,
    activation: Arc<Mutex<Activation>>,
}

/// Going back in a frame must not lead into an earlier call that had its frame at the same address.
#[derive(Clone, Copy, Debug, Default)]
struct Activation {
    /// The last place around the frame, in this stretch.
    around: Option<Tick>,
    /// A call has begun at the frame's address in this stretch: whatever is there before is another one's.
    has_begun: bool,
}

impl Step {
    /// A step to the next such place.
    pub fn forward(interpreter: Arc<dyn Interpreter>, to: StepTo) -> Step {
        Step { interpreter, to, is_backward: false, activation: Arc::default() }
    }

    /// A step to the last such place before.
    pub fn backward(interpreter: Arc<dyn Interpreter>, to: StepTo) -> Step {
        Step { is_backward: true, ..Step::forward(interpreter, to) }
    }
}

impl Step {
    /// From a frame to the place around it where it was called.
    pub fn to_caller(
        interpreter: Arc<dyn Interpreter>,
        own: Address,
        around: Vec<Address>,
    ) -> Step {
        let _ = own;
        Step::backward(interpreter, StepTo::Instruction(around))
    }
}

impl Activation {
    fn see(&mut self, place: &Place, frame: Address, stops: bool, tick: Tick) -> Looked {
        if place.frame == frame && place.before.is_none() {
            self.has_begun = true;
            if !stops {
                return Looked::Instead(self.around);
            }
        }
        if stops && place.frame != frame {
            self.around = Some(tick);
        }
        if stops { Looked::Stop } else { Looked::On }
    }
}

impl Quest for Step {
    fn test(&mut self) -> (LookAt, Test) {
        let test = match &self.to {
            StepTo::Line | StepTo::Any => self.interpreter.in_new_code(),
            StepTo::LineIn(frames) | StepTo::Instruction(frames) => {
                self.interpreter.in_frames(frames)
            }
        };
        (LookAt::Passages, test)
    }

    fn begin(&mut self, _walker: &mut Walker<'_>) -> Result<(), Error> {
        let mut activation = self.activation.lock().unwrap_or_else(PoisonError::into_inner);
        if let (StepTo::LineIn(frames), true) = (&mut self.to, activation.has_begun) {
            frames.remove(0);
        }
        *activation = Activation::default();
        Ok(())
    }

    fn looker(&mut self) -> Box<dyn Looker> {
        let interpreter = Arc::clone(&self.interpreter);
        let to = self.to.clone();
        let activation = self.is_backward.then(|| Arc::clone(&self.activation));
        Box::new(move |view: &View<'_>| {
            let Some(place) = interpreter.place(view) else { return Looked::On };
            let memory = Memory(view.memory);
            let Some(code) = interpreter.code(memory, place.code) else { return Looked::On };
            if !code.is_of_the_program {
                return Looked::Known;
            }
            let stops = match &to {
                StepTo::Any | StepTo::Instruction(_) => true,
                StepTo::Line | StepTo::LineIn(_) => begins_line(&code, place.index, place.before),
            };
            if let (StepTo::LineIn(frames), Some(activation)) = (&to, &activation)
                && let Some(own) = frames.first()
            {
                let mut activation = activation.lock().unwrap_or_else(PoisonError::into_inner);
                return activation.see(&place, *own, stops, view.tick);
            }
            if stops { Looked::Stop } else { Looked::On }
        })
    }
}

/// Where breakpoints are, and what has stopped the program at one.
pub struct Breaks {
    pub interpreter: Arc<dyn Interpreter>,
    pub breakpoints: Vec<Breakpoint>,
    /// Whoever has to be asked: conditions that are evaluated.
    pub hit: Arc<Mutex<Option<BreakpointId>>>,
}

impl Breaks {
    /// The breakpoint at a place.
    fn at(
        interpreter: &dyn Interpreter,
        breakpoints: &[Breakpoint],
        view: &View<'_>,
    ) -> Option<Result<BreakpointId, Looked>> {
        let place = interpreter.place(view)?;
        let code = interpreter.code(Memory(view.memory), place.code)?;
        let mut near = breakpoints.iter().filter(|b| b.location.may_be_in(&code)).peekable();
        if near.peek().is_none() {
            return Some(Err(Looked::Known));
        }
        let found = near.find(|b| b.location.is_at(&code, place.index, place.before));
        Some(found.map(|b| b.id).ok_or(Looked::On))
    }
}

impl Quest for Breaks {
    fn test(&mut self) -> (LookAt, Test) {
        (LookAt::Passages, self.interpreter.in_new_code())
    }

    fn looker(&mut self) -> Box<dyn Looker> {
        let interpreter = Arc::clone(&self.interpreter);
        let breakpoints = self.breakpoints.clone();
        let hit = Arc::clone(&self.hit);
        Box::new(move |view: &View<'_>| {
            match Breaks::at(&*interpreter, &breakpoints, view) {
                Some(Ok(id)) => {
                    *hit.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
                    Looked::Stop
                }
                Some(Err(looked)) => looked,
                None => Looked::On,
            }
        })
    }

    fn is_certain(&self) -> bool {
        self.breakpoints.iter().all(|b| b.condition.is_none() && b.ignore == 0)
    }

    fn confirm(&mut self, _walker: &mut Walker<'_>) -> Result<bool, Error> {
        Ok(true)
    }
}
