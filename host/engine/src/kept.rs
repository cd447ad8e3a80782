//! States of a guest that are kept in memory: going back to one in place, and new guests that start from one.
//!
//! ```text
//! keep       the pages written since the last time become a new version of the images
//! roll_back  the pages written since then, and those in which the two versions differ, are put back
//! fork       a new instance whose memories show the images, and copy a page when they write to it
//! ```
//!
//! What the host knows is not part of it: whoever goes back puts the host back first.
//!
//! Invariant: `held.images` are what the memories held when the trackers were last told that everything is clean.

use crate::admit::Refusal;
use crate::entry::Entry;
use crate::guest::Guest;
use crate::images::{Images, ImagesThen};
use crate::mappings::{bytes_of, region_of};
use crate::program::Program;
use crate::written::Reader;
use std::ops::Range;
use wasmtime::{Memory, Val};
use wrr_pages::{Dirty, Image, PAGE_BYTES, TrackerKind};
use wrr_trace::{Checkpoint, EventIndex, Tick};
use wrr_transform::Variant;
use wrr_wasi::Host;

/// An image with more changed pages than this gets a base of its own before memories show it.
const CHANGED_PAGES_MAX: usize = 256;

/// A guest's state, kept in memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Everything but the contents of the memories and what the host knows.
    state: Checkpoint,
    images: Vec<Image>,
    /// What the trace had of the memories, if the guest is recorded.
    recorded: Option<ImagesThen>,
}

impl Kept {
    /// The tick at which the guest stood.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.state.tick
    }

    /// The number of events before it.
    #[must_use]
    pub fn events(&self) -> EventIndex {
        self.state.event
    }

    /// The sizes of the memories together, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.images.iter().map(|image| image.len_bytes() as u64).sum()
    }

    /// Makes forks cheap, if they are not: see [`Image::rebased`].
    ///
    /// # Errors
    /// The host has no room for it.
    pub fn warm_up(&mut self) -> Result<(), Refusal> {
        for image in &mut self.images {
            if image.changed_pages() > CHANGED_PAGES_MAX {
                *image = image.rebased().map_err(engine)?;
            }
        }
        Ok(())
    }
}

/// What a guest knows of the pages of its trace; see [`Guest::take_pages`].
pub struct PagesOf(Option<Images>, Option<TrackerKind>);

/// What the memories hold, as far as is known.
#[derive(Default)]
pub(crate) struct Held {
    /// Before the first state is kept, what the memories began with.
    pub images: Vec<Image>,
    /// So much of each memory may be mapped from an image, in bytes: it cannot become smaller than that.
    shown_bytes: Vec<usize>,
    /// See [`Patience`].
    patience: Vec<Patience>,
}

fn engine(error: impl std::fmt::Display) -> Refusal {
    Refusal::Engine(error.to_string())
}

fn bytes(pages: &Range<u32>) -> Range<usize> {
    pages.start as usize * PAGE_BYTES..pages.end as usize * PAGE_BYTES
}

impl Guest {
    /// Keeps the state of the stopped guest.
    ///
    /// # Errors
    /// [`Refusal::Ended`] after the guest's end; as [`Guest::state`]; the host has no room for it.
    pub fn keep(&mut self) -> Result<Kept, Refusal> {
        if self.has_ended {
            return Err(Refusal::Ended);
        }
        let state = self.state()?;
        let memories = self.memories()?;
        if self.written.reads(Reader::Kept) {
            for (index, memory) in memories.iter().enumerate() {
                let dirty = self.written.take(Reader::Kept, index, &self.store, memory)?;
                let image = &mut self.held.images[index];
                *image = image.updated(&dirty, memory.data(&self.store)).map_err(engine)?;
            }
        } else {
            self.begin_tracking(&memories)?;
        }
        let recorded = self.images.as_ref().map(|images| images.save(&self.written));
        Ok(Kept { state, images: self.held.images.clone(), recorded })
    }

    /// Looks at everything once; from then on only at what is written.
    fn begin_tracking(&mut self, memories: &[Memory]) -> Result<(), Refusal> {
        let began_with = std::mem::take(&mut self.held.images);
        self.written.begin(Reader::Kept, &self.store, memories)?;
        for (index, memory) in memories.iter().enumerate() {
            let contents = memory.data(&self.store);
            let image = match began_with.get(index) {
                // A fork shares what it has not changed with whom it was forked from.
                Some(image) => {
                    let pages = (contents.len() / PAGE_BYTES) as u32;
                    image.updated(&Dirty::from(0..pages), contents)
                }
                None => Image::of(contents),
            };
            self.held.images.push(image.map_err(engine)?);
        }
        Ok(())
    }

