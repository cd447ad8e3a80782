//! An allocator that notes what is allocated while the debugger evaluates: neither that memory nor
//! what the allocator itself reads belongs to the program. Otherwise it costs the test of a flag.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// How many allocations are noted at most; what comes after is taken for the program's.
const NOTES_MAX: usize = 1 << 14;

/// The system's allocator, and the notes: pairs of an address and a length.
pub struct Noting {
    is_on: AtomicBool,
    count: AtomicUsize,
    /// Written whenever the system's allocator is entered and left.
    border: AtomicU32,
    notes: UnsafeCell<[[u32; 2]; NOTES_MAX]>,
}

// SAFETY: the guest has one thread.
unsafe impl Sync for Noting {}

impl Noting {
    /// Notes nothing.
    pub const fn new() -> Noting {
        Noting {
            is_on: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            border: AtomicU32::new(0),
            notes: UnsafeCell::new([[0; 2]; NOTES_MAX]),
        }
    }

    /// Starts to note. The stack below an address counts as memory of the evaluation, too: copies of
    /// partly initialized values read what earlier calls have left there. (The linker places the stack
    /// at the beginning of the memory.)
    pub fn begin(&self, stack: *const u8) {
        self.count.store(0, Ordering::Relaxed);
        self.note(std::ptr::null_mut(), stack as usize);
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Stops and returns what was noted. The border is crossed for good before the list is allocated:
    /// an evaluation must not depend on the allocator's own words, which change all the time.
    pub fn end(&self) -> Vec<[u32; 2]> {
        self.is_on.store(false, Ordering::Relaxed);
        self.cross(true);
        let count = self.count.load(Ordering::Relaxed).min(NOTES_MAX);
        // SAFETY: nobody writes to the notes, as nothing is noted.
        let notes = unsafe { &*self.notes.get() };
        notes[..count].to_vec()
    }

    /// The address of the word that is written whenever the system's allocator is entered and left.
    pub fn border(&self) -> *const AtomicU32 {
        &self.border
    }

    fn cross(&self, is_inside: bool) {
        self.border.store(is_inside.into(), Ordering::Relaxed);
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Does something in the system's allocator, for so many bytes.
    #[cold]
    fn noted(&self, len: usize, what: impl FnOnce() -> *mut u8) -> *mut u8 {
        self.cross(true);
        let pointer = what();
        self.cross(false);
        self.note(pointer, len);
        pointer
    }

    fn note(&self, pointer: *mut u8, len: usize) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        if number < NOTES_MAX {
            // SAFETY: there is one thread, and nobody reads while something is noted.
            unsafe { (*self.notes.get())[number] = [pointer as u32, len as u32] };
        }
    }
}

// SAFETY: everything is done by the system's allocator.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let what = || unsafe { System.alloc(layout) };
        if self.is_on() { self.noted(layout.size(), what) } else { what() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let what = || unsafe { System.alloc_zeroed(layout) };
        if self.is_on() { self.noted(layout.size(), what) } else { what() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let is_on = self.is_on();
        if is_on {
            self.cross(true);
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
        if is_on {
            self.cross(false);
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let what = || unsafe { System.realloc(pointer, layout, len) };
        if self.is_on() { self.noted(len, what) } else { what() }
    }
}
