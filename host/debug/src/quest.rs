//! What a debugger searches for, as tests that the guest makes itself and questions where they pass.

use crate::breakpoint::begins_line;
use crate::interpreter::{Address, Interpreter, Place};
use crate::memory::Memory;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wrr::format::Tick;
use wrr::{Error, LookAt, Looked, Looker, Quest, Target, Test, View, Walker};

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

/// The instruction that was executed last in each frame. The frame itself does not tell after a jump.
#[derive(Debug, Default)]
pub struct Past {
    last: HashMap<Address, u32>,
}

impl Past {
    /// What is known where a stretch begins.
    pub fn begin(interpreter: &dyn Interpreter, walker: &mut Walker<'_>) -> Past {
        let index = walker.shown_here();
        let memory = walker.memory(0).unwrap_or_default();
        let frames = interpreter.frames(Memory(memory), index);
        Past { last: frames.iter().map(|frame| (frame.address, frame.index)).collect() }
    }

    /// A place is passed; gives the instruction before it in its frame, `None` where the frame begins.
    pub fn pass(&mut self, place: &Place) -> Option<u32> {
        let before = self.last.insert(place.frame, place.index);
        place.before.map(|by_itself| before.unwrap_or(by_itself))
    }
}

/// A [`Past`] that a quest and its lookers share.
pub(crate) type SharedPast = Arc<Mutex<Past>>;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A step.
pub struct Step {
    interpreter: Arc<dyn Interpreter>,
    to: StepTo,
    is_backward: bool,
    activation: Arc<Mutex<Activation>>,
    past: SharedPast,
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
        let (activation, past) = (Arc::default(), Arc::default());
        Step { interpreter, to, is_backward: false, activation, past }
    }

    /// A step to the last such place before.
    pub fn backward(interpreter: Arc<dyn Interpreter>, to: StepTo) -> Step {
        Step { is_backward: true, ..Step::forward(interpreter, to) }
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

    fn begin(&mut self, walker: &mut Walker<'_>, _until: Target) -> Result<(), Error> {
        *locked(&self.past) = Past::begin(&*self.interpreter, walker);
        let mut activation = locked(&self.activation);
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
        let past = Arc::clone(&self.past);
        Box::new(move |view: &View<'_>| {
            let Some(place) = interpreter.place(view) else { return Looked::On };
            let memory = Memory(view.memory);
            let Some(code) = interpreter.code(memory, place.code) else { return Looked::On };
            if !code.is_of_the_program {
                return Looked::Known;
            }
            let before = locked(&past).pass(&place);
            // Others may have asked to be shown this place.
            let stops = match &to {
                StepTo::Any => true,
                StepTo::Instruction(frames) => frames.contains(&place.frame),
                StepTo::Line => begins_line(&code, place.index, before),
                StepTo::LineIn(frames) => {
                    frames.contains(&place.frame) && begins_line(&code, place.index, before)
                }
            };
            if let (StepTo::LineIn(frames), Some(activation)) = (&to, &activation)
                && let Some(own) = frames.first()
            {
                return locked(activation).see(&place, *own, stops, view.tick);
            }
            if stops { Looked::Stop } else { Looked::On }
        })
    }
}
