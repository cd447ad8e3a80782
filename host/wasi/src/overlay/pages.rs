//! The contents of files that a guest has written, in pages of [`PAGE`] bytes, in memory and beyond that in a file.
//!
//! A layer, its snapshots and its forks share one [`PageStore`], and pages are shared between them as long as they are
//! equal. As many as the budget allows are in memory; what is written behind that goes to an unnamed temporary file
//! (*spills*) and stays there. Nothing is moved between the two, so reading never writes and a full disk is met
//! by a writer only.
//!
//! Invariant: a page never changes once it is shared; a failed allocation leaves the store as it was.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Length of a page in bytes.
pub const PAGE: usize = 4096;

/// Where pages go that do not fit into memory.
pub trait SpillFile: Send {
    /// Writes a page at an offset.
    ///
    /// # Errors
    /// What the system says; a full disk, mostly. Nothing is expected of the file at that offset then.
    fn write_page(&mut self, offset: u64, page: &[u8; PAGE]) -> std::io::Result<()>;

    /// Reads a page from an offset.
    ///
    /// # Errors
    /// What the system says.
    fn read_page(&mut self, offset: u64, page: &mut [u8; PAGE]) -> std::io::Result<()>;
}

impl SpillFile for std::fs::File {
    fn write_page(&mut self, offset: u64, page: &[u8; PAGE]) -> std::io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_all(page)
    }

    fn read_page(&mut self, offset: u64, page: &mut [u8; PAGE]) -> std::io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.read_exact(page)
    }
}

/// Pages of one layer and everything that came from it.
#[derive(Clone)]
pub struct PageStore(Arc<Shared>);

struct Shared {
    memory_bytes_max: usize,
    memory_bytes: AtomicUsize,
    spill: Mutex<Spill>,
}

struct Spill {
    folder: Option<PathBuf>,
    /// Made when the first page spills.
    file: Option<Box<dyn SpillFile>>,
    bytes_max: u64,
    /// Where pages were that nobody refers to any more.
    free: Vec<u64>,
    end: u64,
}

impl PageStore {
    /// A store that keeps so much in memory, and so much in a file without a name, in `folder` or where the system keeps
    /// temporary files.
    pub fn new(
        memory_bytes_max: usize,
        spill_bytes_max: u64,
        folder: Option<PathBuf>,
    ) -> PageStore {
        PageStore::over(memory_bytes_max, spill_bytes_max, folder, None)
    }

    fn over(
        memory_bytes_max: usize,
        bytes_max: u64,
        folder: Option<PathBuf>,
        file: Option<Box<dyn SpillFile>>,
    ) -> PageStore {
        let spill = Mutex::new(Spill { folder, file, bytes_max, free: Vec::new(), end: 0 });
        PageStore(Arc::new(Shared { memory_bytes_max, memory_bytes: AtomicUsize::new(0), spill }))
    }

    /// Keeps a page.
    ///
    /// # Errors
    /// The spill file cannot be made or written, or has its full length.
    pub fn keep(&self, content: &[u8; PAGE]) -> std::io::Result<Page> {
        let shared = &self.0;
        let before = shared.memory_bytes.fetch_add(PAGE, Ordering::Relaxed);
        if before.saturating_add(PAGE) <= shared.memory_bytes_max {
            let data = Data::Memory(Box::new(*content));
            return Ok(Page(Arc::new(Kept { data, store: Arc::clone(shared) })));
        }
        shared.memory_bytes.fetch_sub(PAGE, Ordering::Relaxed);
        let offset = shared.spill().write(content)?;
        Ok(Page(Arc::new(Kept { data: Data::Spilled(offset), store: Arc::clone(shared) })))
    }

    /// How many bytes are in memory, and how long the spill file is.
    pub fn used_bytes(&self) -> (usize, u64) {
        (self.0.memory_bytes.load(Ordering::Relaxed), self.0.spill().end)
    }
}

