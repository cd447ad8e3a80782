//! A recorded run that is walked through in both directions.
//!
//! Going back is going to a state before the place, and forward from there. There are the trace's checkpoints, and states that are kept in memory on the
//! way, closer and closer to where one goes, so that what comes next is near.
//!
//! ```text
//! checkpoint                        kept          kept  kept kept        here
//!     |-------------------------------|-------------|-----|---|------------|
//! ```
//!
//! Invariant: nothing that is done with a walker changes the run; where it stands depends on nothing but the position.

mod diversion;
mod parallel;

pub use diversion::{Diversion, Diverted};

use crate::job::entry;
use crate::moment::Last;
use crate::playback::{Played, until_of};
use crate::{Error, Moment, Trace};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wrr_engine::{
    Beat, Entry, Guest, Heart, Kept, LookAt, Looked, Looker, Program, Reached, StackFrame, Test,
    Until, Variant, View,
};
use wrr_timeline::{Position, Target};
use wrr_trace::{EventIndex, HostState, Pause, Tick};
use wrr_wasi::Host;

/// How many states are kept in memory at most.
const KEPT_MAX: usize = 64;

/// Nearer than this, nothing is kept on the way, in ticks: they are replayed in a few milliseconds.
const NEAR_TICKS: u64 = 400_000;

/// So many stretches between states are searched one after the other; the ones before on several processors.
const ALONE: u32 = 3;

/// A stretch that is searched for the first time is kept at so many places.
const STRETCH_PARTS: u64 = 8;

/// How often an interrupt is looked for, in ticks.
const BEAT_TICKS: u64 = 200_000;

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
    /// Ascending.
    checkpoints: Vec<(Position, usize)>,
    last: Target,
    last_tick: Tick,
    interrupt: Arc<AtomicBool>,
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
    /// Stretches between checkpoints that were searched on other threads.
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

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searched {
    /// It stands where what was searched for is.
    Found,
    /// There is no such place; it stands where the search began.
    Nothing,
    /// The interrupt was set; it stands where the search began.
    Interrupted,
}

/// What is searched for.
pub trait Quest {
    /// Where the run is looked at, and for what.
    fn test(&mut self) -> (LookAt, Test);

    /// Who is asked where the test passes: stops where it may be.
    fn looker(&mut self) -> Box<dyn Looker>;

    /// Whether the looker alone decides.
    fn is_certain(&self) -> bool {
        true
    }

    /// The same search for another walker on another thread; `None` if what it has found in one stretch matters in another one.
    fn fork(&self) -> Option<Box<dyn Quest + Send>> {
        None
    }

    /// The walker stands where the looker has stopped it: whether it is what is searched for. Only asked if the looker is not certain. The test and the
    /// looker are asked for again afterwards.
    ///
    /// # Errors
    /// It cannot be found out.
    fn confirm(&mut self, _walker: &mut Walker<'_>) -> Result<bool, Error> {
        Ok(true)
    }

    /// The walker stands where a search ends, behind the last place that was looked at: whether what is searched for is between the two.
    ///
    /// # Errors
    /// It cannot be found out.
    fn end(&mut self, _walker: &mut Walker<'_>) -> Result<bool, Error> {
        Ok(false)
    }

    /// The walker stands where a stretch begins, before it is looked at up to `until`; it stands there again afterwards.
    ///
    /// # Errors
    /// What it needs cannot be found out.
    fn begin(&mut self, _walker: &mut Walker<'_>, _until: Target) -> Result<(), Error> {
        Ok(())
    }
}

/// Stops the guest when the interrupt is set.
struct Interruptible(Arc<AtomicBool>);

