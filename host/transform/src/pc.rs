//! Offsets of instructions in the original and in what was written from it.

use crate::emit::Code;
use crate::whole::locals_declaration;

/// Offset of an instruction in the original module, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrigPc(pub u32);

/// Offset of an instruction in a transformed function's body, in bytes from its declarations of locals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XformPc(pub u32);

/// Which original instruction each one of a transformed body belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetMap {
    body_start: u32,
    /// Where a run of copied instructions starts, in both; ascending by the first.
    runs: Vec<(XformPc, OrigPc)>,
}

impl OffsetMap {
    pub(crate) fn of(code: &Code, body_start: u32) -> OffsetMap {
        let start = locals_declaration(&code.locals).len() as u32;
        let runs = code.map.iter().map(|&(xform, orig)| (XformPc(xform + start), OrigPc(orig)));
        OffsetMap { body_start, runs: runs.collect() }
    }

    /// The original instruction. Of an added one: the one that it was added for.
    #[must_use]
    pub fn original(&self, at: XformPc) -> OrigPc {
        let run = self.runs.partition_point(|(xform, _)| *xform <= at);
        let Some(&(xform, orig)) = run.checked_sub(1).and_then(|run| self.runs.get(run)) else {
            return OrigPc(self.body_start);
        };
        // What is added behind an instruction must not reach into the next one.
        let most = self.runs.get(run).map_or(u32::MAX, |(_, next)| next.0.max(orig.0 + 1) - 1);
        OrigPc((orig.0 + (at.0 - xform.0)).min(most))
    }

    /// Where an original instruction was copied to; `None` if it was left out because it cannot be reached.
    #[must_use]
    pub fn transformed(&self, at: OrigPc) -> Option<XformPc> {
        let mut best = None;
        for (index, &(xform, orig)) in self.runs.iter().enumerate() {
            let end = self.runs.get(index + 1).map_or(u32::MAX, |(next, _)| next.0);
            if at >= orig && xform.0 + (at.0 - orig.0) < end {
                best = Some(XformPc(xform.0 + (at.0 - orig.0)));
            }
        }
        best
    }
}
