//! Every tracker that works on this machine against a plain copy, under random writes.

use proptest::prelude::*;
use std::io::{Read, Write};
use std::ops::Range;
use wrr_pages::{
    COMPARE_BYTES_MAX, Dirty, DirtyTracker, Image, Mapping, PAGE_BYTES, TrackerError, TrackerKind,
    choose,
};

const WASM_PAGE_BYTES: usize = 64 << 10;
const RESERVE_BYTES: usize = 64 * WASM_PAGE_BYTES;

/// A guest's memory, its tracker, and what the memory was when it was last taken.
struct Guest {
    // Dropped before the memory.
    tracker: Box<dyn DirtyTracker>,
    memory: Mapping,
    last: Vec<u8>,
}

/// The trackers to test: those that the system does not refuse. One that is missing because it
/// missed a write in the probe is a bug, and not skipped.
fn kinds() -> Vec<TrackerKind> {
    let tested = |kind: &TrackerKind| match kind.probe() {
        Ok(()) => true,
        Err(error @ TrackerError::MissedWrite { .. }) => panic!("{error}"),
        Err(_) => false,
    };
    TrackerKind::ALL.into_iter().filter(tested).collect()
}

#[derive(Clone, Debug)]
enum Op {
    /// By compiled code: not announced.
    GuestWrite(u32, u16, u8),
    /// By the host: announced.
    HostWrite(u32, u16, u8),
    /// By the kernel for the host: announced.
    KernelWrite(u32, u16, u8),
    Clear(u32, u32),
    /// The new page is written before the tracker hears of it.
    Grow(u8, Option<u8>),
    Shrink(u8),
    Take,
    Peek,
    Attach,
}

fn ops() -> impl Strategy<Value = Vec<(usize, Op)>> {
    let at = any::<u32>;
    let op = prop_oneof![
        8 => (at(), 1u16..9000, 0u8..3).prop_map(|(at, len, value)| Op::GuestWrite(at, len, value)),
        2 => (at(), 1u16..9000, 0u8..3).prop_map(|(at, len, value)| Op::HostWrite(at, len, value)),
        2 => (at(), 1u16..9000, 0u8..3).prop_map(|(at, len, value)| Op::KernelWrite(at, len, value)),
        1 => (at(), 1u32..300_000).prop_map(|(at, len)| Op::Clear(at, len)),
        1 => (0u8..5, prop::option::of(0u8..3)).prop_map(|(by, early)| Op::Grow(by, early)),
        1 => (0u8..5).prop_map(Op::Shrink),
        3 => Just(Op::Take),
        1 => Just(Op::Peek),
        1 => Just(Op::Attach),
    ];
    prop::collection::vec((0usize..3, op), 1..120)
}

impl Guest {
    fn new(kind: TrackerKind, wasm_pages: usize) -> Self {
        let memory =
            Mapping::reserve(wasm_pages * WASM_PAGE_BYTES, RESERVE_BYTES, 1 << 16).unwrap();
        let mut guest = Self { tracker: kind.create().unwrap(), memory, last: Vec::new() };
        guest.attach();
        guest
    }

    fn attach(&mut self) {
        // SAFETY: the mapping outlives the tracker (see the order of fields), and all writes
        // are made by this thread between calls.
        unsafe { self.tracker.attach(self.memory.region().unwrap()).unwrap() };
        self.last = self.memory.bytes().to_vec();
    }

    /// A range of the memory; empty if that is.
    fn range(&self, at: u32, len: usize) -> Range<usize> {
        let start = at as usize % self.memory.len().max(1);
        start.min(self.memory.len())..(start + len).min(self.memory.len())
    }

    fn guest_write(&self, range: Range<usize>, value: u8) {
        for at in range {
            // SAFETY: `range` is accessible. Volatile, as the compiler knows nothing of a guest's writes.
            unsafe { self.memory.base().add(at).write_volatile(value) };
        }
    }

