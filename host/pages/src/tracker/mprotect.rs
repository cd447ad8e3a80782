//! Unix: clean pages are read-only, and the fault of the first write marks a page and makes it writable.
//!
//! System calls of the host that write into a read-only page fail with EFAULT, so host writes must be
//! announced. Pages that came with growth are writable, so they count as written once.
//! What happens at a fault is in `fault_handler`.
//!
//! Invariant: a page that is writable is marked.

use super::fault_handler::{Registered, Watch};
use super::{DirtyTracker, TrackerKind};
use crate::{Dirty, Region, TrackerError};
use std::io;
use std::ops::Range;

#[derive(Default)]
pub(super) struct Mprotect {
    watched: Option<Watched>,
}

struct Watched {
    region: Region,
    registered: Registered,
}

fn error(source: io::Error) -> TrackerError {
    TrackerError::Os { kind: TrackerKind::Mprotect, call: "mprotect", source }
}

impl Mprotect {
    fn watched(&mut self) -> Result<&mut Watched, TrackerError> {
        self.watched.as_mut().ok_or(TrackerError::NotAttached { kind: TrackerKind::Mprotect })
    }
}

impl DirtyTracker for Mprotect {
    fn kind(&self) -> TrackerKind {
        TrackerKind::Mprotect
    }

    unsafe fn attach(&mut self, region: Region) -> Result<(), TrackerError> {
        self.detach();
        // SAFETY: whoever attaches promises that the region stays mapped until it is detached.
        let registered = unsafe { Registered::new(Watch::new(region))? };
        // Registered first: from the first protected page on, faults can happen.
        let watched = Watched { region, registered };
        watched.registered.watch().protect().map_err(error)?;
        self.watched = Some(watched);
        Ok(())
    }

    fn detach(&mut self) {
        // Dropping what is registered makes the memory writable.
        self.watched = None;
    }

    fn grown(&mut self, new_len_bytes: usize) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        let old_pages = watched.region.pages();
        watched.region = watched.region.grown(new_len_bytes)?;
        let watch = watched.registered.watch();
        watch.set_len_bytes(watched.region.host_len_bytes());
        watch.mark(old_pages..watched.region.pages());
        Ok(())
    }

    fn shrunk(&mut self, new_len_bytes: usize) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        let old_pages = watched.region.pages();
        watched.region = watched.region.shrunk(new_len_bytes)?;
        let watch = watched.registered.watch();
        watch.set_len_bytes(watched.region.host_len_bytes());
        watch.unmark(watched.region.pages()..old_pages);
        Ok(())
    }

    fn take(&mut self) -> Result<Dirty, TrackerError> {
        let watched = self.watched()?;
        let watch = watched.registered.watch();
        let dirty = watch.marked(watched.region.pages());
        if !dirty.is_empty() {
            watch.protect().map_err(error)?;
            watch.unmark_all();
        }
        Ok(dirty)
    }

    fn peek(&mut self) -> Result<Dirty, TrackerError> {
        let watched = self.watched()?;
        Ok(watched.registered.watch().marked(watched.region.pages()))
    }

    fn before_host_write(&mut self, bytes: Range<usize>) -> Result<(), TrackerError> {
        let watched = self.watched()?;
        let pages = watched.region.pages_of(&bytes)?;
        let watch = watched.registered.watch();
        if pages.clone().all(|page| watch.is_marked(page)) || watch.unprotect(pages) {
            return Ok(());
        }
        Err(error(io::Error::last_os_error()))
    }
}