impl Heart for Interruptible {
    fn beat(&mut self, _host: &mut Host, _tick: Tick) -> Beat {
        match self.0.load(Ordering::Relaxed) {
            true => Beat::Stop,
            false => Beat::After(BEAT_TICKS),
        }
    }
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
            checkpoints,
            last: last.target,
            last_tick: last.tick,
            interrupt,
            stats: WalkerStats::default(),
        };
        walker.set_heart();
        walker.find_last()?;
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

    /// The last moment.
    #[must_use]
    pub fn last(&self) -> Target {
        self.last
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

    fn interruptible(&self) -> Interruptible {
        Interruptible(Arc::clone(&self.interrupt))
    }

    fn set_heart(&mut self) {
        let heart = self.interruptible();
        self.guest.set_heart(Some(Box::new(heart)));
    }

    /// Goes to a moment.
    ///
    /// # Errors
    /// As [`Trace::target`] and [`Walker::go`].
    pub fn go_to(&mut self, moment: &Moment) -> Result<Walked, Error> {
        let target = self.trace.target(moment)?;
        self.go(target)
    }

    /// If it cannot be stopped at the very last tick, the last moment is the last passage.
    fn find_last(&mut self) -> Result<(), Error> {
        let (Variant::Search, Target::Tick(end)) = (self.variant, self.last) else {
            return Ok(());
        };
        let near = self.checkpoints.last().map(|(_, number)| *number);
        self.load(near)?;
        let last = Arc::new(AtomicU64::new(u64::MAX));
        let noted = Arc::clone(&last);
        let noting = move |view: &View<'_>| {
            // A replay may have more stack than the recorded run had: what is behind its end has not happened.
            if view.tick <= end {
                noted.store(view.tick.0, Ordering::Relaxed);
            }
            Looked::On
        };
        let refused = |refusal| self.trace.refused(refusal);
        let looked = self.guest.look(LookAt::Passages, &Test::Always, Box::new(noting));
        looked.map_err(refused)?;
        let guest = &mut self.guest;
        let reached = self.program.on_guest_stack(|| guest.go(Until::Tick(end)));
        self.guest.look_away();
        reached.and_then(|reached| reached).map_err(refused)?;
        match last.load(Ordering::Relaxed) {
            u64::MAX => {}
            tick => self.last = Target::Tick(Tick(tick)),
        }
        self.load(None)?;
        Ok(())
    }

    /// Goes to a target, from the nearest state before it.
    ///
    /// # Errors
    /// [`Error::Moment`] if the replay ends before; what replaying gives.
    pub fn go(&mut self, target: Target) -> Result<Walked, Error> {
        let target = match (target, self.last) {
            (Target::Tick(tick), Target::Tick(last)) if tick > last => self.last,
            (target, _) => target,
        };
        self.approach(target)?;
        // Kept on the way: three quarters of what is left, again and again.
        if let Target::Tick(goal) = target {
            loop {
                let here = self.guest.tick().0;
                let left = goal.0.saturating_sub(here);
                if left <= NEAR_TICKS {
                    break;
                }
                match self.run(Target::Tick(Tick(here + left - left / 4)))? {
                    Walked::There => self.keep()?,
                    other => return Ok(other),
                }
            }
        }
        self.run(target)
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
        if self.kept.contains_key(&position) {
            return Ok(());
        }
        let kept = self.guest.keep().map_err(|refusal| self.trace.refused(refusal))?;
        let host = self.guest.host().state();
        self.kept.insert(position, Point { kept, host });
        if self.kept.len() > KEPT_MAX {
            // The one that is furthest away, in ticks.
            let distance = |at: &Position| at.tick.0.abs_diff(position.tick.0);
            let furthest = self.kept.keys().copied().max_by_key(distance);
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
    fn run(&mut self, target: Target) -> Result<Walked, Error> {
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
                return Err(Error::Moment(format!(
                    "the replay ends at tick {}, before it gets there",
                    here.0
                )));
            }
        };
        Ok(if self.guest.was_stopped_by_looker() {
            Walked::Looked
        } else if target.is_at(position) || !target.is_at_or_after(position) {
            // At the first possible stop, if there is none at that very tick.
            Walked::There
        } else {
            Walked::Interrupted
        })
    }

    /// Goes on until somebody who looks stops it, or to a target that is not behind.
    ///
    /// # Errors
    /// The tests cannot be compiled; what replaying gives.
    pub fn look_on(
        &mut self,
        (at, test): (LookAt, &Test),
        looker: Box<dyn Looker>,
        until: Target,
    ) -> Result<Walked, Error> {
        let looked = self.guest.look(at, test, looker);
        looked.map_err(|refusal| self.trace.refused(refusal))?;
        let walked = self.run(until);
        self.guest.look_away();
        walked
    }

    /// Searches forward, from where it stands to the last moment.
    ///
    /// # Errors
    /// What replaying, looking and confirming give.
    pub fn search_on(&mut self, quest: &mut dyn Quest) -> Result<Searched, Error> {
        self.search_on_until(quest, self.last)
    }

    /// As [`Walker::search_on`], not beyond a target.
    ///
    /// # Errors
    /// As [`Walker::search_on`].
    pub fn search_on_until(
        &mut self,
        quest: &mut dyn Quest,
        until: Target,
    ) -> Result<Searched, Error> {
        let from = self.position();
        if !until.is_at_or_after(from) || until == target_of(from) {
            return Ok(Searched::Nothing);
        }
        self.keep()?;
        quest.begin(self, until)?;
        loop {
            let (at, test) = quest.test();
            let looker = quest.looker();
            match self.look_on((at, &test), looker, until)? {
                Walked::Looked if quest.is_certain() || quest.confirm(self)? => {
                    return Ok(Searched::Found);
                }
                Walked::Looked => {}
                Walked::There if quest.end(self)? => return Ok(Searched::Found),
                Walked::There => {
                    self.go_back_to(from)?;
                    return Ok(Searched::Nothing);
                }
                Walked::Interrupted => return self.interrupted(from),
            }
        }
    }

    /// Goes back to where a search began, which was interrupted.
    fn interrupted(&mut self, from: Position) -> Result<Searched, Error> {
        self.interrupt.store(false, Ordering::Relaxed);
        self.go_back_to(from)?;
        Ok(Searched::Interrupted)
    }

    /// Searches backward, for the last place before where it stands.
    ///
    /// # Errors
    /// As [`Walker::search_on`].
    pub fn search_back(&mut self, quest: &mut dyn Quest) -> Result<Searched, Error> {
        self.search_back_until(quest, Tick(0))
    }

    /// As [`Walker::search_back`], not before a tick.
    ///
    /// # Errors
    /// As [`Walker::search_on`].
    pub fn search_back_until(
        &mut self,
        quest: &mut dyn Quest,
        until: Tick,
    ) -> Result<Searched, Error> {
        let from = self.position();
        let mut upper = Bound { at: from, is_in: false };
        let mut stretches = 0;
        loop {
            stretches += 1;
            if stretches == ALONE + 1 {
                match self.skip_back(quest, upper.at)? {
                    Some(end) => upper.at = end,
                    None => {
                        self.go_back_to(from)?;
                        return Ok(Searched::Nothing);
                    }
                }
            }
            if upper.at.tick < until || !self.stand_before(upper.at)? {
                self.go_back_to(from)?;
                return Ok(Searched::Nothing);
            }
            let lower = self.position();
            match self.last_in_stretch(quest, upper)? {
                Searched::Found if self.position().tick < until => {
                    self.go_back_to(from)?;
                    return Ok(Searched::Nothing);
                }
                Searched::Found => return Ok(Searched::Found),
                // Nobody looks at the place where a stretch begins: it belongs to the one before.
                Searched::Nothing => upper = Bound { at: lower, is_in: true },
                Searched::Interrupted => return self.interrupted(from),
            }
        }
    }

    /// Stands at the nearest known state that is before a position. `false` if that is the start.
    fn stand_before(&mut self, upper: Position) -> Result<bool, Error> {
        let kept = self.kept.range(..upper).next_back().map(|(at, _)| *at);
        let end = self.checkpoints.partition_point(|(at, _)| *at < upper);
        let loaded = self.checkpoints[..end].last().copied();
        match (kept, loaded) {
            (Some(at), loaded) if loaded.is_none_or(|(other, _)| at >= other) => {
                self.go_back(at)?;
            }
            (_, Some((at, number))) => {
                self.load(Some(number))?;
                if self.position() >= upper {
                    // It was not as near as it said.
                    self.checkpoints.retain(|(position, _)| *position != at);
                    return self.stand_before(upper);
                }
            }
            (_, None) if upper == Position::default() => return Ok(false),
            (_, None) => self.load(None)?,
        }
        Ok(self.position() < upper)
    }

    /// Searches the stretch from where it stands up to a position for the last place, and goes there.
    fn last_in_stretch(&mut self, quest: &mut dyn Quest, upper: Bound) -> Result<Searched, Error> {
        let until = target_of(upper.at);
        let lower = self.guest.tick().0;
        let step = (upper.at.tick.0 - lower) / STRETCH_PARTS;
        quest.begin(self, until)?;
        let mut found: Option<Position> = None;
        loop {
            let here = self.guest.tick().0;
            let part = match until {
                _ if step < NEAR_TICKS => until,
                _ if here + step + step / 2 >= upper.at.tick.0 => until,
                _ => Target::Tick(Tick(here + step)),
            };
            let walked = match quest.is_certain() {
                true => self.look_through(quest, part, upper, &mut found)?,
                false => self.confirm_through(quest, part, upper, &mut found)?,
            };
            match walked {
                Walked::There if part != until => self.keep()?,
                Walked::There if !upper.is_in => {
                    let here = self.position();
                    if quest.end(self)? {
                        return Ok(match self.go_back_to(here)? {
                            Walked::There => Searched::Found,
                            _ => Searched::Interrupted,
                        });
                    }
                    break;
                }
                Walked::Interrupted => return Ok(Searched::Interrupted),
                _ => break,
            }
        }
        let Some(found) = found else { return Ok(Searched::Nothing) };
        match self.go(target_of(found))? {
            Walked::There => Ok(Searched::Found),
            _ => Ok(Searched::Interrupted),
        }
    }

    /// Notes the last place where the looker would stop, without stopping there.
    fn look_through(
        &mut self,
        quest: &mut dyn Quest,
        part: Target,
        upper: Bound,
        found: &mut Option<Position>,
    ) -> Result<Walked, Error> {
        const NOTHING: u64 = u64::MAX;
        const UNCHANGED: u64 = u64::MAX - 1;
        let last = Arc::new(AtomicU64::new(UNCHANGED));
        let noted = Arc::clone(&last);
        let mut looker = quest.looker();
        let noting = move |view: &View<'_>| match looker.look(view) {
            Looked::Stop => {
                if upper.holds(at_tick(view.tick)) {
                    noted.store(view.tick.0, Ordering::Relaxed);
                }
                Looked::On
            }
            Looked::Instead(place) => {
                noted.store(place.map_or(NOTHING, |tick| tick.0), Ordering::Relaxed);
                Looked::On
            }
            other => other,
        };
        let (at, test) = quest.test();
        let walked = self.look_on((at, &test), Box::new(noting), part)?;
        match last.load(Ordering::Relaxed) {
            UNCHANGED => {}
            NOTHING => *found = None,
            tick => *found = Some(at_tick(Tick(tick))),
        }
        Ok(walked)
    }

    /// The last tick before a target at which something holds; stands afterwards where it stood before.
    ///
    /// # Errors
    /// As [`Walker::look_on`].
    pub fn last_where(
        &mut self,
        at: LookAt,
        test: &Test,
        until: Target,
    ) -> Result<Option<Tick>, Error> {
        let from = self.position();
        self.keep()?;
        let last = Arc::new(AtomicU64::new(u64::MAX));
        let noted = Arc::clone(&last);
        let noting = move |view: &View<'_>| {
            noted.store(view.tick.0, Ordering::Relaxed);
            Looked::On
        };
        self.look_on((at, test), Box::new(noting), until)?;
        self.go_back_to(from)?;
        let last = last.load(Ordering::Relaxed);
        Ok((last != u64::MAX).then_some(Tick(last)))
    }

    /// Stops wherever the looker does, and asks.
    fn confirm_through(
        &mut self,
        quest: &mut dyn Quest,
        part: Target,
        upper: Bound,
        found: &mut Option<Position>,
    ) -> Result<Walked, Error> {
        loop {
            let (at, test) = quest.test();
            let looker = quest.looker();
            match self.look_on((at, &test), looker, part)? {
                Walked::Looked => {
                    let here = self.position();
                    if !upper.holds(here) {
                        return Ok(Walked::There);
                    }
                    if quest.confirm(self)? {
                        *found = Some(here);
                    }
                }
                other => return Ok(other),
            }
        }
    }
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
        let Position { tick, in_call, .. } = self.at;
        place.tick < tick || (place.tick == tick && (in_call || self.is_in))
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
