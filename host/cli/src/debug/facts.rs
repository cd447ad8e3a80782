//! What the debugger tells about the run: lists, time, output, events, memory.

use super::command::{Format, address};
use super::screen::{Screen, short};
use anyhow::{Context as _, bail};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use wrr::format::EventIndex;
use wrr::{Moment, ReplayOutput, SeekOptions, Target};
use wrr_debug::Evaluated;

/// How many events `info events` shows.
const EVENTS_SHOWN: u32 = 20;
/// The most bytes that `x` shows.
const MEMORY_BYTES_MAX: u64 = 64 << 10;
const ROW_BYTES: u32 = 16;

/// Collects what a replay prints.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Screen<'_, '_> {
    pub(super) fn info(&mut self, what: &str) -> anyhow::Result<()> {
        let lines: Vec<String> = match what {
            "breakpoints" | "breakpoint" | "b" => self
                .debugger
                .breakpoints()
                .iter()
                .map(|b| {
                    let condition = b.condition.as_ref().map(|c| format!(" if {c}"));
                    let once = if b.is_temporary { ", once" } else { "" };
                    let ignored = match b.ignore {
                        0 => String::new(),
                        times => format!(", passed {times} times first"),
                    };
                    let condition = condition.unwrap_or_default();
                    format!(
                        "{:>3} {}{condition}: {} hits{once}{ignored}",
                        b.id.0, b.location, b.hits
                    )
                })
                .collect(),
            "watchpoints" | "watchpoint" | "w" => {
                let all = self.debugger.watchpoints().iter();
                all.map(|w| format!("{:>3} {}: {} hits", w.id.0, w.text, w.hits)).collect()
            }
            "checkpoints" | "checkpoint" => {
                let reader = self.debugger.walker().trace().reader();
                let all = reader.checkpoints().iter();
                all.map(|c| {
                    let name = c.name.as_deref().map(|name| format!(" @{name}"));
                    format!("{:>14} #{}{}", c.tick.0, c.event.0, name.unwrap_or_default())
                })
                .collect()
            }
            "marks" | "mark" => {
                let all = self.debugger.marks().iter();
                all.map(|(name, at)| format!("{:>14} @{name}", at.tick.0)).collect()
            }
            "objects" | "object" => self
                .debugger
                .objects()
                .iter()
                .map(|(number, object)| {
                    let (first, last) = object.lives;
                    format!(
                        "{:>4} {}, seen from tick {} to {}",
                        format!("${number}"),
                        object.type_name,
                        first.0,
                        last.0
                    )
                })
                .collect(),
            "events" | "event" => return self.events(EVENTS_SHOWN / 2),
            _ => bail!(
                "info about what? breakpoints, watchpoints, checkpoints, marks, objects or events"
            ),
        };
        if lines.is_empty() {
            return self.line(&format!("no {what}"));
        }
        lines.iter().try_for_each(|line| self.line(line))
    }

    pub(super) fn when(&mut self) -> anyhow::Result<()> {
        let walker = self.debugger.walker();
        let last = walker.last_tick().0;
        let position = walker.position();
        let reader = walker.trace().reader();
        let wall = reader.elapsed_ns_at_tick(position.tick)?;
        let share = 100.0 * position.tick.0 as f64 / last.max(1) as f64;
        let event = match position.in_call {
            true => format!("in event #{}", position.event.0),
            false => format!("before event #{}", position.event.0),
        };
        let wall = wall.map(|ns| format!(", {:.3} s after the start", ns as f64 / 1e9));
        let tick = position.tick.0;
        let text =
            format!("tick {tick} of {last} ({share:.2}%), {event}{}", wall.unwrap_or_default());
        self.line(&text)
    }

    pub(super) fn events(&mut self, around: u32) -> anyhow::Result<()> {
        let walker = self.debugger.walker();
        let here = walker.position().event.0;
        let reader = walker.trace().reader();
        let from = here.saturating_sub(u64::from(around));
        let mut lines = Vec::new();
        for event in reader.events_from(EventIndex(from))?.take(2 * around as usize) {
            let event = event?;
            let mark = if event.index.0 == here { '>' } else { ' ' };
            lines.push(format!("{mark} {}", short(&event.to_string())));
        }
        lines.iter().try_for_each(|line| self.line(line))
    }

    /// The last lines that were printed, or all of them. Printed texts are not in a trace, so they are printed again: from checkpoints further and further back,
    /// until there are enough.
    pub(super) fn output(&mut self, lines: Option<usize>) -> anyhow::Result<()> {
        let walker = self.debugger.walker();
        let until = walker.position().event;
        let trace = walker.trace();
        let checkpoints: Vec<EventIndex> = trace
            .reader()
            .checkpoints()
            .iter()
            .map(|checkpoint| checkpoint.event)
            .filter(|event| *event < until)
            .collect();
        let mut back = 1;
        let text = loop {
            let from = checkpoints.len().checked_sub(back).map(|i| checkpoints[i]);
            let from = from.filter(|_| lines.is_some());
            let collected = Collected::default();
            if until.0 > 0 {
                let moment = from.map_or(Moment::Start, |event| Moment::Event(event.0));
                let mut playback = trace.seek_roughly(&moment, SeekOptions::default())?;
                let output = ReplayOutput {
                    stdout: Box::new(collected.clone()),
                    stderr: Box::new(collected.clone()),
                };
                playback.play(output, Some(Target::Event(until)))?;
            }
            let text = collected.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let enough = |lines| text.iter().filter(|byte| **byte == b'\n').count() > lines;
            if from.is_none() || lines.is_some_and(enough) {
                break String::from_utf8_lossy(&text).into_owned();
            }
            back *= 2;
        };
        let unwritten = self.debugger.unwritten()?;
        let text = text + &String::from_utf8_lossy(&unwritten);
        let all: Vec<&str> = text.lines().collect();
        let first = lines.map_or(0, |lines| all.len().saturating_sub(lines));
        all[first..].iter().try_for_each(|line| self.line(line))
    }

    pub(super) fn memory(&mut self, format: Format, at: &str) -> anyhow::Result<()> {
        let at = match address(at) {
            Some(at) => at,
            None if self.debugger.has_interpreter() => match self.debugger.evaluate(at)?.came {
                Evaluated::Value { text, .. } => {
                    address(&text).with_context(|| format!("{text} is no address"))?
                }
                other => bail!("that is no address: {other:?}"),
            },
            None => bail!("{at:?} is no address; write it as 1024 or 0x400"),
        };
        let bytes = u64::from(format.count) * u64::from(format.bytes);
        if bytes > MEMORY_BYTES_MAX {
            bail!("at most {MEMORY_BYTES_MAX} bytes are shown");
        }
        let memory = self.debugger.walker().memory(0).context("the program has no memory")?;
        let start = at as usize;
        if format.letter == 's' {
            let rest = memory.get(start..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            let end = end.min(MEMORY_BYTES_MAX as usize);
            let text = format!("{at:#010x}: {:?}", String::from_utf8_lossy(&rest[..end]));
            return self.line(&text);
        }
        let Some(shown) = memory.get(start..start.saturating_add(bytes as usize)) else {
            bail!("the memory has {} bytes", memory.len());
        };
        let rows: Vec<String> = shown
            .chunks(ROW_BYTES as usize)
            .enumerate()
            .map(|(row, bytes)| {
                let units =
                    bytes.chunks(format.bytes as usize).map(|unit| shown_unit(format, unit));
                let place = u64::from(at) + row as u64 * u64::from(ROW_BYTES);
                format!("{place:#010x}: {}", units.collect::<Vec<_>>().join(" "))
            })
            .collect();
        rows.iter().try_for_each(|row| self.line(row))
    }
}

/// A unit of memory, little-endian.
fn shown_unit(format: Format, unit: &[u8]) -> String {
    let mut bytes = [0; 8];
    bytes[..unit.len()].copy_from_slice(unit);
    let value = u64::from_le_bytes(bytes);
    match format.letter {
        'd' => {
            let unused = 64 - 8 * unit.len() as u32;
            ((value << unused) as i64 >> unused).to_string()
        }
        'u' => value.to_string(),
        'c' => format!("{:?}", char::from(unit[0])),
        _ => format!("{value:0width$x}", width = 2 * unit.len()),
    }
}
