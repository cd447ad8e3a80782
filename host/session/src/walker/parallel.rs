//! Searching backward on several processors: which place in the stretches between two checkpoints
//! is the last one that has what is searched for.
//!
//! Each thread has a walker of its own and takes the latest stretch that nobody has taken; the
//! walker itself is one of them. What they find is only where to look: the search goes on there.

use super::search::after;
use super::written::pages_of;
use super::{Backward, Bound, Quest, Ran, Searched, Walked, Walker, WalkerStats, at_tick};
use crate::Error;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use wrr_timeline::Position;
use wrr_trace::Tick;

/// The most threads, where there are addresses for their guests: every one has the guest's memory
/// once more.
const THREADS_MAX: usize = if cfg!(target_pointer_width = "32") { 1 } else { 8 };

/// The memories of all these guests together, in bytes.
const MEMORY_BYTES_MAX: usize = 2 << 30;

/// What is searched on its own.
#[derive(Clone, Copy)]
struct Stretch {
    /// The checkpoint that it begins at, and its number; `None`: the start of the run.
    begin: Option<(Position, usize)>,
    end: Bound,
}

/// All stretches, and who has come how far with them.
struct Work<'q> {
    /// The latest one first.
    stretches: Vec<Stretch>,
    /// How many were taken.
    taken: AtomicUsize,
    /// The first one that has what is searched for, and where the search goes on in it.
    found: Mutex<Option<(usize, Bound)>>,
    backward: Option<&'q Backward>,
    pages: Option<Vec<u32>>,
}

impl Work<'_> {
    /// Whether a stretch matters: no later one is known to have what is searched for.
    fn matters(&self, number: usize) -> bool {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        number < self.stretches.len() && found.is_none_or(|(before, _)| number < before)
    }

    fn put(&self, number: usize, last: Bound) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_none_or(|(before, _)| number < before) {
            *found = Some((number, last));
        }
    }
}

