//! The line that a guest had begun to write at a moment: what a user at a terminal had in front of the cursor.
//!
//! A trace does not hold what was written, so the writes are replayed. Only those behind the last input can belong to the line:
//! that had a line's end of its own.

use crate::playback::{Playback, Played, SeekOptions};
use crate::{Error, Trace};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wrr_engine::Variant;
use wrr_timeline::Target;
use wrr_trace::{Errno, EventIndex, Function, Tick};
use wrr_wasi::ReplayOutput;

/// So many events before the moment are looked at.
const EVENTS_MAX: u64 = 256;
/// So many ticks (about a second) are replayed for the line, beyond those that are replayed anyway.
const TICKS_MAX: u64 = 100_000_000;
/// So much of the line is kept.
const LINE_BYTES_MAX: usize = 4096;

/// Keeps the last line of what is written.
#[derive(Clone, Default)]
struct Line(Arc<Mutex<Vec<u8>>>);

impl Line {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Line {
    fn write(&mut self, written: &[u8]) -> std::io::Result<usize> {
        let mut line = self.bytes();
        let behind_break = written.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
        if behind_break.is_some() {
            line.clear();
        }
        line.extend_from_slice(&written[behind_break.unwrap_or(0)..]);
        let surplus = line.len().saturating_sub(LINE_BYTES_MAX);
        line.drain(..surplus);
        Ok(written.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Trace<'_> {
    /// Goes to a target as [`Trace::seek_target_roughly`] does, and tells the line that the guest had begun to write there.
    pub(crate) fn seek_with_line(
        &self,
        variant: Variant,
        target: Target,
    ) -> Result<(Playback<'_>, Vec<u8>), Error> {
        if let Some(first) = self.first_write_of_line(target)? {
            let first = Target::Event(first);
            let mut session = self.seek_in(variant, first, SeekOptions::default())?;
            let line = Line::default();
            let (stdout, stderr) = (Box::new(line.clone()), Box::new(line.clone()));
            session.guest().host().set_output(ReplayOutput { stdout, stderr });
            if let Played::Stopped = session.play_on(Some(target))? {
                let line = std::mem::take(&mut *line.bytes());
                return Ok((session, line));
            }
            // This variant cannot be stopped there.
        }
        let session = self.seek_target_roughly(variant, target, SeekOptions::default())?;
        Ok((session, Vec::new()))
    }

    /// The first of the events that may have written to the line. A guest that has given its standard streams other numbers is
    /// not worth more than a line that is not shown.
    fn first_write_of_line(&self, target: Target) -> Result<Option<EventIndex>, Error> {
        let reader = self.reader();
        let (end, mut end_tick) = match target {
            Target::Event(event) => (event, Tick(0)),
            Target::Tick(tick) => (reader.event_before_tick(tick)?, tick),
        };
        let mut writes = Vec::new();
        for event in reader.events_from(EventIndex(end.0.saturating_sub(EVENTS_MAX)))? {
            let event = event?;
            if event.index >= end {
                break;
            }
            end_tick = end_tick.max(event.tick);
            match (event.call.function, event.call.args[0]) {
                (Function::FdRead, 0) if !event.outcome.data.is_empty() => writes.clear(),
                (Function::FdWrite, 1 | 2) if event.outcome.errno == Errno::success => {
                    writes.push((event.index, event.tick));
                }
                _ => {}
            }
        }
        let near = |tick: Tick| end_tick.0 - tick.0 <= TICKS_MAX;
        Ok(writes.into_iter().find(|(_, tick)| near(*tick)).map(|(index, _)| index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_last_break_is_kept_and_no_more_than_fits() {
        let mut line = Line::default();
        let shown = |line: &Line| String::from_utf8(line.bytes().clone()).unwrap();
        for (written, kept) in
            [("ab", "ab"), ("c", "abc"), ("d\ne\n> ", "> "), ("", "> "), ("x\n", ""), (">", ">")]
        {
            line.write_all(written.as_bytes()).unwrap();
            assert_eq!(shown(&line), kept);
        }
        line.write_all(&[b'x'; 2 * LINE_BYTES_MAX]).unwrap();
        assert_eq!(shown(&line).len(), LINE_BYTES_MAX);
    }
}
