//! A recorded run that is walked through in both directions.
//!
//! Going back is going to a state before the place, and forward from there. There are the trace's
//! checkpoints, and states that are kept in memory on the way, closer and closer to where one goes,
//! so that what comes next is near.
//!
//! ```text
//! checkpoint                        kept          kept  kept kept        here
//!     |-------------------------------|-------------|-----|---|------------|
//! ```
//!
//! Invariants: nothing that is done with a walker changes the run; where it stands depends on
//! nothing but the position. What was interrupted has not moved it.

mod diversion;
mod parallel;
mod progress;
mod search;
mod written;

pub use diversion::{Diversion, Diverted};
pub use progress::Progress;
pub use search::{Backward, Judged, Quest, Searched};

use crate::job::entry;
use crate::moment::Last;
use crate::playback::{Played, until_of};
use crate::{Error, Moment, Trace};
use progress::Pulse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wrr_engine::{
    Entry, Guest, Kept, Look, LookAt, Looked, Looker, Program, Reached, StackFrame, Test, Variant,
    View,
};
use wrr_timeline::{Position, Target};
use wrr_trace::{EventIndex, HostState, Pause, Tick};
use wrr_wasi::Host;

/// How many states are kept in memory at most.
const KEPT_MAX: usize = 64;

/// Nearer than this, nothing is kept on the way, in ticks: they are replayed in a few milliseconds.
const NEAR_TICKS: u64 = 400_000;

/// A recorded run that stands at a position.
pub struct Walker<'a> {
    trace: &'a Trace<'a>,
    program: Program,
    variant: Variant,
    entry: Entry,
    guest: Guest,
    /// Where evaluations are made of which is noted what they read.
    noting: Option<Guest>,
    kept: BTreeMap<Position, Point>,
    /// Whether states are kept.
    keeps: bool,
    /// Ascending.
    checkpoints: Vec<(Position, usize)>,
    /// The last moment at which it can stand, as far as is known.
    last: Target,
    /// Whether it can stand there: see [`Walker::find_last`].
    is_last_certain: bool,
    last_tick: Tick,
    /// Where it goes back to if it is interrupted: that state stays.
    home: Option<Position>,
    decoded: written::Decoded,
    near_ticks: u64,
    interrupt: Arc<AtomicBool>,
    progress: Arc<Progress>,
    stats: WalkerStats,
}

/// A state that is kept in memory.
struct Point {
    kept: Kept,
    host: HostState,
}

/// What a walker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkerStats {
    /// Checkpoints that were loaded.
    pub loaded: u64,
    /// Times that it went back to a state in memory.
    pub went_back: u64,
    /// Ticks that were replayed.
    pub replayed_ticks: u64,
    /// Stretches between checkpoints that were searched on other threads too.
    pub shared_out: u64,
    /// Stretches that were not searched, because nothing was written there that matters.
    pub skipped: u64,
}

/// What came of going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// It is where it was to go.
    There,
    /// Somebody who looked stopped it.
    Looked,
    /// The interrupt was set.
    Interrupted,
}

impl<'a> Trace<'a> {
    /// The run, to be walked through; it stands at its start. `interrupt` stops what takes long.
    ///
    /// # Errors
    /// As [`Trace::seek`].
    pub fn walk(&'a self, interrupt: Arc<AtomicBool>) -> Result<Walker<'a>, Error> {
        // A program with passages is stopped at these; others at any tick.
        let module = self.reader().module()?;
        let variant = match wrr_engine::has_passages(&module) {
            true if self.bounded_at()?.is_none() => Variant::Search,
            _ => Variant::Inspect,
        };
        let program = self.program(variant)?;
        let manifest = self.reader().manifest();
        let entry = entry(manifest.invoke.as_deref(), &manifest.args);
        let guest = self.guest_at(&program, variant, None)?;
        let mut checkpoints: Vec<(Position, usize)> =
            self.checkpoint_positions().enumerate().map(|(i, position)| (position, i)).collect();
        checkpoints.sort_unstable();
        let last = Last::of(self.reader())?;
        let mut walker = Walker {
            trace: self,
            program,
            variant,
            entry,
            guest,
            noting: None,
            kept: BTreeMap::new(),
            keeps: true,
            checkpoints,
            last: last.target,
            // A program that is stopped at its passages may have none at its last tick.
            is_last_certain: variant != Variant::Search || matches!(last.target, Target::Event(_)),
            last_tick: last.tick,
            home: None,
            decoded: written::Decoded::default(),
            near_ticks: NEAR_TICKS,
            interrupt,
            progress: Arc::default(),
            stats: WalkerStats::default(),
        };
        walker.set_heart();
        Ok(walker)
    }
}

impl<'a> Walker<'a> {
    /// The recording.
    #[must_use]
    pub fn trace(&self) -> &'a Trace<'a> {
        self.trace
    }

