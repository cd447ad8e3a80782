//! Checkpoints that a running guest takes of itself: what it needs is compiled before it is
//! captured, and states kept in memory see what checkpoints have taken from the trackers, and the
//! other way round.

use super::run::{Fake, Run, load};
use crate::{Beat, Entry, Guest, Heart, PageStore, Reached, Until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::Val;
use wrr_pages::TrackerKind;
use wrr_trace::{Checkpoint, EventIndex, Tick};
use wrr_transform::{Piece, Variant};
use wrr_wasi::Host;

/// Recursion, loops in loops, indirect calls: stacks in which frames wait in many places.
const MANY_PLACES: &str = r#"(module
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (memory (export "memory") 4)
    (table $t funcref (elem $deep $wide))
    (type $s (func (param i32) (result i32)))
    (func $deep (type $s) (local $i i32)
      (if (i32.eqz (local.get 0)) (then (return (call $wide (i32.const 3)))))
      (loop $l
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (drop (call_indirect $t (type $s) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
        (br_if $l (i32.lt_s (local.get $i) (i32.const 2))))
      (i32.add (local.get $i) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
    (func $wide (type $s) (local $i i32) (local $j i32)
      (loop $outer
        (local.set $j (i32.const 0))
        (loop $inner
          (i32.store (i32.mul (local.get $j) (i32.const 4096)) (local.get $i))
          (br_if $inner (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 20))))
        (br_if $outer (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get 0))))
      (i32.add (call $yield) (local.get $i)))
    (func (export "f") (result i32) (call $deep (i32.const 6))))"#;

/// Asks for a stop every so many ticks, and counts how often it asked.
struct Often {
    beat: fn(u64) -> Beat,
    ticks: u64,
    asked: Arc<AtomicU64>,
}

impl Heart for Often {
    fn beat(&mut self, _host: &mut Host, _tick: Tick) -> Beat {
        // The first beat comes at once.
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            0 => Beat::After(self.ticks),
            _ => (self.beat)(self.ticks),
        }
    }
}

fn start(program: &crate::Program, variant: Variant) -> Guest {
    let entry = Entry::Export { name: "f".to_owned(), args: Vec::new() };
    Guest::new(program, variant, &entry, Fake::at(EventIndex(0))).unwrap()
}

#[test]
fn a_guest_that_is_ready_goes_on_without_the_compiler() {
    for variant in [Variant::Run, Variant::Counted, Variant::Inspect] {
        let program = load(MANY_PLACES.as_bytes(), 1 << 20).unwrap();
        let whole = Run::new(&program, variant, &[("f".to_owned(), Vec::new())]).finish();
        program
            .on_guest_stack(|| {
                let mut guest = start(&program, variant);
                let asked = Arc::default();
                let heart = Often { beat: Beat::StopIfReady, ticks: 97, asked: Arc::clone(&asked) };
                guest.set_heart(Some(Box::new(heart)));
                let mut stops = 0;
                while let Reached::Stopped = guest.go(Until::End).unwrap() {
                    assert!(guest.stopped_by_heart());
                    let ready = guest.store.data().ready.ready_pieces();
                    for frame in guest.frames.iter().flatten() {
                        let piece = Piece::Tail { function: frame.function, site: frame.site };
                        assert!(ready.contains(&piece), "{variant:?}: {piece:?} was not compiled");
                    }
                    stops += 1;
                }
                assert_eq!(guest.state_hash().unwrap(), whole.hash);
                let asked = asked.load(Ordering::Relaxed);
                assert!(asked > 100, "asked {asked} times");
                // The compiler works while the guest runs, so how many stops there are depends on
                // the machine; asked once more in the same places, all of them are ready.
                let mut again = start(&program, variant);
                again.store.data_mut().ready.share(&guest.store.data().ready);
                let heart = Often { beat: Beat::StopIfPossible, ticks: 97, asked: Arc::default() };
                again.set_heart(Some(Box::new(heart)));
                let mut all = 0;
                while let Reached::Stopped = again.go(Until::End).unwrap() {
                    all += 1;
                }
                assert!(all > 100 && stops <= all, "{stops} of {all}");
                assert_eq!(again.state_hash().unwrap(), whole.hash);
                let mut third = start(&program, variant);
                third.store.data_mut().ready.share(&again.store.data().ready);
                let heart = Often { beat: Beat::StopIfReady, ticks: 97, asked: Arc::default() };
                third.set_heart(Some(Box::new(heart)));
                let mut ready = 0;
                while let Reached::Stopped = third.go(Until::End).unwrap() {
                    ready += 1;
                }
                assert_eq!(ready, all);
            })
            .unwrap();
    }
}

/// The bytes of memory 0 as a checkpoint has them.
fn memory_of(checkpoint: &Checkpoint, pages: &[u8]) -> Vec<u8> {
    let state = &checkpoint.memories[0];
    let mut memory = vec![0; state.bytes as usize];
    for run in &state.runs {
        let (at, len) = (run.page as usize * 4096, run.count as usize * 4096);
        let from = run.id.0 as usize * 4096;
        memory[at..at + len].copy_from_slice(&pages[from..from + len]);
    }
    memory
}

/// Writes to random places, grows now and then.
const WRITES: &str = r#"(module
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 4 40)
    (global $at (mut i32) (i32.const 0))
    (func (export "f") (result i32) (local $i i32)
      (loop $l
        (drop (call $random (i32.const 16) (i32.const 8)))
        (global.set $at (i32.rem_u (i32.load (i32.const 16)) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 8))))
        (i32.store (global.get $at) (local.get $i))
        (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 9))) (then (drop (memory.grow (i32.const 1)))))
        (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200))))
      (global.get $at)))"#;

