//! The fault handler behind the `mprotect` tracker, and what it may touch.
//!
//! The handler runs in the middle of guest code, so it only reads and writes atomics and calls
//! `mprotect`. Watched memories stand in a fixed table. A slot counts the handlers that look at it:
//! who takes a memory out clears the slot first and waits for them, so that nothing is freed that
//! a handler looks at.
//!
//! The handler is installed with the first memory and removed with the last. It must come after the
//! engine's, which would take a write to a read-only page for a trap; faults that are not ours go on to
//! the handler that was there before. Whoever installs one later takes our faults away: that is noticed at
//! the next `attach`. (On macOS wasmtime catches faults with Mach ports, before any signal handler:
//! it must be told to use signals.)
//!
//! A process may have 65,530 memory areas on Linux, and each writable piece between read-only ones costs
//! two: so pieces become larger as they become many, across all watched memories.
//!
//! Invariant: a page is marked before it is made writable.

use crate::mapping::host_page_bytes;
use crate::{Dirty, PAGE_BYTES, Region, TrackerError};
use std::ffi::{c_int, c_void};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

/// Memories that can be watched at once.
const MEMORIES_MAX: usize = 256;

/// Where sizes of pieces change: how many pieces there are, and how large the next one is.
/// Together about 25,000 pieces, 50,000 areas, for memories that add up to a few GiB.
const PIECES: [(usize, usize); 3] = [(16_384, PAGE_BYTES), (20_480, 64 << 10), (24_576, 1 << 20)];
const LAST_PIECE_BYTES: usize = 16 << 20;

/// Pieces that are writable now, of all memories.
static PIECE_COUNT: AtomicUsize = AtomicUsize::new(0);

fn piece_bytes(pieces: usize) -> usize {
    let step = PIECES.iter().find(|&&(pieces_max, _)| pieces < pieces_max);
    step.map_or(LAST_PIECE_BYTES, |&(_, bytes)| bytes)
}

/// A memory, as the handler sees it.
pub(super) struct Watch {
    base: usize,
    /// What is accessible, in whole pages of the host.
    len_bytes: AtomicUsize,
    /// Larger pages of the host are protected as one.
    host_page_bytes: usize,
    /// A bit for each page of the reservation: it is writable and may have been written.
    marks: Box<[AtomicU64]>,
    /// This memory's part of `PIECE_COUNT`.
    pieces: AtomicUsize,
}

impl Watch {
    pub(super) fn new(region: Region) -> Self {
        let words = (region.reserve_bytes() / PAGE_BYTES).div_ceil(64);
        Self {
            base: region.base() as usize,
            len_bytes: AtomicUsize::new(region.host_len_bytes()),
            host_page_bytes: host_page_bytes(),
            marks: (0..words).map(|_| AtomicU64::new(0)).collect(),
            pieces: AtomicUsize::new(0),
        }
    }

    pub(super) fn set_len_bytes(&self, len_bytes: usize) {
        self.len_bytes.store(len_bytes, SeqCst);
    }

    pub(super) fn mark(&self, pages: Range<u32>) {
        let mut page = pages.start as usize;
        let end = (pages.end as usize).min(self.marks.len() * 64);
        while page < end {
            let (word, bit) = (page / 64, page % 64);
            let count = (64 - bit).min(end - page);
            self.marks[word].fetch_or((u64::MAX >> (64 - count)) << bit, SeqCst);
            page += count;
        }
    }

    pub(super) fn unmark(&self, pages: Range<u32>) {
        for page in pages {
            if let Some(word) = self.marks.get(page as usize / 64) {
                word.fetch_and(!(1 << (page % 64)), SeqCst);
            }
        }
    }

    pub(super) fn is_marked(&self, page: u32) -> bool {
        let word = self.marks.get(page as usize / 64);
        word.is_some_and(|word| word.load(SeqCst) >> (page % 64) & 1 == 1)
    }

