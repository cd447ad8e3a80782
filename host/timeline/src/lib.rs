//! All positions of one recording, its checkpoints, and how to get to a position: restore the nearest checkpoint before it,
//! then replay.
//!
//! Works on any [`Machine`], so it is tested on a toy. Knows nothing of pages, engines or files.
//! Invariant: where a seek arrives does not depend on which checkpoint it started from.

use wrr_trace::{EventIndex, Tick};

/// A moment of a run; moments are totally ordered.
///
/// Between two ticks there may be host calls: the run is at a tick's arrival first, then in each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The tick that was counted last.
    pub tick: Tick,
    /// How many events were before.
    pub event: EventIndex,
    /// Inside the host call that becomes that event, rather than at the tick's arrival.
    pub in_call: bool,
}

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The arrival at this tick.
    Tick(Tick),
    /// Just before this event: in the host call that it answers.
    Event(EventIndex),
}

impl Target {
    /// Whether a run at `position` can still get there by going on.
    #[must_use]
    pub fn is_at_or_after(self, position: Position) -> bool {
        match self {
            Target::Tick(tick) => {
                position.tick < tick || (position.tick == tick && !position.in_call)
            }
            Target::Event(event) => position.event <= event,
        }
    }

    /// Whether a run at `position` is there.
    #[must_use]
    pub fn is_at(self, position: Position) -> bool {
        match self {
            Target::Tick(tick) => position.tick == tick && !position.in_call,
            Target::Event(event) => position.event == event && position.in_call,
        }
    }
}

/// What can be restored and replayed.
pub trait Machine {
    /// Why it cannot go on.
    type Error;

    /// Where it is.
    fn position(&mut self) -> Position;

    /// Goes to a checkpoint, or to the start of the run.
    ///
    /// # Errors
    /// The checkpoint cannot be loaded.
    fn restore(&mut self, checkpoint: Option<usize>) -> Result<(), Self::Error>;

    /// Goes on until it is at the target; `false` if the run ends before.
    ///
    /// # Errors
    /// The replay cannot go on.
    fn replay_to(&mut self, target: Target) -> Result<bool, Self::Error>;
}

/// How a seek went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The checkpoint that it started from.
    pub checkpoint: Option<usize>,
    /// Where that is.
    pub from: Position,
    /// Whether the run gets to the target at all.
    pub arrived: bool,
}

/// The checkpoints of a recording.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Ascending, with the machine's number for each.
    checkpoints: Vec<(Position, usize)>,
}

impl Timeline {
    /// A timeline with these checkpoints, in any order; their places in the list are their numbers.
    #[must_use]
    pub fn new(positions: impl IntoIterator<Item = Position>) -> Timeline {
        let mut checkpoints: Vec<(Position, usize)> = positions
            .into_iter()
            .enumerate()
            .map(|(number, position)| (position, number))
            .collect();
        checkpoints.sort_unstable();
        Timeline { checkpoints }
    }

