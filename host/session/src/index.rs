//! Adds checkpoints to a trace that has few or none.
//!
//! The run is replayed in stretches from one checkpoint to the next, each by whichever thread is
//! free. A stretch numbers its new pages for itself, after those that the file had; [`Output`]
//! gives them the numbers that they get in the file.
//!
//! Invariant: the file is locked before anything is read that ids depend on, and only appended to.

use crate::moment::Last;
use crate::{Error, Trace};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wrr_engine::{Beat, Guest, Heart, PageStore, Program, Reached, TrackerKind, Until, Variant};
use wrr_trace::{Checkpoint, EventIndex, PAGE_BYTES, PageId, PageRun, Saved, Tick, TraceAppender};
use wrr_wasi::Host;

/// Replaying to a tick takes longer than replaying to the end: the exact stops cost.
const INSPECT_FACTOR: f64 = 1.5;
/// How many existing pages are read at a time.
const PAGES_AT_ONCE: u32 = 4096;
/// The memories of all guests that replay at the same time, in bytes.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// How often progress is reported.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What was added to a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    /// Checkpoints that were added.
    pub added: u64,
    /// Checkpoints that there are now.
    pub checkpoints: u64,
    /// The file's length before and after, in bytes.
    pub file_bytes: (u64, u64),
}

/// A part of the run, from a checkpoint or the start to the next checkpoint or the end.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// The checkpoint's number.
    from: Option<usize>,
    begin: Tick,
    /// The next checkpoint's number and its tick.
    to: Option<(usize, Tick)>,
}

/// Stops the guest when a checkpoint is due.
struct IndexHeart {
    pace: crate::recording::Pace,
    spacing: Duration,
    /// When the guest stood at the last checkpoint, or at the begin of the stretch.
    last: Option<Instant>,
    /// No checkpoints before this tick.
    begin: Tick,
    seen: Tick,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    ticks: AtomicU64,
    /// Something has failed: the others stop.
    stop: AtomicBool,
}

impl Heart for IndexHeart {
    fn beat(&mut self, _host: &mut Host, tick: Tick) -> Beat {
        let now = Instant::now();
        self.progress.ticks.fetch_add(tick.0.saturating_sub(self.seen.0), Ordering::Relaxed);
        self.seen = self.seen.max(tick);
        if self.progress.stop.load(Ordering::Relaxed) {
            return Beat::Stop;
        }
        if tick >= self.begin {
            // Taking a checkpoint does not count: the guest has just gone on from it.
            let last = *self.last.get_or_insert(now);
            if now.duration_since(last) >= self.spacing {
                self.last = None;
                return Beat::Stop;
            }
        }
        // Often enough not to overshoot.
        Beat::After(self.pace.next(now))
    }
}

/// The file that checkpoints are added to, with the pages that are new in it.
struct Output {
    appender: TraceAppender,
    new_pages: PageStore,
    added: u64,
}

/// The numbers in the file of the pages that a stretch has numbered itself.
struct Numbers {
    /// Up to here they are those of the file already.
    stored: PageId,
    added: Vec<PageId>,
}

impl Numbers {
    fn of(&self, id: PageId) -> PageId {
        match id.0.checked_sub(self.stored.0 + 1) {
            Some(place) => self.added[place as usize],
            None => id,
        }
    }

    /// The same pages by their numbers in the file.
    fn renumbered(&self, runs: &[PageRun]) -> Vec<PageRun> {
        let mut out: Vec<PageRun> = Vec::with_capacity(runs.len());
        for run in runs {
            if run.id.0 + (run.count - 1) <= self.stored.0 {
                out.push(*run);
                continue;
            }
            for offset in 0..run.count {
                let (page, id) = (run.page + offset, self.of(PageId(run.id.0 + offset)));
                match out.last_mut() {
                    Some(last)
                        if last.page + last.count == page && last.id.0 + last.count == id.0 =>
                    {
                        last.count += 1;
                    }
                    _ => out.push(PageRun { page, id, count: 1 }),
                }
            }
        }
        out
    }
}

impl Output {
    /// Adds a checkpoint. `pages` are those that its stretch has numbered since the last one.
    fn put(
        &mut self,
        mut checkpoint: Checkpoint,
        pages: &[u8],
        numbers: &mut Numbers,
    ) -> Result<(), Error> {
        let (pages, _) = pages.as_chunks::<PAGE_BYTES>();
        let ids = self.new_pages.insert_all(&pages.iter().collect::<Vec<_>>());
        let ids = ids.map_err(|error| Error::Host(error.to_string()))?;
        numbers.added.extend(ids.into_iter().map(|id| PageId(id.0)));
        for memory in &mut checkpoint.memories {
            memory.runs = numbers.renumbered(&memory.runs);
        }
        self.appender.put(&self.new_pages.take_new(), &checkpoint)?;
        self.added += 1;
        Ok(())
    }
}