impl<'a> Walker<'a> {
    /// Another walker through the same run.
    fn sibling(&self) -> Result<Walker<'a>, Error> {
        let guest = self.trace.guest_at(&self.program, self.variant, None)?;
        let mut walker = Walker {
            trace: self.trace,
            program: self.program.clone(),
            variant: self.variant,
            entry: self.entry.clone(),
            guest,
            noting: None,
            kept: BTreeMap::new(),
            keeps: true,
            checkpoints: self.checkpoints.clone(),
            last: self.last,
            is_last_certain: self.is_last_certain,
            last_tick: self.last_tick,
            home: self.home,
            decoded: super::written::Decoded::default(),
            near_ticks: self.near_ticks,
            interrupt: Arc::clone(&self.interrupt),
            progress: Arc::clone(&self.progress),
            stats: WalkerStats::default(),
        };
        walker.set_heart();
        Ok(walker)
    }

    /// Searches one stretch after the other, until none is left that matters. `false` if it was
    /// interrupted.
    fn work(&mut self, quest: &mut dyn Quest, work: &Work<'_>) -> Result<bool, Error> {
        loop {
            let number = work.taken.fetch_add(1, Ordering::Relaxed);
            if !work.matters(number) {
                return Ok(true);
            }
            let Stretch { begin, end } = work.stretches[number];
            if let (Some((at, _)), Some(pages)) = (begin, &work.pages)
                && let Ok(place) = self.checkpoints.binary_search_by_key(&at, |(at, _)| *at)
                && self.is_untouched(place, pages)
            {
                self.progress.add(end.at.tick.0.saturating_sub(at.tick.0));
                self.stats.skipped += 1;
                continue;
            }
            let checkpoint = begin.map(|(_, number)| number);
            match self.last_of(quest, work.backward, (checkpoint, end))? {
                (Searched::Found, last) => work.put(number, last),
                (Searched::Nothing, _) => {}
                (Searched::Interrupted, _) => return Ok(false),
            }
        }
    }

    /// Whether a stretch has what is searched for, and where the search goes on if it has, or if it
    /// cannot be searched here.
    fn last_of(
        &mut self,
        quest: &mut dyn Quest,
        backward: Option<&Backward>,
        (checkpoint, end): (Option<usize>, Bound),
    ) -> Result<(Searched, Bound), Error> {
        self.keeps = backward.is_none();
        let home = self.home;
        self.kept.retain(|at, _| Some(*at) == home);
        let loaded = self.load(checkpoint);
        self.keeps = true;
        loaded?;
        if self.position() >= end.at {
            return Ok((Searched::Found, end));
        }
        let Some(backward) = backward else {
            let searched = self.last_in_stretch(quest, end)?;
            return Ok((searched, end));
        };
        self.keeps = false;
        let noted = self.note_last(quest, backward, end);
        self.keeps = true;
        Ok(match noted? {
            (Ran::To(Walked::Interrupted), _) => (Searched::Interrupted, end),
            (_, Some(tick)) => (Searched::Found, Bound { at: at_tick(tick), is_in: true }),
            (_, None) => (Searched::Nothing, end),
        })
    }

    /// Searches everything before a bound. If something is found, gives the bound up to which the
    /// search goes on; also if it is not worth while here. Where the walker stands afterwards is
    /// not said.
    pub(super) fn search_together(
        &mut self,
        quest: &mut dyn Quest,
        backward: Option<&Backward>,
        upper: Bound,
        until: Tick,
    ) -> Result<(Searched, Bound), Error> {
        let end = self.checkpoints.partition_point(|(at, _)| *at < upper.at);
        let first = self.checkpoints.partition_point(|(at, _)| at.tick < until);
        let memory_bytes = self.guest.memory_bytes(0).map_or(0, <[u8]>::len).max(1 << 20);
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS_MAX)
            .min(MEMORY_BYTES_MAX / memory_bytes)
            .min(end.saturating_sub(first) + 1);
        let others = threads.saturating_sub(1);
        let quests: Option<Vec<_>> = (0..others).map(|_| quest.fork()).collect();
        let (Some(quests), true) = (quests, others > 0) else {
            return Ok((Searched::Found, upper));
        };
        // As many as the host has room for.
        let quests = quests.into_iter();
        let pairs: Vec<_> = quests.map_while(|quest| Some((self.sibling().ok()?, quest))).collect();
        if pairs.is_empty() {
            return Ok((Searched::Found, upper));
        }
        let work = Work {
            stretches: self.stretches(upper, until),
            taken: AtomicUsize::new(0),
            found: Mutex::new(None),
            backward,
            pages: backward.and_then(|b| b.words.as_deref()).map(pages_of),
        };
        self.progress.count(true);
        let results: Vec<Result<bool, Error>> = std::thread::scope(|scope| {
            let work = &work;
            let spawned: Vec<_> = pairs
                .into_iter()
                .map(|(mut walker, mut quest)| {
                    scope.spawn(move || {
                        let done = walker.work(&mut *quest, work)?;
                        Ok((done, walker.stats.skipped))
                    })
                })
                .collect();
            let own = self.work(quest, work);
            let failed = || Err(Error::Host("a thread that searched has failed".to_owned()));
            let others = spawned.into_iter().map(|thread| {
                let (done, skipped) = thread.join().unwrap_or_else(|_| failed())?;
                self.stats.skipped += skipped;
                Ok(done)
            });
            std::iter::once(own).chain(others).collect()
        });
        self.progress.count(false);
        let mut is_done = true;
        for result in results {
            is_done &= result?;
        }
        let taken = work.taken.load(Ordering::Relaxed).min(work.stretches.len());
        self.stats.shared_out += taken as u64;
        let found = work.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(match found {
            _ if !is_done || self.is_interrupted() => (Searched::Interrupted, upper),
            Some((_, last)) => (Searched::Found, last),
            None => (Searched::Nothing, upper),
        })
    }

    /// What is between checkpoints, from the latest to the one in which a tick is.
    fn stretches(&self, upper: Bound, until: Tick) -> Vec<Stretch> {
        let mut end = upper;
        let mut stretches = Vec::new();
        let before = self.checkpoints.partition_point(|(at, _)| *at < upper.at);
        for &(at, number) in self.checkpoints[..before].iter().rev() {
            stretches.push(Stretch { begin: Some((at, number)), end });
            end = Bound { at: after(at), is_in: false };
            if at.tick < until {
                return stretches;
            }
        }
        if end.at > Position::default() {
            stretches.push(Stretch { begin: None, end });
        }
        stretches
    }
}
