//! Offsets of instructions in the original and in what was written from it.

use crate::emit::{Code, Origin};
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
    /// Where runs of bytes start, in both, and how they belong together; ascending by the first.
    runs: Vec<(XformPc, OrigPc, Origin)>,
}

impl OffsetMap {
    pub(crate) fn of(code: &Code, body_start: u32) -> OffsetMap {
        let start = locals_declaration(&code.locals).len() as u32;
        let runs = code.map.iter();
        let runs =
            runs.map(|&(xform, orig, origin)| (XformPc(xform + start), OrigPc(orig), origin));
        OffsetMap { body_start, runs: runs.collect() }
    }

    /// The original instruction. Of what was added: the one that it was added for.
    #[must_use]
    pub fn original(&self, at: XformPc) -> OrigPc {
        let run = self.runs.partition_point(|(xform, ..)| *xform <= at);
        match run.checked_sub(1).and_then(|run| self.runs.get(run)) {
            Some(&(xform, orig, Origin::Copied)) => OrigPc(orig.0 + (at.0 - xform.0)),
            Some(&(_, orig, _)) => orig,
            None => OrigPc(self.body_start),
        }
    }

    /// Where an original instruction went; `None` if it was left out because it cannot be reached.
    #[must_use]
    pub fn transformed(&self, at: OrigPc) -> Option<XformPc> {
        self.runs.iter().enumerate().find_map(|(index, &(xform, orig, origin))| {
            let moved = at.0.checked_sub(orig.0)?;
            let end = self.runs.get(index + 1).map_or(u32::MAX, |(next, ..)| next.0);
            let found = match origin {
                Origin::Copied => xform.0 + moved < end,
                Origin::Instruction => moved == 0,
                Origin::Added => false,
            };
            found.then_some(XformPc(xform.0 + moved))
        })
    }
}