/// What all threads share.
struct Indexing<'t> {
    trace: &'t Trace<'t>,
    program: Program,
    variant: Variant,
    spacing: Duration,
    tracker: Option<TrackerKind>,
    output: Mutex<Output>,
    progress: Arc<Progress>,
    /// Pages that the file had at the begin.
    stored: PageId,
    /// The last event that can be stopped at, if no checkpoint is there yet.
    last_event: Option<EventIndex>,
    /// Where the run ends, if a replay would go on.
    ends_at: Option<Tick>,
}

impl Trace<'_> {
    /// Replays the whole trace on all processors and adds checkpoints, so that a seek replays for
    /// at most `max_seek` on a machine like this one. The file is valid at every moment; what was
    /// added before an interruption stays.
    ///
    /// # Errors
    /// As [`Trace::replay`]; [`Error::Trace`] if the file cannot be written, or somebody else
    /// writes to it.
    pub fn index(
        &self,
        max_seek: Duration,
        tracker: Option<TrackerKind>,
    ) -> Result<Indexed, Error> {
        // Locked first: whoever else adds checkpoints changes which ids are free.
        let (appender, reader) = TraceAppender::open_with_reader(self.reader().path())?;
        let trace = self.with_reader(reader);
        let before = trace.reader().file_bytes();
        let already = trace.reader().checkpoints().len() as u64;
        let stored = wrr_engine::PageId(appender.page_count());
        let output = Output { appender, new_pages: PageStore::after(stored), added: 0 };
        let variant = trace.replaying_variant()?;
        let last = Last::of(trace.reader())?;
        let has_none = |event: &EventIndex| {
            trace.reader().checkpoints().iter().all(|checkpoint| checkpoint.event != *event)
        };
        let indexing = Indexing {
            program: trace.program(variant)?,
            variant,
            spacing: max_seek.div_f64(INSPECT_FACTOR),
            tracker,
            output: Mutex::new(output),
            progress: Arc::default(),
            stored: PageId(stored.0),
            last_event: last.events.0.checked_sub(1).map(EventIndex).filter(has_none),
            ends_at: trace.ends_at()?,
            trace: &trace,
        };
        indexing.run(last.tick)?;
        let Output { appender, added, .. } =
            indexing.output.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Saved { file_bytes, .. } = appender.finish()?;
        Ok(Indexed { added, checkpoints: already + added, file_bytes: (before, file_bytes) })
    }

    /// Gives the first pages of the trace their ids in a new store.
    pub(crate) fn seed(&self, store: &mut PageStore, count: u32) -> Result<(), Error> {
        let mut next = 1;
        while next <= count {
            let end = count.min(next + PAGES_AT_ONCE - 1);
            let mut bytes = vec![0; (end - next + 1) as usize * PAGE_BYTES];
            let (pages, _) = bytes.as_chunks_mut::<PAGE_BYTES>();
            let wanted = (next..=end).map(PageId).zip(pages.iter_mut().map(|page| &mut page[..]));
            self.reader().read_pages(wanted.collect())?;
            for page in bytes.as_chunks::<PAGE_BYTES>().0 {
                store.seed(page).map_err(|e| Error::Host(e.to_string()))?;
            }
            next = end + 1;
        }
        Ok(())
    }
}

