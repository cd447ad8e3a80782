//! Searches for the next place, and for the last one before.
//!
//! Going back, what is near is searched first: a window before the place, then the one before that,
//! twice as long. Within a window the run goes forward, and the last place counts:
//!
//! ```text
//!                 window 3            window 2   window 1
//!    ───────┬───────────────────────┬───────────┬────────┐
//!        ───────────────────────────▶ ──────────▶ ───────▶ here
//! ```
//!
//! Most quests are tests alone. Their looker remembers the last place by itself, and only that one
//! is judged; if it is not what is searched for, the search goes on before it. Others look at a
//! window from its beginning, and are asked on the way.

use super::{Bound, Ran, Walked, Walker, at_tick, nobody, target_of};
use crate::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wrr_engine::{Look, LookAt, Looked, Looker, Test, Variant, View};
use wrr_timeline::{Position, Target};
use wrr_trace::Tick;

/// So many checkpoints are passed before several processors search.
const ALONE: u32 = 2;

/// In a long window states are kept at so many places.
const PARTS: u64 = 8;

/// After so many places close to each other that were not what is searched for, one window is
/// looked at from its beginning: then each place is judged where the run comes to it anyway.
const MISSES_MAX: u32 = 8;

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

    /// The same search for another walker on another thread; `None` if what it has found in one
    /// stretch matters in another one.
    fn fork(&self) -> Option<Box<dyn Quest + Send>> {
        None
    }

    /// The walker stands where the looker has stopped it: whether it is what is searched for. Only
    /// asked if the looker is not certain. The test and the looker are asked for again afterwards.
    ///
    /// # Errors
    /// It cannot be found out.
    fn confirm(&mut self, _walker: &mut Walker<'_>) -> Result<bool, Error> {
        Ok(true)
    }

    /// The walker stands where a search ends, after the last place that was looked at: whether what
    /// is searched for is between the two.
    ///
    /// # Errors
    /// It cannot be found out.
    fn end(&mut self, _walker: &mut Walker<'_>) -> Result<bool, Error> {
        Ok(false)
    }

    /// The walker stands where a stretch begins, before it is looked at up to `until`; it stands
    /// there again afterwards.
    ///
    /// # Errors
    /// What it needs cannot be found out.
    fn begin(&mut self, _walker: &mut Walker<'_>, _until: Target) -> Result<(), Error> {
        Ok(())
    }

    /// The walker stands where a search backward begins, at a place that was not what is searched
    /// for, or where a window begins that was looked at from there: which tests find the last place
    /// before. `None`: the next window is looked at from its beginning, with the methods above.
    ///
    /// # Errors
    /// What it needs cannot be found out.
    fn backward(&mut self, _walker: &mut Walker<'_>) -> Result<Option<Backward>, Error> {
        Ok(None)
    }

    /// The walker stands where a window begins in which the looker is asked where [`Backward::ask`]
    /// passes.
    fn window(&mut self, _walker: &mut Walker<'_>) {}

    /// The walker stands at the last place where the tests of [`Quest::backward`] pass: whether it
    /// is what is searched for. It stands there again afterwards.
    ///
    /// # Errors
    /// It cannot be found out.
    fn judge(&mut self, _walker: &mut Walker<'_>) -> Result<Judged, Error> {
        Ok(Judged::Found)
    }
}

/// What a place is that a search backward has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// What is searched for.
    Found,
    /// Not that: the search goes on before it.
    Missed,
    /// It cannot be said here: the window before the last place that was judged is looked at from
    /// its beginning.
    Unclear,
}

/// How the last place is found.
#[derive(Clone, Debug)]
pub struct Backward {
    /// Where the run is looked at.
    pub at: LookAt,
    /// A place where this test passes counts.
    pub note: Option<Test>,
    /// A place where this test passes counts if the quest's looker stops there.
    pub ask: Option<Test>,
    /// While none of these words of memory 0 is written, nothing comes to pass or ceases to.
    /// `None`: not known.
    pub words: Option<Vec<u32>>,
}

impl Backward {
    /// Wherever a test passes.
    #[must_use]
    pub fn noting(at: LookAt, test: Test) -> Backward {
        Backward { at, note: Some(test), ask: None, words: None }
    }
}

/// Stands for no tick.
const NO_TICK: u64 = u64::MAX;

