//! What is interrupted leaves no trace: where the debugger stands and what it knows are as before.

use super::{Arrived, Debugger, Guilty, Why};
use crate::breakpoint::Breakpoint;
use crate::objects::Object;
use crate::watch::Watchpoint;
use std::collections::BTreeMap;
use wrr::{Error, Position};

/// What a command may change.
struct Before {
    position: Position,
    breakpoints: Vec<Breakpoint>,
    watchpoints: Vec<Watchpoint>,
    objects: BTreeMap<usize, Object>,
    guilty: Option<Guilty>,
    is_at_crash: bool,
    selected: usize,
}

impl Debugger<'_> {
    /// Does something as a whole: after an interrupt, or a failure, everything is as it was.
    pub(super) fn as_a_whole(
        &mut self,
        action: impl FnOnce(&mut Self) -> Result<Arrived, Error>,
    ) -> Result<Arrived, Error> {
        let before = Before {
            position: self.walker.position(),
            breakpoints: self.breakpoints.clone(),
            watchpoints: self.watchpoints.clone(),
            objects: self.objects.clone(),
            guilty: self.guilty,
            is_at_crash: self.is_at_crash,
            selected: self.selected,
        };
        if !self.walker.pin()? {
            // A part of something larger.
            return action(self);
        }
        let result = action(self);
        self.walker.unpin();
        let is_interrupted = self.walker.is_interrupted()
            || matches!(result, Ok(Arrived { why: Why::Interrupted, .. }));
        if result.is_ok() && !is_interrupted {
            return result;
        }
        self.walker.clear_interrupt();
        self.walker.return_to(before.position)?;
        self.breakpoints = before.breakpoints;
        self.watchpoints = before.watchpoints;
        self.objects = before.objects;
        self.guilty = before.guilty;
        self.is_at_crash = before.is_at_crash;
        self.index = self.index_here();
        self.refresh()?;
        self.selected = before.selected;
        match is_interrupted {
            true => Ok(Arrived { why: Why::Interrupted, has_moved: false, note: None }),
            false => result,
        }
    }
}