impl Indexing<'_> {
    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stretches(&self) -> Vec<Stretch> {
        let checkpoints = self.trace.reader().checkpoints();
        let mut stretches = Vec::with_capacity(checkpoints.len() + 1);
        let (mut from, mut begin) = (None, Tick(0));
        for (number, checkpoint) in checkpoints.iter().enumerate() {
            stretches.push(Stretch { from, begin, to: Some((number, checkpoint.tick)) });
            (from, begin) = (Some(number), checkpoint.tick);
        }
        stretches.push(Stretch { from, begin, to: None });
        stretches
    }

    /// How many guests may replay at the same time.
    fn threads(&self, stretches: usize) -> Result<usize, Error> {
        let reader = self.trace.reader();
        let memory_bytes = match reader.checkpoints().len().checked_sub(1) {
            Some(last) => reader.checkpoint(last)?.memories.iter().map(|memory| memory.bytes).sum(),
            None => 0,
        };
        let room = MEMORY_BYTES_MAX / u64::max(memory_bytes, 1 << 20);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(processors.min(usize::try_from(room).unwrap_or(usize::MAX)).min(stretches).max(1))
    }

    /// Replays all stretches, of a run that ends at this tick.
    fn run(&self, end: Tick) -> Result<(), Error> {
        let stretches = self.stretches();
        let threads = self.threads(stretches.len()).unwrap_or(1);
        let taken = AtomicUsize::new(0);
        let work = || {
            while let Some(stretch) = stretches.get(taken.fetch_add(1, Ordering::Relaxed)) {
                if self.progress.stop.load(Ordering::Relaxed) {
                    break;
                }
                if let Err(error) = self.index_stretch(*stretch) {
                    self.progress.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        };
        let (ended, ends) = channel::<()>();
        std::thread::scope(|scope| {
            let spawned: Vec<_> = (0..threads)
                .map(|_| {
                    let (ended, work) = (ended.clone(), &work);
                    scope.spawn(move || {
                        let worked = work();
                        drop(ended);
                        worked
                    })
                })
                .collect();
            drop(ended);
            // Nothing is ever sent: it ends when the last thread has.
            while ends.recv_timeout(REPORT_EVERY) == Err(RecvTimeoutError::Timeout) {
                let ticks = self.progress.ticks.load(Ordering::Relaxed);
                self.trace.observer().indexing(ticks.min(end.0), end.0);
            }
            let failed = || Err(Error::Host("a thread that indexed has failed".to_owned()));
            spawned.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| failed()))
        })
    }

    /// A guest at the begin of a stretch, or before it if no checkpoint can be used; and its pages.
    fn guest_before(&self, stretch: Stretch, store: PageStore) -> Result<Guest, Error> {
        let trace = self.trace;
        for number in stretch.from.map_or(0..0, |from| 0..from + 1).rev() {
            let restored =
                trace.reader().checkpoint(number).map_err(Error::from).and_then(|at| {
                    Ok((trace.guest_at(&self.program, self.variant, Some(&at))?, at))
                });
            match restored {
                Ok((mut guest, checkpoint)) => {
                    let tracked = guest.track_from(store, self.tracker, &checkpoint);
                    tracked.map_err(|refusal| trace.refused(refusal))?;
                    return Ok(guest);
                }
                Err(error) => {
                    tracing::warn!(
                        "checkpoint {number} cannot be used, an earlier one is: {error}"
                    );
                }
            }
        }
        let mut guest = trace.guest_at(&self.program, self.variant, None)?;
        guest.track(store, self.tracker).map_err(|refusal| trace.refused(refusal))?;
        Ok(guest)
    }

    /// Takes the checkpoints of a stretch.
    fn index_stretch(&self, stretch: Stretch) -> Result<(), Error> {
        let mut store = PageStore::after(wrr_engine::PageId(self.stored.0));
        if let Some((next, _)) = stretch.to {
            self.know_changes(&mut store, stretch.from, next)?;
        }
        let mut guest = self.guest_before(stretch, store)?;
        guest.set_heart(Some(Box::new(IndexHeart {
            pace: crate::recording::Pace::new(),
            spacing: self.spacing,
            last: None,
            begin: stretch.begin,
            seen: stretch.begin,
            progress: Arc::clone(&self.progress),
        })));
        let mut numbers = Numbers { stored: self.stored, added: Vec::new() };
        let refused = |refusal| self.trace.refused(refusal);
        let is_ahead = stretch.to.is_none() && self.last_event >= Some(guest.events());
        let mut last_event = self.last_event.filter(|_| is_ahead);
        loop {
            let until = match (stretch.to, last_event, self.ends_at) {
                (Some((_, tick)), ..) | (None, None, Some(tick)) => Until::Tick(tick),
                (None, Some(event), _) => Until::Event(event),
                (None, None, None) => Until::End,
            };
            let reached = self.program.on_guest_stack(|| guest.go(until));
            if self.progress.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            match reached.and_then(|reached| reached).map_err(refused)? {
                Reached::Stopped => {
                    match until {
                        Until::Tick(tick) if guest.tick() >= tick => return Ok(()),
                        Until::Event(_) if !guest.stopped_by_heart() => last_event = None,
                        _ => {}
                    }
                    let (checkpoint, pages) = guest.snapshot().map_err(refused)?;
                    self.output().put(checkpoint, &pages, &mut numbers)?;
                }
                Reached::Ended(ended) => {
                    self.trace.replayed_end(&mut guest, ended)?;
                    return Ok(());
                }
            }
        }
    }

    /// Lets a store know the pages that a checkpoint has and the one before it has not: at the end
    /// of the stretch between them memory holds these.
    fn know_changes(
        &self,
        store: &mut PageStore,
        from: Option<usize>,
        next: usize,
    ) -> Result<(), Error> {
        let reader = self.trace.reader();
        let Ok(next) = reader.checkpoint(next) else { return Ok(()) };
        let before = from.and_then(|from| reader.checkpoint(from).ok());
        let before = before.map(|before| before.memories).unwrap_or_default();
        let mut ids = Vec::new();
        for (index, memory) in next.memories.iter().enumerate() {
            let before = before.get(index).map(|memory| &memory.runs[..]).unwrap_or_default();
            ids.extend(new_ids(before, &memory.runs));
        }
        ids.sort_unstable();
        ids.dedup();
        for part in ids.chunks(PAGES_AT_ONCE as usize) {
            let mut bytes = vec![0; part.len() * PAGE_BYTES];
            let (pages, _) = bytes.as_chunks_mut::<PAGE_BYTES>();
            let wanted = part.iter().copied().zip(pages.iter_mut().map(|page| &mut page[..]));
            if let Err(error) = reader.read_pages(wanted.collect()) {
                tracing::debug!("pages of a checkpoint cannot be read: {error}");
                continue;
            }
            let (pages, _) = bytes.as_chunks::<PAGE_BYTES>();
            let known = part.iter().map(|id| wrr_engine::PageId(id.0)).zip(pages);
            store.know(&known.collect::<Vec<_>>());
        }
        Ok(())
    }
}