    /// Where it stands.
    pub fn position(&mut self) -> Position {
        Position {
            tick: self.guest.tick(),
            event: self.guest.events(),
            in_call: matches!(self.guest.pause(), Pause::Call { .. }),
        }
    }

    /// The tick of the last moment.
    #[must_use]
    pub fn last_tick(&self) -> Tick {
        self.last_tick
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> WalkerStats {
        self.stats
    }

    /// A memory's bytes.
    pub fn memory(&mut self, index: u32) -> Option<&[u8]> {
        self.guest.memory_bytes(index)
    }

    /// The guest's stack, innermost frame first.
    ///
    /// # Errors
    /// [`Error::Refused`] if a checkpoint does not fit the module.
    pub fn stack(&mut self) -> Result<Vec<StackFrame>, Error> {
        let stack = self.guest.stack();
        stack.map_err(|refusal| self.trace.refused(refusal))
    }

    /// BLAKE3 of the state; see [`Playback::state_hash`](crate::Playback::state_hash).
    ///
    /// # Errors
    /// The guest holds something that has no portable form.
    pub fn state_hash(&mut self) -> Result<[u8; 32], Error> {
        let hash = self.guest.state_hash();
        hash.map_err(|refusal| self.trace.refused(refusal))
    }

    /// Whether the program names places where it can be looked at; see [`LookAt::Passages`].
    ///
    /// # Errors
    /// The module cannot be parsed.
    pub fn has_passages(&self) -> Result<bool, Error> {
        self.guest.has_passages().map_err(|refusal| self.trace.refused(refusal))
    }

    /// The name of a function.
    #[must_use]
    pub fn function_name(&self, function: u32) -> Option<String> {
        self.program.function_name(function)
    }

    /// The functions of the module whose names, as they stand in it, are accepted.
    #[must_use]
    pub fn functions_where(&self, accepts: impl FnMut(&str) -> bool) -> Vec<u32> {
        self.program.functions_where(accepts)
    }

    /// The interrupt has been seen.
    pub fn clear_interrupt(&self) {
        self.interrupt.store(false, Ordering::Relaxed);
    }

    /// The local that a passage shows, if it stands at one.
    pub fn shown_here(&mut self) -> Option<u32> {
        self.guest.shown_here()
    }

    /// Whether what is being done is to end.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// How far it has come with what it is doing.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// What is nearer than this is replayed at once, and is where a search backward begins; states
    /// are kept further apart. For tests, whose runs are short.
    pub fn set_near_ticks(&mut self, ticks: u64) {
        self.near_ticks = ticks.max(1);
    }

    /// How many modules were compiled to look at the program: see [`Guest::looker_modules`].
    #[must_use]
    pub fn looker_modules(&self) -> usize {
        self.guest.looker_modules()
    }

    fn pulse(&self) -> Pulse {
        let (interrupt, progress) = (Arc::clone(&self.interrupt), Arc::clone(&self.progress));
        Pulse { interrupt, progress, last: None }
    }

    fn set_heart(&mut self) {
        let pulse = self.pulse();
        self.guest.set_heart(Some(Box::new(pulse)));
    }

    /// Goes to a moment.
    ///
    /// # Errors
    /// As [`Trace::target`] and [`Walker::go`].
    pub fn go_to(&mut self, moment: &Moment) -> Result<Walked, Error> {
        let target = self.trace.target(moment)?;
        self.go(target)
    }

    /// If it cannot be stopped at the very last tick, the last moment is the last passage. Where it
    /// stands afterwards is not said.
    fn find_last(&mut self) -> Result<Walked, Error> {
        let Target::Tick(end) = self.last else { return Ok(Walked::There) };
        if self.is_last_certain {
            return Ok(Walked::There);
        }
        self.approach(self.last)?;
        // A replay may have more stack than the recorded run had: what is after its end has not
        // happened.
        let before = Some(Tick(end.0.saturating_add(1)));
        let passages = Look { at: LookAt::Passages, note: Some(Test::Always), before, ask: None };
        let mut last = self.guest.shown_here().map(|_| self.guest.tick());
        loop {
            let part = Target::Tick(self.on_the_way(end).unwrap_or(end));
            let (ran, noted) = self.run_looking(&passages, nobody(), part)?;
            last = noted.or(last);
            match ran {
                Ran::To(Walked::Interrupted) => return Ok(Walked::Interrupted),
                Ran::To(_) if part != self.last => self.keep()?,
                _ => break,
            }
        }
        if let Some(last) = last {
            self.last = Target::Tick(last);
        }
        self.is_last_certain = true;
        // The guest may have ended.
        self.approach(self.last)?;
        Ok(Walked::There)
    }

    /// Goes to a target, from the nearest state before it. After an interrupt it is where it was.
    ///
    /// # Errors
    /// [`Error::Moment`] if the replay ends before; what replaying gives.
    pub fn go(&mut self, target: Target) -> Result<Walked, Error> {
        self.or_home(Walked::Interrupted, |walker| walker.travel(target))
    }

    /// The state where it stands stays in memory, for [`Walker::return_to`], and what is
    /// interrupted from now on leaves the walker anywhere. `false` if that is so already, or the
    /// run has ended here.
    ///
    /// # Errors
    /// The host has no room for it.
    pub fn pin(&mut self) -> Result<bool, Error> {
        if self.home.is_some() || self.guest.has_ended() {
            return Ok(false);
        }
        self.keep()?;
        self.home = Some(self.position());
        Ok(true)
    }

    /// Takes [`Walker::pin`] back.
    pub fn unpin(&mut self) {
        self.home = None;
        self.progress.end();
    }

    /// Goes back to where it was: at once if the state there is kept.
    ///
    /// # Errors
    /// As [`Walker::go`].
    pub fn return_to(&mut self, position: Position) -> Result<(), Error> {
        match self.kept.contains_key(&position) {
            true => self.go_back(position),
            false => self.travel(target_of(position)).map(|_| ()),
        }
    }

    /// Does something, and goes back to where it was if that was interrupted.
    fn or_home<T: PartialEq>(
        &mut self,
        interrupted: T,
        action: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let home = self.position();
        let is_pinned = self.pin()?;
        let result = action(self);
        if !is_pinned {
            return result;
        }
        self.unpin();
        if matches!(&result, Ok(came) if *came == interrupted) {
            self.clear_interrupt();
            self.return_to(home)?;
        }
        result
    }

    /// Goes to a target; after an interrupt it is anywhere.
    fn travel(&mut self, target: Target) -> Result<Walked, Error> {
        let is_end = |tick: Tick| matches!(self.last, Target::Tick(last) if tick >= last);
        let target = match target {
            Target::Tick(tick) if is_end(tick) => match self.find_last()? {
                Walked::There => self.last,
                other => return Ok(other),
            },
            _ => target,
        };
        match self.travel_on(target)? {
            Ran::To(walked) => Ok(walked),
            // It cannot be stopped at that tick or later.
            Ran::Ended if !self.is_last_certain => match self.find_last()? {
                Walked::There => {
                    let last = self.last;
                    self.travel_on(last)?.walked(self)
                }
                other => Ok(other),
            },
            Ran::Ended => Ran::Ended.walked(self),
        }
    }

    /// Goes to a target from the nearest state before it, and keeps states on the way.
    fn travel_on(&mut self, target: Target) -> Result<Ran, Error> {
        self.approach(target)?;
        let goal = match target {
            Target::Tick(goal) => goal,
            Target::Event(event) => self.tick_of(event)?,
        };
        let begins = self.progress.begin(goal.0.saturating_sub(self.guest.tick().0));
        self.progress.count(begins);
        let ran = loop {
            let Some(tick) = self.on_the_way(goal) else { break self.run(target)? };
            match self.run(Target::Tick(tick))? {
                Ran::To(Walked::There) if target.is_at_or_after(self.position()) => self.keep()?,
                Ran::To(Walked::There) => break Ran::To(Walked::There),
                other => break other,
            }
        };
        if begins {
            self.progress.end();
        }
        Ok(ran)
    }

    /// The tick of an event; of the end of the run if there is no such event.
    fn tick_of(&self, event: EventIndex) -> Result<Tick, Error> {
        let event = self.trace.reader().events_from(event)?.next().transpose()?;
        Ok(event.map_or(self.last_tick, |event| event.tick))
    }

    /// Where a state is kept on the way to a tick: after three quarters of what is left, again and
    /// again. `None` if it is near.
    fn on_the_way(&mut self, goal: Tick) -> Option<Tick> {
        let here = self.guest.tick().0;
        let left = goal.0.saturating_sub(here);
        (left > self.near_ticks).then(|| Tick(here + left - left / 4))
    }

    /// Goes to a position that it was at.
    ///
    /// # Errors
    /// As [`Walker::go`].
    pub fn go_back_to(&mut self, position: Position) -> Result<Walked, Error> {
        self.go(target_of(position))
    }

    /// Stands somewhere before the target, as near as a state is known, and not behind it.
    fn approach(&mut self, target: Target) -> Result<(), Error> {
        let here = self.position();
        let from_here = (!self.guest.has_ended() && target.is_at_or_after(here)).then_some(here);
        let kept = self.kept.keys().rev().find(|at| target.is_at_or_after(**at)).copied();
        let end = self.checkpoints.partition_point(|(at, _)| target.is_at_or_after(*at));
        let loaded = self.checkpoints[..end].last().copied();
        let best = [from_here, kept, loaded.map(|(at, _)| at)].into_iter().flatten().max();
        match best {
            Some(_) if best == from_here => Ok(()),
            Some(at) if best == kept => self.go_back(at),
            Some(_) => self.load(loaded.map(|(_, number)| number)),
            None => self.load(None),
        }
    }

    /// Goes to a checkpoint, or to the start.
    fn load(&mut self, checkpoint: Option<usize>) -> Result<(), Error> {
        let loaded = checkpoint.map(|i| self.trace.reader().checkpoint(i)).transpose();
        let loaded = loaded.map_err(Error::from).and_then(|checkpoint| {
            self.trace.guest_at(&self.program, self.variant, checkpoint.as_ref())
        });
        match (loaded, checkpoint) {
            (Ok(guest), _) => {
                self.guest = guest;
                self.set_heart();
                self.stats.loaded += 1;
                self.keep()
            }
            (Err(error), Some(number)) => {
                tracing::warn!("checkpoint {number} cannot be used, an earlier one is: {error}");
                let place = self.checkpoints.iter().position(|(_, n)| *n == number);
                let before = place.map(|place| {
                    self.checkpoints.remove(place);
                    place.checked_sub(1).map(|before| self.checkpoints[before].1)
                });
                self.load(before.flatten())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Keeps the state here.
    fn keep(&mut self) -> Result<(), Error> {
        let position = self.position();
        if !self.keeps || self.kept.contains_key(&position) {
            return Ok(());
        }
        let kept = self.guest.keep().map_err(|refusal| self.trace.refused(refusal))?;
        let host = self.guest.host().state();
        self.kept.insert(position, Point { kept, host });
        if self.kept.len() > KEPT_MAX {
            // The one that is furthest away, in ticks.
            let distance = |at: &Position| at.tick.0.abs_diff(position.tick.0);
            let others = self.kept.keys().copied().filter(|at| Some(*at) != self.home);
            let furthest = others.max_by_key(distance);
            furthest.and_then(|at| self.kept.remove(&at));
        }
        Ok(())
    }

    /// Goes back, or forward, to a state that is kept.
    fn go_back(&mut self, at: Position) -> Result<(), Error> {
        let trace = self.trace;
        let point = &self.kept[&at];
        let host = Host::at(trace.source_at(at.event, point.host.clone())?, at.event);
        let refused = |refusal| trace.refused(refusal);
        *self.guest.host() = host;
        self.stats.went_back += 1;
        if self.guest.roll_back(&point.kept).map_err(refused)? {
            return Ok(());
        }
        let host = Host::at(trace.source_at(at.event, point.host.clone())?, at.event);
        self.guest = Guest::fork(&self.program, self.variant, &self.entry, &point.kept, host)
            .map_err(refused)?;
        self.set_heart();
        Ok(())
    }

    /// Goes on to a target.
    fn run(&mut self, target: Target) -> Result<Ran, Error> {
        let from = self.guest.tick();
        let guest = &mut self.guest;
        let reached = self.program.on_guest_stack(|| guest.go(until_of(target)));
        let reached =
            reached.and_then(|reached| reached).map_err(|refusal| self.trace.refused(refusal))?;
        let here = self.guest.tick();
        self.stats.replayed_ticks += here.0.saturating_sub(from.0);
        let position = match reached {
            Reached::Stopped => self.position(),
            Reached::Ended(ended) => {
                let played = self.trace.replayed_end(&mut self.guest, ended)?;
                debug_assert!(!matches!(played, Played::Stopped));
                return Ok(Ran::Ended);
            }
        };
        Ok(Ran::To(if self.guest.was_stopped_by_looker() {
            Walked::Looked
        } else if target.is_at(position) || !target.is_at_or_after(position) {
            // At the first possible stop, if there is none at that very tick.
            Walked::There
        } else {
            Walked::Interrupted
        }))
    }

    /// Goes on to a target and is looked at on the way. Gives the last tick that was noted, too.
    fn run_looking(
        &mut self,
        look: &Look,
        looker: Box<dyn Looker>,
        until: Target,
    ) -> Result<(Ran, Option<Tick>), Error> {
        let looked = self.guest.look(look, looker);
        looked.map_err(|refusal| self.trace.refused(refusal))?;
        let ran = self.run(until);
        let noted = self.guest.look_away();
        Ok((ran?, noted))
    }
}

/// What running to a target came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    To(Walked),
    /// The run has ended before.
    Ended,
}

impl Ran {
    /// # Errors
    /// [`Error::Moment`] if the run has ended.
    fn walked(self, walker: &mut Walker<'_>) -> Result<Walked, Error> {
        match self {
            Ran::To(walked) => Ok(walked),
            Ran::Ended => Err(Error::Moment(format!(
                "the replay ends at tick {}, before it gets there",
                walker.guest.tick().0
            ))),
        }
    }
}

/// Is never asked.
fn nobody() -> Box<dyn Looker> {
    Box::new(|_: &View<'_>| Looked::On)
}

/// The end of a stretch.
#[derive(Clone, Copy)]
struct Bound {
    at: Position,
    is_in: bool,
}

impl Bound {
    /// Whether a place at a tick's arrival is before it.
    fn holds(self, place: Position) -> bool {
        place.tick < self.end()
    }

    /// The first tick whose arrival is not before it.
    fn end(self) -> Tick {
        let Position { tick, in_call, .. } = self.at;
        Tick(tick.0.saturating_add(u64::from(in_call || self.is_in)))
    }
}

/// The position at a tick's arrival; how many events were before is not known, nor needed to go there.
fn at_tick(tick: Tick) -> Position {
    Position { tick, event: EventIndex(0), in_call: false }
}

/// Where a position is.
fn target_of(position: Position) -> Target {
    match position.in_call {
        true => Target::Event(position.event),
        false => Target::Tick(position.tick),
    }
}