    /// Which tracker notes what is written to each memory; empty before anything asked.
    #[must_use]
    pub fn trackers(&self) -> Vec<TrackerKind> {
        self.written.kinds()
    }

    /// Writes into a memory of the stopped guest, as if it had done so itself.
    ///
    /// # Errors
    /// [`Refusal::NoSuchBytes`] if it has no such memory, or not these bytes.
    pub fn write_memory(&mut self, index: u32, at: u64, contents: &[u8]) -> Result<(), Refusal> {
        let handles = self.handles()?;
        let memory = handles.memories.get(index as usize).copied();
        let no_such = Refusal::NoSuchBytes { memory: index, at, len: contents.len() };
        let Some(memory) = memory else { return Err(no_such) };
        let end = usize::try_from(at).ok().and_then(|at| at.checked_add(contents.len()));
        let Some(end) = end.filter(|end| *end <= memory.data_size(&self.store)) else {
            return Err(no_such);
        };
        let range = end - contents.len()..end;
        if !range.is_empty() {
            let len_bytes = memory.data_size(&self.store);
            self.written.before_host_write(index as usize, len_bytes, range.clone())?;
        }
        memory.data_mut(&mut self.store)[range].copy_from_slice(contents);
        Ok(())
    }

    /// Goes back to a state that this guest, or one that it was forked from, was in. The host must be in its state of then
    /// already, and at that number of events. `false`, and nothing has happened, if this instance cannot get there, because a memory is too
    /// small, a table too large or a segment dropped; a fork can.
    ///
    /// # Errors
    /// The state does not fit the module, or the host cannot follow what is written; the guest is of no use then.
    pub fn roll_back(&mut self, kept: &Kept) -> Result<bool, Refusal> {
        let memories = self.memories()?;
        if !self.can_go_back(&memories, kept)? {
            return Ok(false);
        }
        if !self.written.reads(Reader::Kept) {
            self.begin_tracking(&memories)?;
        }
        for (index, memory) in memories.into_iter().enumerate() {
            // SAFETY: nothing runs and no memory grows before the slice is gone, and each memory is taken once.
            let contents = unsafe { bytes_of(&mut self.store, memory) };
            let len_bytes = contents.len();
            let mut dirty = self.written.peek(Reader::Kept, index, len_bytes)?;
            let target = &kept.images[index];
            dirty.union_with(&self.held.images[index].differences(target));
            let target_bytes = target.len_bytes();
            if contents.len() > target_bytes {
                dirty.truncate((target_bytes / PAGE_BYTES) as u32);
            }
            for pages in dirty.ranges() {
                self.written.before_host_write(index, len_bytes, bytes(pages))?;
            }
            target.copy_to(&dirty, contents).map_err(engine)?;
            if contents.len() > target_bytes {
                self.written.shrunk(index, target_bytes)?;
                crate::mappings::shrink(
                    &mut self.store,
                    memory,
                    &self.program.mappings,
                    target_bytes,
                )?;
            }
            // Comparing looks at everything anyway, and must know what it compares with.
            let is_compare = self.written.kind(index) == TrackerKind::Compare;
            if is_compare || self.held.patience(index).is_over(dirty.count()) {
                self.written.settle(Reader::Kept, index, &dirty)?;
            }
            self.held.images[index] = target.clone();
        }
        self.restore_state(&kept.state)?;
        self.has_ended = false;
        Ok(true)
    }

    /// After [`Guest::roll_back`], or in a fork that takes this guest's place: what the trace has
    /// of the memories is what it had when the state was kept, and it holds so many pages again.
    /// `from` is the guest whose place this one takes.
    ///
    /// # Errors
    /// What the trackers of written pages give.
    pub fn rewind_pages(
        &mut self,
        kept: &Kept,
        pages: u32,
        from: Option<PagesOf>,
    ) -> Result<(), Refusal> {
        if let Some(PagesOf(images, forced)) = from {
            let memories = self.memories()?;
            self.written.force(forced);
            self.written.begin(Reader::Trace, &self.store, &memories)?;
            self.images = images;
        }
        match (&mut self.images, &kept.recorded) {
            (Some(images), Some(then)) => images.restore(then, pages, &mut self.written),
            // It was not recorded then.
            (images, None) => *images = None,
            (None, Some(_)) => {}
        }
        Ok(())
    }