    /// The checkpoints from which a target can be reached, the nearest first.
    pub fn before(&self, target: Target) -> impl Iterator<Item = (Position, usize)> + '_ {
        // Positions from which a target is reachable come before all others.
        let end = self.checkpoints.partition_point(|(at, _)| target.is_at_or_after(*at));
        self.checkpoints[..end].iter().rev().copied()
    }

    /// Takes a machine to a target: from where it is if that is nearer than any checkpoint, otherwise from the nearest
    /// checkpoint that can be loaded, or from the start.
    ///
    /// # Errors
    /// What replaying gives. Checkpoints that cannot be loaded are passed over; `lost` is told.
    pub fn seek<M: Machine>(
        &self,
        machine: &mut M,
        target: Target,
        mut lost: impl FnMut(usize, M::Error),
    ) -> Result<Sought, M::Error> {
        let mut from = None;
        for (position, number) in self.before(target) {
            match machine.restore(Some(number)) {
                Ok(()) => {
                    from = Some((position, number));
                    break;
                }
                Err(error) => lost(number, error),
            }
        }
        if from.is_none() {
            machine.restore(None)?;
        }
        let arrived = machine.replay_to(target)?;
        Ok(Sought {
            checkpoint: from.map(|(_, number)| number),
            from: from.map_or(Position::default(), |(position, _)| position),
            arrived,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A run that is a list of positions; its state is how it got there.
    struct Toy {
        run: Vec<Position>,
        checkpoints: Vec<usize>,
        broken: Vec<usize>,
        at: usize,
        replayed: usize,
    }

    impl Machine for Toy {
        type Error = usize;
        fn position(&mut self) -> Position {
            self.run[self.at]
        }
        fn restore(&mut self, checkpoint: Option<usize>) -> Result<(), usize> {
            if let Some(number) = checkpoint.filter(|number| self.broken.contains(number)) {
                return Err(number);
            }
            self.at = checkpoint.map_or(0, |number| self.checkpoints[number]);
            Ok(())
        }
        fn replay_to(&mut self, target: Target) -> Result<bool, usize> {
            while !target.is_at(self.run[self.at]) {
                if self.at + 1 == self.run.len() {
                    return Ok(false);
                }
                self.at += 1;
                self.replayed += 1;
            }
            Ok(true)
        }
    }

    /// Ticks with some calls between them.
    fn run_of(calls: &[u8]) -> Vec<Position> {
        let mut run = Vec::new();
        let mut event = 0;
        for (tick, &calls) in calls.iter().enumerate() {
            let at = |event, in_call| Position {
                tick: Tick(tick as u64),
                event: EventIndex(event),
                in_call,
            };
            run.push(at(event, false));
            for _ in 0..calls {
                run.push(at(event, true));
                event += 1;
            }
        }
        run
    }

    proptest! {
        #[test]
        fn positions_of_a_run_ascend(calls in proptest::collection::vec(0u8..3, 1..50)) {
            prop_assert!(run_of(&calls).is_sorted_by(|a, b| a < b));
        }

        #[test]
        fn a_seek_arrives_at_the_same_place_from_any_checkpoint_and_replays_the_least(
            calls in proptest::collection::vec(0u8..3, 1..50),
            places in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
            broken in proptest::collection::vec(0usize..6, 0..3),
            target in any::<proptest::sample::Index>(),
        ) {
            let run = run_of(&calls);
            let checkpoints: Vec<usize> = places.iter().map(|p| p.index(run.len())).collect();
            let goal = target.index(run.len());
            let target = if run[goal].in_call {
                Target::Event(run[goal].event)
            } else {
                Target::Tick(run[goal].tick)
            };
            let timeline = Timeline::new(checkpoints.iter().map(|&at| run[at]));
            let usable = |number: &usize| !broken.contains(number);
            let best = (0..checkpoints.len())
                .filter(usable)
                .map(|number| checkpoints[number])
                .filter(|&at| at <= goal)
                .max()
                .unwrap_or(0);
            let mut toy = Toy { run, checkpoints, broken: broken.clone(), at: 0, replayed: 0 };
            let sought = timeline.seek(&mut toy, target, |_, _| {}).unwrap();
            prop_assert!(sought.arrived);
            prop_assert_eq!(toy.at, goal);
            prop_assert_eq!(toy.replayed, goal - best);
        }
    }

    #[test]
    fn a_target_behind_the_end_is_not_reached() {
        let run = run_of(&[1, 0, 2]);
        let mut toy = Toy { run, checkpoints: vec![], broken: vec![], at: 0, replayed: 0 };
        let timeline = Timeline::default();
        for target in [Target::Tick(Tick(3)), Target::Event(EventIndex(3))] {
            assert!(!timeline.seek(&mut toy, target, |_, _| {}).unwrap().arrived);
        }
    }
}