impl Shared {
    fn spill(&self) -> MutexGuard<'_, Spill> {
        self.spill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spill {
    fn write(&mut self, content: &[u8; PAGE]) -> std::io::Result<u64> {
        let free = self.free.last().copied();
        let offset = match free {
            Some(offset) => offset,
            None if self.bytes_max.saturating_sub(self.end) < PAGE as u64 => {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            None => self.end,
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = match &self.folder {
                    Some(folder) => tempfile::tempfile_in(folder),
                    None => tempfile::tempfile(),
                };
                self.file.insert(Box::new(file.map_err(spilling)?))
            }
        };
        file.write_page(offset, content).map_err(spilling)?;
        match free {
            Some(_) => {
                self.free.pop();
            }
            None => self.end += PAGE as u64,
        }
        Ok(offset)
    }
}

/// What keeps a page from being spilled. The guest knows nothing of the file, so an error like "not found" would be about another one.
fn spilling(error: std::io::Error) -> std::io::Error {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Kind::StorageFull.into(),
        _ => std::io::Error::other(format!("the overlay's temporary file: {error}")),
    }
}

/// A page that is kept for as long as somebody refers to it.
#[derive(Clone)]
pub struct Page(Arc<Kept>);

struct Kept {
    data: Data,
    store: Arc<Shared>,
}

enum Data {
    Memory(Box<[u8; PAGE]>),
    /// Its offset in the spill file.
    Spilled(u64),
}

impl Page {
    /// The page's bytes.
    ///
    /// # Errors
    /// The spill file cannot be read.
    pub fn read(&self) -> std::io::Result<[u8; PAGE]> {
        match &self.0.data {
            Data::Memory(content) => Ok(**content),
            Data::Spilled(offset) => {
                let mut content = [0; PAGE];
                match &mut self.0.store.spill().file {
                    Some(file) => file.read_page(*offset, &mut content)?,
                    None => return Err(std::io::ErrorKind::NotFound.into()),
                }
                Ok(content)
            }
        }
    }

    /// The page's bytes, to be changed where they are: if it is in memory and nobody shares it.
    pub fn in_place(&mut self) -> Option<&mut [u8; PAGE]> {
        match &mut Arc::get_mut(&mut self.0)?.data {
            Data::Memory(content) => Some(content),
            Data::Spilled(_) => None,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        match &self.data {
            Data::Memory(_) => {
                self.store.memory_bytes.fetch_sub(PAGE, Ordering::Relaxed);
            }
            Data::Spilled(offset) => self.store.spill().free.push(*offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_beyond_the_budget_spill_and_come_back() {
        let store = PageStore::new(2 * PAGE, u64::MAX, None);
        let pages: Vec<Page> = (0..10).map(|i| store.keep(&[i; PAGE]).unwrap()).collect();
        assert_eq!(store.used_bytes(), (2 * PAGE, 8 * PAGE as u64));
        for (i, page) in (0..).zip(&pages) {
            assert_eq!(page.read().unwrap(), [i; PAGE]);
        }
        drop(pages);
        assert_eq!(store.used_bytes().0, 0);
        let again: Vec<Page> = (0..10).map(|i| store.keep(&[i + 50; PAGE]).unwrap()).collect();
        assert_eq!(store.used_bytes(), (2 * PAGE, 8 * PAGE as u64), "places are used again");
        for (i, page) in (0..).zip(&again) {
            assert_eq!(page.read().unwrap(), [i + 50; PAGE]);
        }
    }

    #[test]
    fn a_full_spill_file_refuses_and_keeps_what_it_has() {
        let store = PageStore::new(PAGE, 2 * PAGE as u64, None);
        let pages: Vec<Page> = (0..3).map(|i| store.keep(&[i; PAGE]).unwrap()).collect();
        let full = store.keep(&[9; PAGE]).err().map(|error| error.kind());
        assert_eq!(full, Some(std::io::ErrorKind::StorageFull));
        for (i, page) in (0..).zip(&pages) {
            assert_eq!(page.read().unwrap(), [i; PAGE]);
        }
        drop(pages);
        assert!(store.keep(&[9; PAGE]).is_ok());
    }
}