    /// The pages of the trace that this guest knows, for the one that takes its place.
    pub fn take_pages(&mut self) -> PagesOf {
        PagesOf(self.images.take(), self.written.forced())
    }

    fn can_go_back(&mut self, memories: &[Memory], kept: &Kept) -> Result<bool, Refusal> {
        for (index, (memory, image)) in memories.iter().zip(&kept.images).enumerate() {
            let (now, then) = (memory.data_size(&self.store), image.len_bytes());
            let shown = self.held.shown_bytes.get(index).copied().unwrap_or(0);
            if now < then || (now > then && then < shown) {
                return Ok(false);
            }
        }
        let handles = self.handles()?;
        for (table, state) in handles.tables.iter().zip(&kept.state.tables) {
            let then: u64 = state.elements.iter().map(|(_, count)| u64::from(*count)).sum();
            if table.size(&self.store) > then {
                return Ok(false);
            }
        }
        let dropped = [&kept.state.dropped_data, &kept.state.dropped_elements];
        for (flags, then) in handles.dropped.iter().zip(dropped) {
            if self.dropped(flags).iter().any(|segment| !then.contains(segment)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A new guest in a state that another one of the same program was in, whose memories share what neither changes. The
    /// host must be in its state of then already.
    ///
    /// # Errors
    /// As [`Guest::new`]; the state does not fit the module; the host has no room.
    pub fn fork(
        program: &Program,
        variant: Variant,
        entry: &Entry,
        kept: &Kept,
        host: Host,
    ) -> Result<Guest, Refusal> {
        let args = program.arguments(entry)?;
        Guest::fork_with(program, variant, entry, args, kept, host)
    }

    /// As [`Guest::fork`], with arguments of any types.
    pub(crate) fn fork_with(
        program: &Program,
        variant: Variant,
        entry: &Entry,
        args: Vec<Val>,
        kept: &Kept,
        host: Host,
    ) -> Result<Guest, Refusal> {
        let mut guest = Guest::without_data(program, variant, entry, args, host)?;
        guest.put_data(false)?;
        guest.grow_to_sizes(kept.images.iter().map(|image| image.len_bytes() as u64).collect())?;
        let memories = guest.memories()?;
        for (memory, image) in memories.iter().zip(&kept.images) {
            let region = region_of(&guest.store, memory)?;
            // SAFETY: the memory is a `Mapping` that lives as long as the guest's store; nothing of the guest runs, nobody
            // has its bytes, and no tracker was attached yet.
            unsafe { image.show(region) }.map_err(engine)?;
        }
        guest.restore_state(&kept.state)?;
        guest.held.images.clone_from(&kept.images);
        guest.held.shown_bytes = kept.images.iter().map(Image::len_bytes).collect();
        Ok(guest)
    }
}

/// How long pages that were written and put back stay marked as written. What a program writes it writes again when it runs again,
/// and a copy costs less than the fault by which a write is noticed. In between the set of pages only grows.
#[derive(Clone, Copy, Debug, Default)]
struct Patience {
    /// How often it was gone back since everything was marked as clean.
    rounds: u32,
    /// How many pages there were the first time.
    first: usize,
}

impl Patience {
    const ROUNDS_MAX: u32 = 256;
    /// More than twice the first pages and this many: some of them are not written any more.
    const PAGES_MORE: usize = 32;

    /// Whether everything is to be marked as clean now that so many pages were put back.
    fn is_over(&mut self, pages: usize) -> bool {
        self.rounds += 1;
        if self.rounds == 1 {
            self.first = pages;
        }
        let is_over = self.rounds >= Self::ROUNDS_MAX || pages > 2 * self.first + Self::PAGES_MORE;
        if is_over {
            *self = Patience::default();
        }
        is_over
    }
}

impl Held {
    fn patience(&mut self, index: usize) -> &mut Patience {
        if self.patience.len() <= index {
            self.patience.resize(index + 1, Patience::default());
        }
        &mut self.patience[index]
    }
}