/// The ids in the second list of runs that pages do not have in the first.
fn new_ids(before: &[PageRun], after: &[PageRun]) -> Vec<PageId> {
    let mut before = before.iter().peekable();
    let mut ids = Vec::new();
    for run in after {
        for offset in 0..run.count {
            let (page, id) = (run.page + offset, run.id.0 + offset);
            while before.next_if(|run| run.page + run.count <= page).is_some() {}
            let had = before.peek().filter(|run| run.page <= page);
            if had.is_none_or(|run| run.id.0 + (page - run.page) != id) {
                ids.push(PageId(id));
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs from the ids of pages, 0 for none.
    fn runs_of(ids: &[u32]) -> Vec<PageRun> {
        let mut runs: Vec<PageRun> = Vec::new();
        for (page, &id) in (0..).zip(ids).filter(|(_, id)| **id != 0) {
            match runs.last_mut() {
                Some(last) if last.page + last.count == page && last.id.0 + last.count == id => {
                    last.count += 1;
                }
                _ => runs.push(PageRun { page, id: PageId(id), count: 1 }),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn pages_keep_what_they_hold_under_the_numbers_of_the_file(
            ids in prop::collection::vec(0u32..20, 0..60),
            added in prop::collection::vec(11u32..100, 9..=9),
        ) {
            let numbers = Numbers {
                stored: PageId(10),
                added: added.iter().map(|id| PageId(*id)).collect(),
            };
            let expected: Vec<u32> = ids
                .iter()
                .map(|&id| if id <= 10 { id } else { added[id as usize - 11] })
                .collect();
            let renumbered = numbers.renumbered(&runs_of(&ids));
            let mut found = vec![0; ids.len()];
            for run in &renumbered {
                for offset in 0..run.count {
                    found[(run.page + offset) as usize] = run.id.0 + offset;
                }
            }
            prop_assert_eq!(found, expected);
            prop_assert!(renumbered.is_sorted_by(|a, b| a.page + a.count <= b.page));
        }

        #[test]
        fn what_a_checkpoint_has_new_is_found(
            before in prop::collection::vec(0u32..9, 0..40),
            after in prop::collection::vec(0u32..9, 0..40),
        ) {
            let had = |page: usize| before.get(page).copied().unwrap_or(0);
            let changed = after.iter().enumerate().filter(|(page, id)| **id != had(*page));
            let expected: Vec<PageId> =
                changed.map(|(_, id)| PageId(*id)).filter(|id| id.0 != 0).collect();
            prop_assert_eq!(new_ids(&runs_of(&before), &runs_of(&after)), expected);
        }
    }
}