    /// The marked pages below `pages`.
    pub(super) fn marked(&self, pages: u32) -> Dirty {
        let mut dirty = Dirty::new();
        for (index, word) in self.marks.iter().enumerate().take(pages.div_ceil(64) as usize) {
            let mut bits = word.load(SeqCst);
            let mut page = index as u32 * 64;
            while bits != 0 {
                let clear = bits.trailing_zeros();
                let set = (bits >> clear).trailing_ones();
                page += clear;
                dirty.insert(page.min(pages)..(page + set).min(pages));
                page += set;
                // In two steps, because shifting by 64 is not a shift.
                bits = (bits >> clear >> (set - 1)) >> 1;
            }
        }
        dirty
    }

    pub(super) fn unmark_all(&self) {
        for word in &self.marks {
            // Most are 0, and a load leaves their cache line shared.
            if word.load(SeqCst) != 0 {
                word.store(0, SeqCst);
            }
        }
    }

    /// Makes the whole memory read-only.
    pub(super) fn protect(&self) -> io::Result<()> {
        self.access(0..self.len_bytes.load(SeqCst), libc::PROT_READ)?;
        PIECE_COUNT.fetch_sub(self.pieces.swap(0, SeqCst), SeqCst);
        Ok(())
    }

    /// Marks pages and makes them writable, with neighbours. Safe in a signal handler.
    pub(super) fn unprotect(&self, pages: Range<u32>) -> bool {
        if pages.is_empty() {
            return true;
        }
        let piece_bytes = piece_bytes(PIECE_COUNT.load(SeqCst)).max(self.host_page_bytes);
        let len_bytes = self.len_bytes.load(SeqCst);
        let start = pages.start as usize * PAGE_BYTES / piece_bytes * piece_bytes;
        let end = (pages.end as usize * PAGE_BYTES).next_multiple_of(piece_bytes).min(len_bytes);
        self.mark((start / PAGE_BYTES) as u32..(end / PAGE_BYTES) as u32);
        PIECE_COUNT.fetch_add(1, SeqCst);
        self.pieces.fetch_add(1, SeqCst);
        if self.access(start..end, libc::PROT_READ | libc::PROT_WRITE).is_ok() {
            return true;
        }
        // Out of memory areas: the whole memory is one.
        self.mark(0..(len_bytes / PAGE_BYTES) as u32);
        self.access(0..len_bytes, libc::PROT_READ | libc::PROT_WRITE).is_ok()
    }

    fn access(&self, bytes: Range<usize>, protection: c_int) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let start = (self.base + bytes.start) as *mut c_void;
        // SAFETY: `Registered::new` was promised that the region stays mapped, the range is inside of
        // it, and both protections let everybody read; a write that is refused comes to the handler.
        let result = unsafe { libc::mprotect(start, bytes.len(), protection) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Serves a fault if it is one of this memory.
    fn serve(&self, address: usize) -> bool {
        let offset = address.wrapping_sub(self.base);
        if offset >= self.len_bytes.load(SeqCst) {
            return false;
        }
        let page = (offset / PAGE_BYTES) as u32;
        self.unprotect(page..page + 1)
    }
}

struct Slot {
    watch: AtomicPtr<Watch>,
    readers: AtomicUsize,
}

static SLOTS: [Slot; MEMORIES_MAX] =
    [const { Slot { watch: AtomicPtr::new(std::ptr::null_mut()), readers: AtomicUsize::new(0) } };
        MEMORIES_MAX];

/// A memory whose faults are served until this is dropped.
pub(super) struct Registered {
    slot: &'static Slot,
    /// From `Box::into_raw`; freed by `drop`.
    watch: *mut Watch,
}

// SAFETY: `Watch` is shared with handlers on all threads anyway; the pointer is owned.
unsafe impl Send for Registered {}

impl Registered {
    /// # Safety
    /// The region of `watch` stays mapped and its accessible part readable and writable (but for the
    /// protection that is set here) until the result is dropped, and no other one has that region.
    pub(super) unsafe fn new(watch: Watch) -> Result<Self, TrackerError> {
        install()?;
        let watch = Box::into_raw(Box::new(watch));
        let free = std::ptr::null_mut();
        for slot in &SLOTS {
            if slot.watch.compare_exchange(free, watch, SeqCst, SeqCst).is_ok() {
                return Ok(Self { slot, watch });
            }
        }
        // SAFETY: no slot has the pointer.
        drop(unsafe { Box::from_raw(watch) });
        uninstall();
        Err(TrackerError::TooManyMemories { memories_max: MEMORIES_MAX })
    }