#[test]
fn checkpoints_and_kept_states_see_each_others_pages() {
    for forced in [None, Some(TrackerKind::Compare), TrackerKind::available().first().copied()] {
        let program = load(WRITES.as_bytes(), 1 << 20).unwrap();
        program
            .on_guest_stack(|| {
                let mut guest = start(&program, Variant::Run);
                guest.track(PageStore::new(), forced).unwrap();
                let mut pages = vec![0; 4096];
                let mut kept = Vec::new();
                let mut random = 7u64;
                let mut event = 0;
                for round in 0..120 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let choice = (random >> 33) % 8;
                    match choice {
                        0..=3 => {
                            event += 1 + (random >> 40) % 7;
                            let until = Until::Event(EventIndex(event));
                            assert!(matches!(guest.go(until).unwrap(), Reached::Stopped));
                        }
                        4 | 5 => {
                            let (checkpoint, new) = guest.snapshot().unwrap();
                            pages.extend(new);
                            let memory = guest.memory_bytes(0).unwrap();
                            assert!(memory_of(&checkpoint, &pages) == memory, "round {round}");
                        }
                        6 => kept.push((guest.keep().unwrap(), event, pages.len())),
                        _ if kept.is_empty() => {}
                        _ => {
                            kept.truncate(1 + (random >> 50) as usize % kept.len());
                            let (state, then, pages_then) = kept.last().unwrap();
                            (event, _) = (*then, pages.truncate(*pages_then));
                            guest.host().set_source(Fake::source(EventIndex(event)));
                            guest.host().set_events(EventIndex(event));
                            let in_place = guest.roll_back(state).unwrap();
                            let known = (pages_then / 4096) as u32 - 1;
                            if in_place {
                                guest.rewind_pages(state, known, None).unwrap();
                            } else {
                                let from = guest.take_pages();
                                let entry =
                                    Entry::Export { name: "f".to_owned(), args: Vec::new() };
                                let host = Fake::at(EventIndex(event));
                                guest = Guest::fork(&program, Variant::Run, &entry, state, host)
                                    .unwrap();
                                guest.rewind_pages(state, known, Some(from)).unwrap();
                            }
                        }
                    }
                    if event > 150 {
                        event = 0;
                        kept.clear();
                        guest = start(&program, Variant::Run);
                        guest.track(PageStore::new(), forced).unwrap();
                        pages.truncate(4096);
                    }
                }
            })
            .unwrap();
    }
}

#[test]
fn a_memory_that_has_outgrown_comparing_gets_another_tracker() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (func (export "f") (result i32)
          (drop (call $yield))
          (drop (memory.grow (i32.const 200)))
          (i32.store (i32.const 9000000) (i32.const 5))
          (drop (call $yield))
          (i32.store (i32.const 9100000) (i32.const 6))
          (call $yield)))"#;
    let program = load(text.as_bytes(), 1 << 20).unwrap();
    program
        .on_guest_stack(|| {
            let mut guest = start(&program, Variant::Run);
            guest.track(PageStore::new(), None).unwrap();
            assert_eq!(guest.trackers(), [TrackerKind::Compare]);
            let mut pages = vec![0; 4096];
            for event in 0..3 {
                guest.go(Until::Event(EventIndex(event))).unwrap();
                let (checkpoint, new) = guest.snapshot().unwrap();
                pages.extend(new);
                assert!(
                    memory_of(&checkpoint, &pages) == guest.memory_bytes(0).unwrap(),
                    "{event}"
                );
            }
            let best = TrackerKind::available()[0];
            assert_eq!(guest.trackers(), [best]);
            let Ok(Reached::Ended(_)) = guest.go(Until::End) else { panic!("it ends") };
            assert_eq!(
                guest.results.first().and_then(Val::i32).map(|errno| errno >= 0),
                Some(true)
            );
        })
        .unwrap();
}
