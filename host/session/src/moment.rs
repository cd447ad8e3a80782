//! Moments of a recorded run, as people name them.

use crate::{Error, Trace};
use std::collections::BTreeSet;
use std::str::FromStr;
use wrr_timeline::{Position, Target};
use wrr_trace::{Ending, Event, EventIndex, Function, Input, Pause, Tick, TraceReader};

/// A moment, as it is written on a command line.
///
/// ```
/// use wrr::Moment;
/// assert_eq!("#17".parse::<Moment>(), Ok(Moment::Event(17)));
/// assert_eq!("40%".parse::<Moment>(), Ok(Moment::Percent(40.0)));
/// assert_eq!("2.5s".parse::<Moment>(), Ok(Moment::Seconds(2.5)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Moment {
    /// Before anything of the guest has run.
    Start,
    /// The last moment: in the call that ended the run, at the last tick before a trap or the return.
    End,
    /// The arrival at this tick.
    Tick(u64),
    /// Just before this event.
    Event(u64),
    /// So much of all ticks.
    Percent(f64),
    /// So long after the recording's start, by the wall clock.
    Seconds(f64),
    /// A named checkpoint, or the call with which the program gave a place this name.
    Name(String),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let found = match text {
            "start" => Some(Moment::Start),
            "end" | "crash" => Some(Moment::End),
            _ => {
                if let Some(event) = text.strip_prefix('#') {
                    event.parse().ok().map(Moment::Event)
                } else if let Some(name) = text.strip_prefix('@') {
                    (!name.is_empty()).then(|| Moment::Name(name.to_owned()))
                } else if let Some(percent) = text.strip_suffix('%') {
                    number(percent).filter(|p| *p <= 100.0).map(Moment::Percent)
                } else if let Some(seconds) = text.strip_suffix('s') {
                    number(seconds).map(Moment::Seconds)
                } else {
                    text.parse().ok().map(Moment::Tick)
                }
            }
        };
        found.ok_or_else(|| {
            format!(
                "{text:?} is no moment; give start, end (or crash), a tick (12345), an event (#17), a share of the run \
                 (40%), a time (2.5s) or a named checkpoint (@name)"
            )
        })
    }
}

/// The last moment that a recording tells of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last {
    /// How many events there are.
    pub events: EventIndex,
    /// The last tick.
    pub tick: Tick,
    pub target: Target,
}

impl Last {
    pub(crate) fn of(reader: &TraceReader) -> Result<Last, Error> {
        let events = reader.event_before_tick(Tick(u64::MAX))?;
        let last = match events.0.checked_sub(1) {
            Some(last) => reader.events_from(EventIndex(last))?.next().transpose()?,
            None => None,
        };
        let last_tick = last.as_ref().map_or(Tick(0), |event| event.tick);
        let tick = match (reader.ending(), reader.end_tick()) {
            (Some(_), Some(tick)) => tick.max(last_tick),
            // What a checkpoint knows is known, though no event says so.
            _ => reader.checkpoints().last().map_or(last_tick, |c| c.tick.max(last_tick)),
        };
        let in_last_call = match reader.ending() {
            Some(Ending::Exited { .. }) => {
                last.as_ref().is_some_and(|e| e.call.function == Function::ProcExit)
            }
            Some(Ending::Trapped { .. } | Ending::Returned { .. }) => false,
            Some(Ending::Interrupted | Ending::HostFailed { .. }) | None => {
                last.is_some() && tick == last_tick
            }
        };
        let target = match in_last_call {
            true => Target::Event(EventIndex(events.0 - 1)),
            false => Target::Tick(tick),
        };
        Ok(Last { events, tick, target })
    }
}

impl Trace<'_> {
    /// The position that is meant by a moment.
    ///
    /// # Errors
    /// [`Error::Moment`] if there is no such one.
    pub fn target(&self, moment: &Moment) -> Result<Target, Error> {
        let reader = self.reader();
        let last = Last::of(reader)?;
        let target = match moment {
            Moment::Start => Target::Tick(Tick(0)),
            Moment::End => last.target,
            Moment::Tick(tick) => Target::Tick(Tick(*tick)),
            Moment::Event(event) => Target::Event(EventIndex(*event)),
            Moment::Percent(percent) => {
                let tick = (last.tick.0 as f64 * percent / 100.0).floor() as u64;
                Target::Tick(Tick(tick.min(last.tick.0)))
            }
            Moment::Seconds(seconds) => {
                let elapsed_ns = (seconds * 1e9) as u64;
                let stamps = reader.time_stamps()?;
                let Some(end) = stamps.last() else {
                    return Err(Error::Moment(
                        "the recording has no wall clock (it is a deterministic one); give a tick, an event \
                         or a share of the run"
                            .to_owned(),
                    ));
                };
                if elapsed_ns > end.elapsed_ns {
                    return Err(Error::Moment(format!(
                        "{seconds}s: the recording ends after {:.3} s",
                        end.elapsed_ns as f64 / 1e9
                    )));
                }
                let tick = reader.tick_at_elapsed_ns(elapsed_ns)?.unwrap_or_default();
                Target::Tick(tick.min(last.tick))
            }
            Moment::Name(name) => {
                let found = reader.checkpoints().iter().position(|c| c.name.as_ref() == Some(name));
                let Some(found) = found else {
                    let target = self.named_by_the_guest(name)?;
                    return Ok(Target::Event(target));
                };
                let checkpoint = reader.checkpoint(found)?;
                match checkpoint.pause {
                    Pause::Tick => Target::Tick(checkpoint.tick),
                    Pause::Call { .. } => Target::Event(checkpoint.event),
                }
            }
        };
        match target {
            Target::Tick(tick) if tick > last.tick => {
                Err(Error::Moment(format!("tick {}: the run ends at tick {}", tick.0, last.tick.0)))
            }
            Target::Event(event) if event >= last.events => Err(Error::Moment(format!(
                "#{}: the recording has {} events, from #0 on",
                event.0, last.events.0
            ))),
            target => Ok(target),
        }
    }

    /// The last call with which the guest gave a place this name: `mark`, `checkpoint` or `branch`.
    fn named_by_the_guest(&self, name: &str) -> Result<EventIndex, Error> {
        let reader = self.reader();
        let mut names: BTreeSet<String> =
            reader.checkpoints().iter().filter_map(|checkpoint| checkpoint.name.clone()).collect();
        let mut found = None;
        for event in reader.events()? {
            let Event { index, call, .. } = event?;
            let (true, Input::Path(given)) = (call.function.is_control(), &call.input) else {
                continue;
            };
            if call.function == Function::ControlRollback {
                continue;
            }
            if given == name.as_bytes() {
                found = Some(index);
            }
            names.insert(String::from_utf8_lossy(given).into_owned());
        }
        found.ok_or_else(|| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Error::Moment(match names.is_empty() {
                true => format!("@{name}: nothing in the recording has a name"),
                false => format!("@{name}: what has a name is {}", names.join(", ")),
            })
        })
    }

    /// The positions of the recording's checkpoints, in their order. A checkpoint does not say before it is decoded whether
    /// the guest is in a call, so that is assumed: then it is not used for the very tick that it is at.
    pub(crate) fn checkpoint_positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.reader().checkpoints().iter().map(|checkpoint| Position {
            tick: checkpoint.tick,
            event: checkpoint.event,
            in_call: true,
        })
    }
}