    fn check(&self, dirty: &Dirty) -> Result<(), TestCaseError> {
        let pages = (self.memory.len() / PAGE_BYTES) as u32;
        prop_assert!(dirty.ranges().iter().all(|range| range.end <= pages));
        for (page, bytes) in self.memory.bytes().chunks(PAGE_BYTES).enumerate() {
            let zeros = [0; PAGE_BYTES];
            let last = self.last.get(page * PAGE_BYTES..(page + 1) * PAGE_BYTES).unwrap_or(&zeros);
            prop_assert!(bytes == last || dirty.contains(page as u32), "page {} was missed", page);
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Dirty, TestCaseError> {
        let peeked = self.tracker.peek().unwrap();
        let dirty = self.tracker.take().unwrap();
        prop_assert_eq!(peeked, dirty.clone());
        self.check(&dirty)?;
        self.last = self.memory.bytes().to_vec();
        Ok(dirty)
    }

    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::GuestWrite(at, len, value) => self.guest_write(self.range(at, len as usize), value),
            Op::HostWrite(at, len, value) => {
                let range = self.range(at, len as usize);
                self.tracker.before_host_write(range.clone()).unwrap();
                self.memory.bytes_mut()[range].fill(value);
            }
            Op::KernelWrite(at, len, value) => {
                let range = self.range(at, len as usize);
                self.tracker.before_host_write(range.clone()).unwrap();
                kernel_write(&mut self.memory.bytes_mut()[range], value);
            }
            Op::Clear(at, len) => {
                let range = self.range(at, len as usize);
                self.tracker.before_host_write(range.clone()).unwrap();
                self.memory.clear(range).unwrap();
            }
            Op::Grow(wasm_pages, early) => {
                let old = self.memory.len();
                let new = (old + wasm_pages as usize * WASM_PAGE_BYTES).min(self.memory.capacity());
                self.memory.grow_to(new).unwrap();
                if let Some(value) = early {
                    self.guest_write(old + (new - old) / 2..new, value);
                }
                self.tracker.grown(new).unwrap();
            }
            Op::Shrink(wasm_pages) => {
                let new = self.memory.len().saturating_sub(wasm_pages as usize * WASM_PAGE_BYTES);
                self.tracker.shrunk(new).unwrap();
                self.memory.shrink_to(new).unwrap();
                // What comes again is zero, and was so when it was last looked at.
                self.last.truncate(new);
            }
            Op::Take => drop(self.take()?),
            Op::Peek => {
                let dirty = self.tracker.peek().unwrap();
                self.check(&dirty)?;
            }
            Op::Attach => self.attach(),
        }
        Ok(())
    }
}

fn kernel_write(bytes: &mut [u8], value: u8) {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&vec![value; bytes.len()]).unwrap();
    reader.read_exact(bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_tracker_misses_a_page(ops in ops(), sizes in prop::array::uniform3(0usize..9)) {
        for kind in kinds() {
            let mut guests = sizes.map(|wasm_pages| Guest::new(kind, wasm_pages));
            for (guest, op) in &ops {
                guests[*guest].apply(op)?;
            }
            for guest in &mut guests {
                guest.take()?;
                let nothing = guest.take()?;
                prop_assert!(nothing.is_empty(), "{kind} reports {nothing:?} after nothing happened");
            }
        }
    }
}

#[test]
fn the_trackers_of_this_machine_are_listed() {
    let available = TrackerKind::available();
    assert!(available.contains(&TrackerKind::Compare));
    for kind in TrackerKind::ALL {
        match kind.probe() {
            Ok(()) => println!("{kind}: tested"),
            Err(error) => {
                println!("{kind}: skipped, {error} ({:?})", std::error::Error::source(&error))
            }
        }
        assert_eq!(available.contains(&kind), kind.probe().is_ok());
    }
}

#[test]
fn a_thousand_rounds_of_single_writes_are_reported_exactly() {
    for kind in kinds() {
        let mut guest = Guest::new(kind, 32);
        guest.guest_write(0..32 * WASM_PAGE_BYTES, 1);
        guest.take().unwrap();
        let mut page = 1;
        for round in 0..1000u32 {
            page = (page * 5 + 3) % 512;
            let at = page as usize * PAGE_BYTES + round as usize;
            guest.guest_write(at..at + 1, (round % 200) as u8 + 2);
            let dirty = guest.tracker.take().unwrap();
            assert!(dirty.contains(page), "{kind}, round {round}");
            assert!(dirty.count() <= WASM_PAGE_BYTES / PAGE_BYTES, "{kind} reports {dirty:?}");
        }
    }
}

