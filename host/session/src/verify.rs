//! Verifying a recording: every byte of the file, then a replay in which the state at each
//! checkpoint is compared with the checkpoint.

use crate::playback::Played;
use crate::{Error, Replayed, Trace};
use wrr_engine::{Guest, PageStore, Program, Variant};
use wrr_timeline::Target;
use wrr_trace::{Checkpoint, MemoryState, PAGE_BYTES, PageId, Pause};
use wrr_wasi::ReplayOutput;

/// How many pages are read at a time.
const PAGES_AT_ONCE: u32 = 4096;

/// What a page is compared by: BLAKE3. Checkpoints name pages by numbers that differ from those of
/// a replay.
type Content = [u8; 32];

/// A replay that does not stop exactly where a checkpoint is.
struct Inexact;

impl Trace<'_> {
    /// Checks every byte of the file, then replays it without output and compares each checkpoint
    /// with the state that the replay has there.
    ///
    /// # Errors
    /// [`Error::WrongCheckpoint`] at the first checkpoint that differs; as [`Trace::replay`].
    pub fn verify(&self) -> Result<Replayed, Error> {
        self.reader().check_all()?;
        if self.reader().checkpoints().is_empty() {
            return self.replay(ReplayOutput::discard());
        }
        // A run that went on from an exact moment may have been captured where the faster variant
        // cannot stop.
        for variant in [self.replaying_variant()?, Variant::Inspect] {
            if let Ok(replayed) = self.compare_checkpoints(variant)? {
                return Ok(replayed);
            }
        }
        Err(Error::Moment("the replay does not stop where a checkpoint was taken".to_owned()))
    }

    fn compare_checkpoints(&self, variant: Variant) -> Result<Result<Replayed, Inexact>, Error> {
        let program = self.program(variant)?;
        let refused = |refusal| self.refused(refusal);
        let mut guest = self.guest_at(&program, variant, None)?;
        guest.track(PageStore::new(), None).map_err(refused)?;
        let stored = self.stored_contents()?;
        let mut contents: Vec<Content> = vec![content(&[0; PAGE_BYTES])];
        for place in 0..self.reader().checkpoints().len() {
            let checkpoint = self.reader().checkpoint(place)?;
            if !self.stop_at(&program, &mut guest, &checkpoint)? {
                return Ok(Err(Inexact));
            }
            let (replayed, new_pages) = guest.snapshot().map_err(refused)?;
            contents.extend(new_pages.as_chunks::<PAGE_BYTES>().0.iter().map(content));
            if let Some(what) = difference(&checkpoint, &replayed, &stored, &contents) {
                return Err(Error::WrongCheckpoint { number: place, tick: checkpoint.tick, what });
            }
        }
        let played = self.play(&program, &mut guest, None)?;
        let events = guest.events().0;
        Ok(Ok(match played {
            Played::Ended(end) => Replayed { end: Some(end), events },
            // From the last event the call did not return, so it was not counted.
            _ => Replayed { end: None, events: events + 1 },
        }))
    }

    /// Replays up to the place of a checkpoint; `false` if the replay cannot be stopped there.
    fn stop_at(
        &self,
        program: &Program,
        guest: &mut Guest,
        checkpoint: &Checkpoint,
    ) -> Result<bool, Error> {
        let target = match checkpoint.pause {
            Pause::Tick => Target::Tick(checkpoint.tick),
            Pause::Call { .. } => Target::Event(checkpoint.event),
        };
        let played = self.play(program, guest, Some(target))?;
        Ok(matches!(played, Played::Stopped)
            && guest.tick() == checkpoint.tick
            && guest.events() == checkpoint.event
            && *guest.pause() == checkpoint.pause)
    }

    /// What the stored pages hold, by number; the page of zeros is the first.
    fn stored_contents(&self) -> Result<Vec<Content>, Error> {
        let count = self.reader().page_count();
        let mut contents = vec![content(&[0; PAGE_BYTES])];
        let mut next = 1;
        while next <= count {
            let end = count.min(next + PAGES_AT_ONCE - 1);
            let mut bytes = vec![0; (end - next + 1) as usize * PAGE_BYTES];
            let (pages, _) = bytes.as_chunks_mut::<PAGE_BYTES>();
            let wanted = (next..=end).map(PageId).zip(pages.iter_mut().map(|page| &mut page[..]));
            self.reader().read_pages(wanted.collect())?;
            contents.extend(bytes.as_chunks::<PAGE_BYTES>().0.iter().map(content));
            next = end + 1;
        }
        Ok(contents)
    }
}

fn content(page: &[u8; PAGE_BYTES]) -> Content {
    *blake3::hash(page).as_bytes()
}

/// What differs between a checkpoint and the state of a replay, whose pages are numbered by
/// themselves.
fn difference(
    checkpoint: &Checkpoint,
    replayed: &Checkpoint,
    stored: &[Content],
    contents: &[Content],
) -> Option<String> {
    let parts = [
        ("the call stack", checkpoint.frames != replayed.frames),
        ("a global", checkpoint.globals != replayed.globals),
        ("a table", checkpoint.tables != replayed.tables),
        ("a dropped data segment", checkpoint.dropped_data != replayed.dropped_data),
        ("a dropped element segment", checkpoint.dropped_elements != replayed.dropped_elements),
        ("the entry that runs", checkpoint.phase != replayed.phase),
        ("what the host knows", checkpoint.host != replayed.host),
        ("the number of memories", checkpoint.memories.len() != replayed.memories.len()),
    ];
    if let Some((what, _)) = parts.into_iter().find(|(_, differs)| *differs) {
        return Some(what.to_owned());
    }
    let memories = checkpoint.memories.iter().zip(&replayed.memories).enumerate();
    for (index, (recorded, replayed)) in memories {
        if recorded.bytes != replayed.bytes {
            return Some(format!("the size of memory {index}"));
        }
        let (recorded, replayed) = (ids(recorded), ids(replayed));
        let differs = |(recorded, replayed): (&PageId, &PageId)| {
            stored.get(recorded.0 as usize) != contents.get(replayed.0 as usize)
        };
        if let Some(page) = recorded.iter().zip(&replayed).position(differs) {
            let at = page * PAGE_BYTES;
            return Some(format!("the page at address {at:#x} of memory {index}"));
        }
    }
    None
}

/// The number of each page; 0 is the page of zeros.
fn ids(memory: &MemoryState) -> Vec<PageId> {
    let mut ids = vec![PageId(0); (memory.bytes / PAGE_BYTES as u64) as usize];
    for run in &memory.runs {
        for (id, page) in (run.id.0..).zip(&mut ids[run.page as usize..][..run.count as usize]) {
            *page = PageId(id);
        }
    }
    ids
}