    pub(super) fn watch(&self) -> &Watch {
        // SAFETY: the pointer came from a box that only `drop` frees.
        unsafe { &*self.watch }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let watch = self.watch();
        let everything = 0..watch.len_bytes.load(SeqCst);
        // If this fails, the next write to the memory faults for good; there is nobody to tell.
        let _ = watch.access(everything, libc::PROT_READ | libc::PROT_WRITE);
        PIECE_COUNT.fetch_sub(watch.pieces.swap(0, SeqCst), SeqCst);
        self.slot.watch.store(std::ptr::null_mut(), SeqCst);
        while self.slot.readers.load(SeqCst) != 0 {
            std::thread::yield_now();
        }
        // SAFETY: the slot no longer has the pointer, and the handlers that read it before have left.
        drop(unsafe { Box::from_raw(self.watch) });
        uninstall();
    }
}

/// Serves a fault if it is one of a watched memory. Safe in a signal handler.
fn serve(address: usize) -> bool {
    for slot in &SLOTS {
        if slot.watch.load(SeqCst).is_null() {
            continue;
        }
        slot.readers.fetch_add(1, SeqCst);
        let watch = slot.watch.load(SeqCst);
        // SAFETY: read after `readers` was raised, so whoever clears the slot frees it only
        // after `readers` is lowered again.
        let served = unsafe { watch.as_ref() }.is_some_and(|watch| watch.serve(address));
        slot.readers.fetch_sub(1, SeqCst);
        if served {
            return true;
        }
    }
    false
}

/// Where writes to read-only pages arrive.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SIGNALS: [c_int; 1] = [libc::SIGSEGV];
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What the handler needs of the actions before ours, in the order of `SIGNALS`.
struct Previous {
    handler: AtomicUsize,
    flags: AtomicI32,
}

static PREVIOUS: [Previous; SIGNALS.len()] =
    [const { Previous { handler: AtomicUsize::new(libc::SIG_DFL), flags: AtomicI32::new(0) } };
        SIGNALS.len()];

struct Installed {
    users: usize,
    /// Somebody's handler was put over ours, and may pass faults on to it.
    buried: bool,
    previous: [Option<libc::sigaction>; SIGNALS.len()],
}

static INSTALLED: Mutex<Installed> =
    Mutex::new(Installed { users: 0, buried: false, previous: [None; SIGNALS.len()] });

fn sigaction(
    signal: c_int,
    new: Option<&libc::sigaction>,
) -> Result<libc::sigaction, TrackerError> {
    let mut old = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    let new = new.map_or(std::ptr::null(), |new| new as *const _);
    // SAFETY: `new` is null or a valid action whose handler is either `on_fault` or one that was
    // installed before; `old` has room for one.
    if unsafe { libc::sigaction(signal, new, old.as_mut_ptr()) } != 0 {
        let source = io::Error::last_os_error();
        return Err(TrackerError::Os {
            kind: crate::TrackerKind::Mprotect,
            call: "sigaction",
            source,
        });
    }
    // SAFETY: zeroed is a valid value of this plain structure, and the call has filled it.
    Ok(unsafe { old.assume_init() })
}

fn on_fault_address() -> usize {
    on_fault as *const () as usize
}

fn install() -> Result<(), TrackerError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if installed.users > 0 || installed.buried {
        // Installing ours again over one that passes faults on to ours would go round in circles.
        for signal in SIGNALS {
            if sigaction(signal, None)?.sa_sigaction != on_fault_address() {
                return Err(TrackerError::HandlerReplaced { signal });
            }
        }
        installed.buried = false;
        installed.users += 1;
        return Ok(());
    }
    for (index, signal) in SIGNALS.into_iter().enumerate() {
        let previous = sigaction(signal, None)?;
        // Set before ours is in place, which may be called at once.
        PREVIOUS[index].handler.store(previous.sa_sigaction, SeqCst);
        PREVIOUS[index].flags.store(previous.sa_flags, SeqCst);
        // Mask and nesting as the previous handler wants them, which then runs as it would without
        // ours. On the other stack, because a guest may have used up its own.
        let mut ours = previous;
        ours.sa_sigaction = on_fault_address();
        ours.sa_flags =
            libc::SA_SIGINFO | libc::SA_ONSTACK | (previous.sa_flags & libc::SA_NODEFER);
        sigaction(signal, Some(&ours))?;
        installed.previous[index] = Some(previous);
    }
    installed.users = 1;
    Ok(())
}