#[test]
fn kernel_writes_that_nobody_announced_are_seen_or_refused() {
    for kind in kinds() {
        let mut guest = Guest::new(kind, 4);
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&[7; 100]).unwrap();
        let written = reader.read_exact(&mut guest.memory.bytes_mut()[8000..8100]).is_ok();
        assert_eq!(written, kind != TrackerKind::Mprotect);
        assert_eq!(guest.take().unwrap().iter().eq([1]), written, "{kind}");
    }
}

#[test]
fn many_scattered_writes_do_not_exhaust_memory_areas() {
    let bytes = 256 << 20;
    for kind in kinds() {
        let memory = Mapping::reserve(bytes, bytes, 0).unwrap();
        let mut guest = Guest { tracker: kind.create().unwrap(), memory, last: Vec::new() };
        for round in 1..3 {
            // SAFETY: as in `Guest::attach`.
            unsafe { guest.tracker.attach(guest.memory.region().unwrap()).unwrap() };
            for page in (0..bytes / PAGE_BYTES).step_by(2) {
                guest.guest_write(page * PAGE_BYTES..page * PAGE_BYTES + 1, round);
            }
            let dirty = guest.tracker.take().unwrap();
            let all = (0..bytes / PAGE_BYTES).step_by(2);
            assert!(all.into_iter().all(|page| dirty.contains(page as u32)), "{kind}");
            assert!(guest.tracker.take().unwrap().is_empty());
        }
    }
}

#[test]
fn trackers_on_several_threads_come_and_go_independently() {
    for kind in kinds() {
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                // Created here, used there.
                let mut tracker = kind.create().unwrap();
                scope.spawn(move || {
                    for round in 0..100u8 {
                        let mut memory = Mapping::reserve(1 << 20, 1 << 20, 0).unwrap();
                        // SAFETY: detached before the mapping is dropped; only this thread has either.
                        unsafe { tracker.attach(memory.region().unwrap()).unwrap() };
                        let pages = (0..256).step_by(thread as usize + 1);
                        for page in pages.clone() {
                            memory.bytes_mut()[page * PAGE_BYTES] = round + 1;
                        }
                        let dirty = tracker.take().unwrap();
                        assert!(pages.clone().all(|page| dirty.contains(page as u32)));
                        tracker.detach();
                        memory.bytes_mut().fill(0);
                    }
                });
            }
        });
    }
}

#[test]
fn compare_reports_exactly_the_pages_that_differ() {
    let mut guest = Guest::new(TrackerKind::Compare, 4);
    guest.guest_write(4095..4097, 1);
    guest.guest_write(8192..8193, 0);
    assert!(guest.take().unwrap().iter().eq([0, 1]));
}

#[test]
fn what_the_host_has_put_back_is_clean() {
    for kind in TrackerKind::available() {
        let mut memory = Mapping::reserve(64 * PAGE_BYTES, 128 * PAGE_BYTES, 0).unwrap();
        let image = Image::of(memory.bytes()).unwrap();
        let mut tracker = kind.create().unwrap();
        // SAFETY: the tracker is dropped before the mapping, and only this thread touches either.
        unsafe { tracker.attach(memory.region().unwrap()).unwrap() };
        for round in 1..20_u8 {
            let written = [3, 4, usize::from(round), 63];
            for page in written {
                memory.bytes_mut()[page * PAGE_BYTES + 5] = round;
            }
            let dirty = tracker.peek().unwrap();
            assert!(written.iter().all(|page| dirty.contains(*page as u32)), "{kind}: {dirty:?}");
            for pages in dirty.ranges() {
                let bytes = pages.start as usize * PAGE_BYTES..pages.end as usize * PAGE_BYTES;
                tracker.before_host_write(bytes).unwrap();
            }
            image.copy_to(&dirty, memory.bytes_mut()).unwrap();
            tracker.settle(&dirty).unwrap();
            assert!(memory.bytes().iter().all(|byte| *byte == 0));
            assert!(tracker.peek().unwrap().is_empty(), "{kind} in round {round}");
        }
    }
}