/// The last places that a search backward has come to and that were not what is searched for.
#[derive(Default)]
struct Misses {
    last: Option<Tick>,
    count: u32,
}

impl Misses {
    /// Counts a miss. `true` after [`MISSES_MAX`] of them, each at most `near_ticks` after the next
    /// one; the count then starts again.
    fn are_many(&mut self, tick: Tick, near_ticks: u64) -> bool {
        let is_near = self.last.is_some_and(|last| last.0.saturating_sub(tick.0) <= near_ticks);
        self.count = if is_near { self.count + 1 } else { 1 };
        self.last = Some(tick);
        let are_many = self.count >= MISSES_MAX;
        if are_many {
            *self = Misses::default();
        }
        are_many
    }
}

fn tick_in(noted: &AtomicU64) -> Option<Tick> {
    let tick = noted.load(Ordering::Relaxed);
    (tick != NO_TICK).then_some(Tick(tick))
}

impl Walker<'_> {
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
        self.or_home(Searched::Interrupted, |walker| walker.forward(quest, until))
    }

    fn forward(&mut self, quest: &mut dyn Quest, until: Target) -> Result<Searched, Error> {
        let from = self.position();
        if !until.is_at_or_after(from) || until == target_of(from) {
            return Ok(Searched::Nothing);
        }
        self.keep()?;
        let end = match until {
            Target::Tick(tick) => tick,
            Target::Event(event) => self.tick_of(event)?,
        };
        let begins = self.progress.begin(end.0.saturating_sub(from.tick.0));
        let came = self.forward_until(quest, until);
        if begins {
            self.progress.end();
        }
        if matches!(came, Ok(Searched::Nothing)) {
            self.return_to(from)?;
        }
        came
    }

    fn forward_until(&mut self, quest: &mut dyn Quest, until: Target) -> Result<Searched, Error> {
        quest.begin(self, until)?;
        loop {
            if self.is_interrupted() {
                return Ok(Searched::Interrupted);
            }
            let (at, test) = quest.test();
            let look = Look { at, note: None, before: None, ask: Some(test) };
            self.progress.count(true);
            let (ran, _) = self.run_looking(&look, quest.looker(), until)?;
            self.progress.count(false);
            let is_found = match ran {
                Ran::To(Walked::Looked) => quest.is_certain() || quest.confirm(self)?,
                Ran::To(Walked::There) => quest.end(self)?,
                Ran::To(Walked::Interrupted) => return Ok(Searched::Interrupted),
                Ran::Ended => false,
            };
            match ran {
                _ if self.is_interrupted() => return Ok(Searched::Interrupted),
                _ if is_found => return Ok(Searched::Found),
                Ran::To(Walked::Looked) => {}
                _ => return Ok(Searched::Nothing),
            }
        }
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
        self.or_home(Searched::Interrupted, |walker| walker.back(quest, until))
    }

    fn back(&mut self, quest: &mut dyn Quest, until: Tick) -> Result<Searched, Error> {
        let from = self.position();
        if !self.guest.has_ended() {
            self.keep()?;
        }
        let begins = self.progress.begin(from.tick.0.saturating_sub(until.0));
        let came = self.back_until(quest, from, until);
        if begins {
            self.progress.end();
        }
        if matches!(came, Ok(Searched::Nothing)) {
            self.return_to(from)?;
        }
        came
    }

    fn back_until(
        &mut self,
        quest: &mut dyn Quest,
        from: Position,
        until: Tick,
    ) -> Result<Searched, Error> {
        let mut upper = Bound { at: from, is_in: false };
        let mut window = self.near_ticks;
        let mut passed = 0;
        let mut misses = Misses::default();
        let mut backward = quest.backward(self)?;
        loop {
            if let Some(words) = backward.as_ref().and_then(|backward| backward.words.as_ref()) {
                upper = self.pass_over_untouched(upper, &super::written::pages_of(words));
            }
            if self.is_interrupted() {
                return Ok(Searched::Interrupted);
            }
            if backward.as_ref().is_some_and(|b| b.note.is_none() && b.ask.is_none()) {
                return Ok(Searched::Nothing);
            }
            if passed >= ALONE {
                passed = 0;
                match self.search_together(quest, backward.as_ref(), upper, until)? {
                    (Searched::Found, last) => (upper, window) = (last, self.near_ticks),
                    (other, _) => return Ok(other),
                }
            }
            self.progress.set(from.tick.0.saturating_sub(upper.at.tick.0));
            if upper.at.tick < until {
                return Ok(Searched::Nothing);
            }
            match self.begin_window(upper.at, window, until)? {
                Some(Walked::There) => {}
                Some(_) => return Ok(Searched::Interrupted),
                None => return Ok(Searched::Nothing),
            }
            self.go_on_to_passage(upper.at)?;
            let lower = self.position();
            if backward.is_none() {
                self.keep()?;
            }
            self.progress.count(true);
            let searched = match &backward {
                Some(backward) => self.last_noted(quest, backward, upper),
                None => self.last_in_stretch(quest, upper),
            };
            self.progress.count(false);
            match searched? {
                Searched::Interrupted => return Ok(Searched::Interrupted),
                Searched::Found if self.position().tick < until => return Ok(Searched::Nothing),
                Searched::Found if backward.is_none() => return Ok(Searched::Found),
                Searched::Found => {
                    let judged = quest.judge(self)?;
                    (window, passed) = (self.near_ticks, 0);
                    match judged {
                        _ if self.is_interrupted() => return Ok(Searched::Interrupted),
                        Judged::Found => return Ok(Searched::Found),
                        Judged::Unclear => backward = None,
                        Judged::Missed => {
                            upper = Bound { at: self.position(), is_in: false };
                            backward = match misses.are_many(upper.at.tick, self.near_ticks) {
                                true => None,
                                false => quest.backward(self)?,
                            };
                        }
                    }
                }
                // Nobody looks at the place where a window begins: it belongs to the one before.
                Searched::Nothing => {
                    passed += u32::from(self.is_checkpoint_between(lower, upper.at));
                    upper = Bound { at: lower, is_in: true };
                    window = window.saturating_mul(2);
                    if backward.is_none() {
                        self.return_to(lower)?;
                        backward = quest.backward(self)?;
                    }
                }
            }
        }
    }

    /// Whether a window begins at a checkpoint, or has one in it.
    fn is_checkpoint_between(&self, lower: Position, upper: Position) -> bool {
        let before = self.checkpoints.partition_point(|(at, _)| at.tick < lower.tick);
        self.checkpoints.get(before).is_some_and(|(at, _)| *at < upper)
    }

    /// Where the search goes on if pages that matter were not written between checkpoints before.
    fn pass_over_untouched(&mut self, mut upper: Bound, pages: &[u32]) -> Bound {
        loop {
            let place = self.checkpoints.partition_point(|(at, _)| *at < upper.at).checked_sub(1);
            let Some(place) = place.filter(|place| self.is_untouched(*place, pages)) else {
                return upper;
            };
            self.stats.skipped += 1;
            upper = Bound { at: after(self.checkpoints[place].0), is_in: false };
            if place == 0 || upper.at.tick.0 == 0 {
                return upper;
            }
            // Its own tick belongs to the stretch before.
            let next = self.checkpoints[place].0;
            if !self.is_untouched(place - 1, pages) {
                return upper;
            }
            upper = Bound { at: next, is_in: true };
        }
    }

    /// Stands where a window before a position begins: at a state that is known, if one is about as
    /// far away, otherwise it goes there without looking. `None` if there is nothing before.
    fn begin_window(
        &mut self,
        upper: Position,
        window: u64,
        until: Tick,
    ) -> Result<Option<Walked>, Error> {
        let from = upper.tick.0;
        let goal = from.saturating_sub(window).max(until.0.saturating_sub(1));
        let furthest = Position {
            tick: Tick(from.saturating_sub(window.saturating_mul(2))),
            ..at_tick(Tick(0))
        };
        let kept = self.kept.range(furthest..upper).next().map(|(at, _)| *at);
        if let Some(at) = kept.filter(|at| from - at.tick.0 >= window / 4) {
            self.go_back(at)?;
            return Ok(Some(Walked::There));
        }
        let end = self.checkpoints.partition_point(|(at, _)| *at < upper);
        let before = self.checkpoints[..end].last().map_or(0, |(at, _)| at.tick.0);
        if before < furthest.tick.0 {
            let ran = self.travel_on(Target::Tick(Tick(goal)))?;
            if ran == Ran::To(Walked::Interrupted) {
                return Ok(Some(Walked::Interrupted));
            }
            if ran == Ran::To(Walked::There) && self.position() < upper {
                self.keep()?;
                return Ok(Some(Walked::There));
            }
        }
        Ok(self.stand_before(upper)?.then_some(Walked::There))
    }

    /// Goes on to a passage, if the program is looked at there and it stands elsewhere: which
    /// instruction was the last one is known for sure at passages alone. It stays where it is if
    /// there is none before a position.
    fn go_on_to_passage(&mut self, upper: Position) -> Result<(), Error> {
        if self.variant != Variant::Search || self.guest.shown_here().is_some() {
            return Ok(());
        }
        self.keep()?;
        let here = self.position();
        let look = Look { at: LookAt::Passages, note: None, before: None, ask: Some(Test::Always) };
        let stopping = Box::new(|_: &View<'_>| Looked::Stop);
        let (ran, _) = self.run_looking(&look, stopping, target_of(upper))?;
        if ran != Ran::To(Walked::Looked) || self.position() >= upper {
            self.go_back(here)?;
        }
        Ok(())
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

    /// Where the next part of a window ends that is looked at up to a bound.
    fn next_part(&mut self, step: u64, upper: Bound) -> Target {
        let here = self.guest.tick().0;
        match step {
            _ if step < self.near_ticks => target_of(upper.at),
            _ if here + step + step / 2 >= upper.at.tick.0 => target_of(upper.at),
            _ => Target::Tick(Tick(here + step)),
        }
    }

    /// Notes the last place in the window from where it stands up to a bound, and goes there.
    fn last_noted(
        &mut self,
        quest: &mut dyn Quest,
        backward: &Backward,
        upper: Bound,
    ) -> Result<Searched, Error> {
        let (ran, found) = self.note_last(quest, backward, upper)?;
        if ran == Ran::To(Walked::Interrupted) {
            return Ok(Searched::Interrupted);
        }
        let Some(found) = found else { return Ok(Searched::Nothing) };
        self.progress.count(false);
        match self.travel_on(Target::Tick(found))?.walked(self)? {
            Walked::There => Ok(Searched::Found),
            _ => Ok(Searched::Interrupted),
        }
    }

    /// The tick of the last place in the window from where it stands up to a bound.
    pub(super) fn note_last(
        &mut self,
        quest: &mut dyn Quest,
        backward: &Backward,
        upper: Bound,
    ) -> Result<(Ran, Option<Tick>), Error> {
        let Backward { at, note, ask, .. } = backward.clone();
        let look = Look { at, note, before: Some(upper.end()), ask };
        let until = target_of(upper.at);
        let step = upper.at.tick.0.saturating_sub(self.guest.tick().0) / PARTS;
        let mut found = None;
        if look.ask.is_some() {
            quest.window(self);
        }
        loop {
            let part = self.next_part(step, upper);
            let asked = Arc::new(AtomicU64::new(NO_TICK));
            let looker = match look.ask {
                Some(_) => noting(quest.looker(), upper, Arc::clone(&asked)),
                None => nobody(),
            };
            let (ran, noted) = self.run_looking(&look, looker, part)?;
            found = noted.max(tick_in(&asked)).or(found);
            match ran {
                Ran::To(Walked::There) if part != until => self.keep()?,
                _ => return Ok((ran, found)),
            }
        }
    }

    /// Searches the stretch from where it stands up to a bound for the last place, and goes there.
    pub(super) fn last_in_stretch(
        &mut self,
        quest: &mut dyn Quest,
        upper: Bound,
    ) -> Result<Searched, Error> {
        let until = target_of(upper.at);
        let step = upper.at.tick.0.saturating_sub(self.guest.tick().0) / PARTS;
        quest.begin(self, until)?;
        let mut found: Option<Position> = None;
        loop {
            let part = self.next_part(step, upper);
            let ran = match quest.is_certain() {
                true => self.look_through(quest, part, upper, &mut found)?,
                false => self.confirm_through(quest, part, upper, &mut found)?,
            };
            match ran {
                _ if self.is_interrupted() => return Ok(Searched::Interrupted),
                Ran::To(Walked::There) if part != until => self.keep()?,
                Ran::To(Walked::There) if !upper.is_in => {
                    let here = self.position();
                    let is_found = quest.end(self)?;
                    if self.is_interrupted() {
                        return Ok(Searched::Interrupted);
                    }
                    if is_found {
                        found = Some(here);
                    }
                    break;
                }
                Ran::To(Walked::Interrupted) => return Ok(Searched::Interrupted),
                _ => break,
            }
        }
        let Some(found) = found else { return Ok(Searched::Nothing) };
        self.progress.count(false);
        match self.travel_on(target_of(found))?.walked(self)? {
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
    ) -> Result<Ran, Error> {
        const UNCHANGED: u64 = NO_TICK - 1;
        let last = Arc::new(AtomicU64::new(UNCHANGED));
        let looker = noting(quest.looker(), upper, Arc::clone(&last));
        let (at, test) = quest.test();
        let look = Look { at, note: None, before: None, ask: Some(test) };
        let (ran, _) = self.run_looking(&look, looker, part)?;
        if last.load(Ordering::Relaxed) != UNCHANGED {
            *found = tick_in(&last).map(at_tick);
        }
        Ok(ran)
    }

    /// The last tick before a target at which something holds; stands afterwards where it stood
    /// before. `None` also after an interrupt.
    ///
    /// # Errors
    /// As [`Walker::search_on`].
    pub fn last_where(
        &mut self,
        at: LookAt,
        test: &Test,
        until: Target,
    ) -> Result<Option<Tick>, Error> {
        let from = self.position();
        self.keep()?;
        let look = Look { at, note: Some(test.clone()), before: None, ask: None };
        let (_, noted) = self.run_looking(&look, nobody(), until)?;
        self.return_to(from)?;
        Ok(noted)
    }

    /// Does something at the next place that can be looked at, or at a target if that comes first;
    /// stands afterwards where it stood before.
    ///
    /// # Errors
    /// As [`Walker::search_on`].
    pub fn at_next_place<R>(
        &mut self,
        at: LookAt,
        until: Target,
        action: impl FnOnce(&mut Self) -> R,
    ) -> Result<R, Error> {
        let from = self.position();
        self.keep()?;
        let look = Look { at, note: None, before: None, ask: Some(Test::Always) };
        self.run_looking(&look, Box::new(|_: &View<'_>| Looked::Stop), until)?;
        let result = action(self);
        self.return_to(from)?;
        Ok(result)
    }

    /// Stops wherever the looker does, and asks.
    fn confirm_through(
        &mut self,
        quest: &mut dyn Quest,
        part: Target,
        upper: Bound,
        found: &mut Option<Position>,
    ) -> Result<Ran, Error> {
        loop {
            let (at, test) = quest.test();
            let look = Look { at, note: None, before: None, ask: Some(test) };
            let (ran, _) = self.run_looking(&look, quest.looker(), part)?;
            if ran != Ran::To(Walked::Looked) {
                return Ok(ran);
            }
            let here = self.position();
            if !upper.holds(here) {
                return Ok(Ran::To(Walked::There));
            }
            let is_confirmed = quest.confirm(self)?;
            if self.is_interrupted() {
                return Ok(Ran::To(Walked::Interrupted));
            }
            if is_confirmed {
                *found = Some(here);
            }
        }
    }
}

/// Notes where another looker would stop, and does not stop.
fn noting(mut looker: Box<dyn Looker>, upper: Bound, noted: Arc<AtomicU64>) -> Box<dyn Looker> {
    Box::new(move |view: &View<'_>| match looker.look(view) {
        Looked::Stop => {
            if upper.holds(at_tick(view.tick)) {
                noted.store(view.tick.0, Ordering::Relaxed);
            }
            Looked::On
        }
        Looked::Instead(place) => {
            noted.store(place.map_or(NO_TICK, |tick| tick.0), Ordering::Relaxed);
            Looked::On
        }
        other => other,
    })
}

/// The end of the stretch before a checkpoint. Whether that is in a call is not known: up to the
/// tick after it.
pub(super) fn after(checkpoint: Position) -> Position {
    let tick = Tick(checkpoint.tick.0.saturating_add(1));
    Position { tick, in_call: false, ..checkpoint }
}