fn uninstall() {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    installed.users -= 1;
    if installed.users > 0 {
        return;
    }
    for (index, signal) in SIGNALS.into_iter().enumerate() {
        let ours =
            sigaction(signal, None).is_ok_and(|current| current.sa_sigaction == on_fault_address());
        match installed.previous[index] {
            Some(previous) if ours => {
                // Cannot fail for an action that was in place before; then ours stays, and passes on.
                let _ = sigaction(signal, Some(&previous));
            }
            _ => installed.buried = true,
        }
    }
}

#[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
use libc::__errno as errno_location;
#[cfg(target_os = "linux")]
use libc::__errno_location as errno_location;
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
use libc::__error as errno_location;

/// True if the signal may report a write to a page that cannot be written.
fn is_access_fault(code: c_int) -> bool {
    // Elsewhere the codes differ between CPUs and systems; an address in a watched memory decides.
    if cfg!(target_os = "linux") { code == SEGV_ACCERR } else { !is_sent(code) }
}

/// `SEGV_ACCERR` of `include/uapi/asm-generic/siginfo.h`.
const SEGV_ACCERR: c_int = 2;

/// `SI_USER` of `<signal.h>` on Apple's systems; elsewhere it is 0 or negative.
const SI_USER_APPLE: c_int = 0x10001;

/// True if somebody called `kill`: then going on would not raise it again.
fn is_sent(code: c_int) -> bool {
    code <= 0 || (cfg!(target_vendor = "apple") && code == SI_USER_APPLE)
}

unsafe extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes a valid `info`. `errno` belongs to this thread, and the code that was
    // interrupted may be about to read it.
    unsafe {
        let errno = *errno_location();
        let served = is_access_fault((*info).si_code) && serve((*info).si_addr() as usize);
        *errno_location() = errno;
        if !served {
            pass_on(signal, info, context);
        }
    }
}

/// Does what would have happened without our handler.
///
/// # Safety
/// Called from the handler, with what it was called with.
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(index) = SIGNALS.iter().position(|&other| other == signal) else { return };
    let handler = PREVIOUS[index].handler.load(SeqCst);
    let flags = PREVIOUS[index].flags.load(SeqCst);
    // SAFETY: the system passed a valid `info`. Handlers were installed by somebody with these types,
    // which `SA_SIGINFO` tells apart. A zeroed action is the default action without flags.
    unsafe {
        let sent = is_sent((*info).si_code);
        if handler == libc::SIG_IGN && sent {
            return;
        }
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            // A fault happens again on return, and ends the process in the usual way.
            let default: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, &default, std::ptr::null_mut());
            if sent {
                libc::raise(signal);
            }
        } else if flags & libc::SA_SIGINFO != 0 {
            type Handler = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            std::mem::transmute::<usize, Handler>(handler)(signal, info, context);
        } else {
            std::mem::transmute::<usize, unsafe extern "C" fn(c_int)>(handler)(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mapping;

    #[test]
    fn marks_of_any_ranges_come_back_as_the_same_pages() {
        let memory = Mapping::reserve(0, 300 * PAGE_BYTES, 0).unwrap();
        for (start, end) in
            [(0, 0), (0, 1), (0, 64), (1, 64), (63, 65), (5, 300), (128, 192), (299, 300)]
        {
            let watch = Watch::new(memory.region().unwrap());
            watch.mark(start..end);
            assert_eq!(watch.marked(300), Dirty::from(start..end));
            assert!((0..300).all(|page| watch.is_marked(page) == (start..end).contains(&page)));
            watch.unmark_all();
            assert!(watch.marked(300).is_empty());
        }
    }

    #[test]
    fn pieces_grow_so_that_memory_areas_stay_few() {
        let memory_bytes = 4usize << 30;
        let (mut pieces, mut covered_bytes) = (0, 0);
        while covered_bytes < memory_bytes {
            covered_bytes += piece_bytes(pieces);
            pieces += 1;
        }
        assert!(2 * pieces < 60_000, "{pieces} pieces");
    }
}
