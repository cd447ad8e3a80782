//! Adds checkpoints to a trace that has few or none.

use crate::{Error, Trace};
use std::time::{Duration, Instant};
use wrr_engine::{Beat, Heart, PageStore, Reached, TrackerKind, Until, Variant};
use wrr_trace::{PAGE_BYTES, PageId, Tick, TraceAppender};
use wrr_wasi::Host;

/// Replaying to a tick takes longer than replaying to the end: the exact stops cost.
const INSPECT_FACTOR: f64 = 1.5;
/// How many existing pages are read at a time.
const PAGES_AT_ONCE: u32 = 4096;

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

/// Beats whenever a checkpoint could be due.
struct IndexHeart {
    pace: crate::recording::Pace,
    spacing: Duration,
    last: Instant,
    /// Ticks of the checkpoints that there are, ascending.
    known: Vec<Tick>,
}

impl Heart for IndexHeart {
    fn beat(&mut self, _host: &mut Host, tick: Tick) -> Beat {
        let now = Instant::now();
        let passed = self.known.partition_point(|known| *known <= tick);
        if passed > 0 {
            // One was just passed: the next is due that much later.
            self.known.drain(..passed);
            self.last = now;
        }
        if now.duration_since(self.last) >= self.spacing {
            self.last = now;
            return Beat::Stop;
        }
        // Often enough not to overshoot.
        Beat::After(self.pace.next(now))
    }
}

impl Trace<'_> {
    /// Replays the whole trace and adds checkpoints, so that a seek replays for at most `max_seek` on a machine like this
    /// one. The file is valid at every moment; what was added before an interruption stays.
    ///
    /// # Errors
    /// As [`Trace::replay`]; [`Error::Trace`] if the file cannot be written.
    pub fn index(
        &self,
        max_seek: Duration,
        tracker: Option<TrackerKind>,
    ) -> Result<Indexed, Error> {
        let reader = self.reader();
        let before = reader.file_bytes();
        let program = self.program(Variant::Run)?;
        let mut guest = self.guest_at(&program, Variant::Run, None)?;
        let refused = |refusal| self.refused(refusal);
        guest.track(self.stored_pages()?, tracker).map_err(refused)?;
        let mut appender = TraceAppender::open(reader.path())?;
        let known: Vec<Tick> = reader.checkpoints().iter().map(|c| c.tick).collect();
        let already = known.len() as u64;
        guest.set_heart(Some(Box::new(IndexHeart {
            pace: crate::recording::Pace::new(),
            spacing: max_seek.div_f64(INSPECT_FACTOR),
            last: Instant::now(),
            known,
        })));
        let mut added = 0;
        loop {
            let reached = program.on_guest_stack(|| guest.go(Until::End));
            match reached.and_then(|reached| reached).map_err(refused)? {
                Reached::Stopped => {
                    let (checkpoint, pages) = guest.snapshot().map_err(refused)?;
                    appender.put(&pages, &checkpoint)?;
                    added += 1;
                }
                Reached::Ended(ended) => {
                    self.replayed_end(&mut guest, ended)?;
                    break;
                }
            }
        }
        let saved = appender.finish()?;
        Ok(Indexed { added, checkpoints: already + added, file_bytes: (before, saved.file_bytes) })
    }

    /// The pages that the trace holds already, so that no page is stored twice.
    fn stored_pages(&self) -> Result<PageStore, Error> {
        let mut store = PageStore::new();
        self.seed(&mut store, self.reader().page_count())?;
        Ok(store)
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
