//! Each distinct page once.
//!
//! The store knows pages by their hash and hands the bytes of new ones to whoever writes them to a file;
//! it keeps no page itself. Invariant: ids count from 1 in order of insertion, so the order in which
//! new pages are handed out is the order of their ids.

use crate::{PAGE_BYTES, PageError};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fmt;

/// The bytes of a page.
pub type Page = [u8; PAGE_BYTES];

pub(crate) static ZERO_PAGE: Page = [0; PAGE_BYTES];

/// Number of a distinct page; 0 is the page of zeros, which costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct PageId(pub u32);

impl PageId {
    /// The page of zeros.
    pub const ZERO: PageId = PageId(0);
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a page is known by: 128 bits of its BLAKE3 hash.
///
/// Equal keys are taken for equal pages without looking at bytes, which are in a file by then. With a hash
/// that is only fast, a hostile guest could make two pages with one key, and a checkpoint would
/// then hold the wrong one. Two to the 64 pages are needed for a collision of this one.
type Key = [u8; 16];

/// Below this many pages, handing them to other threads costs more than hashing them.
const PARALLEL_PAGES_MIN: usize = 64;

/// Gives equal pages the same number and collects the bytes of new ones.
#[derive(Debug, Default)]
pub struct PageStore {
    ids: HashMap<Key, PageId>,
    last: PageId,
    new_bytes: Vec<u8>,
}

fn key(page: &Page) -> Option<Key> {
    if page == &ZERO_PAGE {
        return None;
    }
    let mut key = Key::default();
    key.copy_from_slice(&blake3::hash(page).as_bytes()[..size_of::<Key>()]);
    Some(key)
}

impl PageStore {
    /// A store that knows the page of zeros only.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store whose numbers go on behind `last`: the pages up to there are stored, but it does not know what they hold.
    pub fn after(last: PageId) -> Self {
        PageStore { last, ..Self::default() }
    }

    /// The number of a page, a new one if the store does not know it.
    ///
    /// # Errors
    /// [`PageError::StoreFull`] after 2^32 - 1 pages.
    pub fn insert(&mut self, page: &Page) -> Result<PageId, PageError> {
        self.insert_key(key(page), page)
    }

    /// The numbers of many pages, hashed on all cores. Numbers are given in the order of `pages`.
    ///
    /// # Errors
    /// [`PageError::StoreFull`] after 2^32 - 1 pages; the pages before are inserted then.
    pub fn insert_all(&mut self, pages: &[&Page]) -> Result<Vec<PageId>, PageError> {
        if pages.len() < PARALLEL_PAGES_MIN {
            return pages.iter().map(|page| self.insert(page)).collect();
        }
        let keys: Vec<Option<Key>> =
            pages.par_iter().with_min_len(16).map(|page| key(page)).collect();
        pages.iter().zip(keys).map(|(page, key)| self.insert_key(key, page)).collect()
    }

    /// Takes in a page that is stored already, when a trace is continued: pages that are seeded in the
    /// order in which they are stored have the numbers they had. Nothing of it is handed out as new.
    ///
    /// # Errors
    /// [`PageError::StoreFull`] after 2^32 - 1 pages.
    pub fn seed(&mut self, page: &Page) -> Result<PageId, PageError> {
        let id = self.next_id()?;
        // A damaged file may store a page twice, or zeros. The number is taken all the same, or all later
        // ones would be off.
        if let Some(key) = key(page) {
            self.ids.entry(key).or_insert(id);
        }
        Ok(id)
    }

    /// Notes that pages are stored already, under numbers up to [`last_id`](Self::last_id). Hashed
    /// on all cores.
    pub fn know(&mut self, pages: &[(PageId, &Page)]) {
        let keys: Vec<Option<Key>> =
            pages.par_iter().with_min_len(16).map(|(_, page)| key(page)).collect();
        for ((id, _), key) in pages.iter().zip(keys) {
            if let Some(key) = key.filter(|_| *id <= self.last) {
                self.ids.entry(key).or_insert(*id);
            }
        }
    }

    /// The bytes of pages that got new numbers since the last call, in the order of their numbers. The
    /// first of them belongs to page `last_id() + 1 - len / PAGE_BYTES`.
    pub fn take_new(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.new_bytes)
    }

    /// How many bytes [`take_new`](Self::take_new) would return.
    pub fn new_bytes(&self) -> usize {
        self.new_bytes.len()
    }

    /// The last number given, which is how many pages are stored.
    pub fn last_id(&self) -> PageId {
        self.last
    }

    /// Forgets the pages with numbers after `last`, which are given anew.
    pub fn forget_after(&mut self, last: PageId) {
        if self.last > last {
            self.ids.retain(|_, id| *id <= last);
            self.last = last;
        }
    }

    fn next_id(&mut self) -> Result<PageId, PageError> {
        self.last = PageId(self.last.0.checked_add(1).ok_or(PageError::StoreFull)?);
        Ok(self.last)
    }

    fn insert_key(&mut self, key: Option<Key>, page: &Page) -> Result<PageId, PageError> {
        let Some(key) = key else { return Ok(PageId::ZERO) };
        if let Some(&id) = self.ids.get(&key) {
            return Ok(id);
        }
        let id = self.next_id()?;
        self.ids.insert(key, id);
        self.new_bytes.extend_from_slice(page);
        Ok(id)
    }
}
