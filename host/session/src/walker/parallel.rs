//! Searching backward on several processors: which stretch between two checkpoints is the last one that has what is searched for.
//!
//! Each thread has a walker of its own and takes the latest stretch that nobody has taken. What it finds is only where to look: the
//! walker itself then searches that stretch.

use super::{Bound, Quest, Searched, Walker, WalkerStats};
use crate::Error;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wrr_timeline::Position;
use wrr_trace::Tick;

/// The most threads, where there are addresses for their guests: every one has the guest's memory once more, or twice.
const THREADS_MAX: usize = if cfg!(target_pointer_width = "32") { 1 } else { 8 };

/// The memories of all these guests together, in bytes.
const MEMORY_BYTES_MAX: usize = 2 << 30;

/// A stretch: the checkpoint that it begins at, or the start, and where it ends.
type Stretch = (Option<usize>, Position);

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
            checkpoints: self.checkpoints.clone(),
            last: self.last,
            last_tick: self.last_tick,
            interrupt: Arc::clone(&self.interrupt),
            stats: WalkerStats::default(),
        };
        walker.set_heart();
        Ok(walker)
    }

    /// Whether a stretch has what is searched for, or cannot be searched here.
    fn has_in_stretch(
        &mut self,
        quest: &mut dyn Quest,
        (checkpoint, end): Stretch,
    ) -> Result<bool, Error> {
        self.kept.clear();
        self.load(checkpoint)?;
        if self.position() >= end {
            return Ok(true);
        }
        let searched = self.last_in_stretch(quest, Bound { at: end, is_in: true })?;
        Ok(searched != Searched::Nothing)
    }

    /// The end of the last stretch up to a position that has what is searched for; `None` if none has. `upper` itself if it is not worth while, or was
    /// interrupted.
    pub(super) fn skip_back(
        &mut self,
        quest: &mut dyn Quest,
        upper: Position,
    ) -> Result<Option<Position>, Error> {
        let end = self.checkpoints.partition_point(|(at, _)| *at < upper);
        let memory_bytes = self.guest.memory_bytes(0).map_or(0, <[u8]>::len).max(1 << 20);
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS_MAX)
            .min(MEMORY_BYTES_MAX / memory_bytes)
            .min(end + 1);
        let quests: Option<Vec<_>> = (0..threads).map(|_| quest.fork()).collect();
        let (Some(quests), true) = (quests, threads > 1) else { return Ok(Some(upper)) };
        // Ascending; the latest one is taken first.
        let mut stretches: Vec<Stretch> = Vec::with_capacity(end + 1);
        let mut begin = None;
        for (at, number) in &self.checkpoints[..end] {
            // Whether it is in a call is not known: up to the tick behind.
            let end = Position { tick: Tick(at.tick.0.saturating_add(1)), in_call: false, ..*at };
            stretches.push((begin, end));
            begin = Some(*number);
        }
        stretches.push((begin, upper));

        let taken = AtomicUsize::new(0);
        // How many stretches from the end the last one is that has it.
        let found = AtomicUsize::new(usize::MAX);
        let search = |mut walker: Walker<'a>, mut quest: Box<dyn Quest + Send>| {
            loop {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                let before = found.load(Ordering::Relaxed);
                if number >= stretches.len() || number > before {
                    return Ok(());
                }
                let stretch = stretches[stretches.len() - 1 - number];
                if walker.has_in_stretch(&mut *quest, stretch)? {
                    found.fetch_min(number, Ordering::Relaxed);
                }
            }
        };
        // As many as the host has room for.
        let quests = quests.into_iter();
        let pairs: Vec<_> = quests.map_while(|quest| Some((self.sibling().ok()?, quest))).collect();
        if pairs.len() < 2 {
            return Ok(Some(upper));
        }
        let search = &search;
        let results: Vec<Result<(), Error>> = std::thread::scope(|scope| {
            let spawned: Vec<_> = pairs
                .into_iter()
                .map(|(walker, quest)| scope.spawn(move || search(walker, quest)))
                .collect();
            let failed = || Err(Error::Host("a thread that searched has failed".to_owned()));
            spawned.into_iter().map(|thread| thread.join().unwrap_or_else(|_| failed())).collect()
        });
        results.into_iter().collect::<Result<(), Error>>()?;
        let searched = taken.load(Ordering::Relaxed).min(stretches.len()) as u64;
        self.stats.skipped += searched;
        let found = found.load(Ordering::Relaxed);
        Ok(stretches.len().checked_sub(1 + found).map(|number| stretches[number].1))
    }
}