#[test]
fn misuse_is_an_error() {
    for kind in kinds() {
        let mut tracker = kind.create().unwrap();
        assert!(matches!(tracker.take(), Err(TrackerError::NotAttached { .. })));
        let mut guest = Guest::new(kind, 2);
        let len = 2 * WASM_PAGE_BYTES;
        for bad in [0, len + 1, RESERVE_BYTES + PAGE_BYTES] {
            assert!(matches!(guest.tracker.grown(bad), Err(TrackerError::BadGrowth { .. })));
        }
        #[allow(clippy::reversed_empty_ranges)]
        for bad in [len..len + 1, 5..4, usize::MAX..0] {
            let refused = guest.tracker.before_host_write(bad);
            assert!(matches!(refused, Err(TrackerError::OutOfRange { .. })));
        }
        assert!(guest.take().unwrap().is_empty());
    }
    let odd = Mapping::reserve(100, 4096, 0).unwrap();
    assert!(matches!(odd.region(), Err(TrackerError::BadRegion { .. })));
}

#[test]
fn a_tracker_is_chosen_by_size_or_by_force() {
    assert_eq!(choose(COMPARE_BYTES_MAX, COMPARE_BYTES_MAX, None).unwrap().name(), "compare");
    let available = TrackerKind::available();
    assert_eq!(
        choose(COMPARE_BYTES_MAX + 1, COMPARE_BYTES_MAX, None).unwrap().kind(),
        available[0]
    );
    for kind in TrackerKind::ALL {
        assert_eq!(kind.to_string().parse::<TrackerKind>().unwrap(), kind);
        match choose(0, 0, Some(kind)) {
            Ok(tracker) => assert_eq!(tracker.kind(), kind),
            Err(error) => {
                assert!(!available.contains(&kind));
                let text = error.to_string();
                assert!(text.contains(kind.name()) && text.contains("use one of: "), "{text}");
                assert!(available.iter().all(|kind| text.contains(kind.name())), "{text}");
            }
        }
    }
    let error = "soft-dirty".parse::<TrackerKind>().unwrap_err().to_string();
    assert!(error.contains("soft-dirty") && error.contains("userfaultfd"), "{error}");
}

#[test]
fn clearing_whole_page_tables_is_reported() {
    // Linux may free the page tables of such a range, and with them what userfaultfd notes in them.
    let bytes = 16 << 20;
    for kind in kinds() {
        let mut memory = Mapping::reserve(bytes, bytes, 0).unwrap();
        memory.bytes_mut().fill(1);
        let mut guest = Guest { tracker: kind.create().unwrap(), memory, last: Vec::new() };
        guest.attach();
        guest.tracker.before_host_write(0..bytes).unwrap();
        guest.memory.clear(0..bytes).unwrap();
        assert_eq!(guest.take().unwrap().count(), bytes / PAGE_BYTES, "{kind}");
        guest.guest_write(5 << 20..(5 << 20) + 1, 9);
        assert!(guest.take().unwrap().contains(5 << 8), "{kind}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn huge_pages_hide_no_write() {
    let bytes = 16 << 20;
    for kind in kinds() {
        let memory = Mapping::reserve(bytes / 2, bytes, 0).unwrap();
        // SAFETY: advice on a range that the mapping owns; the system may ignore it.
        unsafe { libc::madvise(memory.base().cast(), bytes, libc::MADV_HUGEPAGE) };
        let mut guest = Guest { tracker: kind.create().unwrap(), memory, last: Vec::new() };
        guest.memory.bytes_mut().fill(1);
        guest.attach();
        for round in 2..20 {
            for page in (round as usize..guest.memory.len() / PAGE_BYTES).step_by(371) {
                guest.guest_write(page * PAGE_BYTES..page * PAGE_BYTES + 1, round);
            }
            guest.take().unwrap();
            if round == 9 {
                guest.apply(&Op::Grow(128, None)).unwrap();
            }
        }
    }
}
