//! What lookers test, note and ask about is what a reader of the memory at each tick would say.

use super::run::{Run, load};
use crate::{Look, LookAt, Looked, Test, Until, View};
use std::sync::{Arc, Mutex};
use wasmtime::Val;
use wrr_test_generator::Random;
use wrr_trace::Tick;
use wrr_transform::Variant;

/// Stores small numbers into 64 words, and calls another function now and then.
const TEXT: &str = r#"(module
    (memory (export "memory") 1)
    (func $other (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func (export "f") (param $n i32) (result i32) (local $x i32)
      (local.set $x (i32.const 12345))
      loop $l
        (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
        (i32.store
          (i32.and (i32.shr_u (local.get $x) (i32.const 8)) (i32.const 0xfc))
          (i32.shr_u (local.get $x) (i32.const 30)))
        (if (i32.eqz (i32.and (local.get $x) (i32.const 0x70000)))
          (then (local.set $x (call $other (local.get $x)))))
        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
      end
      (local.get $x)))"#;

const ROUNDS: i32 = 600;

/// What there is to see at a tick.
#[derive(Clone)]
struct Seen {
    tick: Tick,
    memory: Vec<u8>,
    function: u32,
    site: u32,
}

fn word(memory: &[u8], at: u32) -> Option<u32> {
    let bytes = memory.get(at as usize..at as usize + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().unwrap()))
}

/// Whether a test passes, worked out here.
fn passes(test: &Test, seen: &Seen) -> bool {
    let memory = &seen.memory;
    let path_end = |path: &[u32]| {
        path.iter().fold(0u32, |at, offset| word(memory, at.wrapping_add(*offset)).unwrap_or(0))
    };
    let among = |value: u32, ranges: &[(u32, u32)]| {
        ranges.iter().any(|(low, high)| (*low..=*high).contains(&value))
    };
    match test {
        Test::Always => true,
        Test::Differ { words, held } => {
            words.iter().zip(held).any(|(at, held)| word(memory, *at) != Some(*held))
        }
        Test::Entry { functions } => seen.site == 0 && functions.contains(&seen.function),
        Test::Word { path, among: ranges } => among(path_end(path), ranges),
        Test::Element { path, bytes: _, among: ranges } => {
            // Nothing is shown here: it is element 0.
            among(word(memory, path_end(path)).unwrap_or(0) & 0xff, ranges)
        }
        Test::All(tests) => tests.iter().all(|test| passes(test, seen)),
        Test::Any(tests) => tests.iter().any(|test| passes(test, seen)),
        Test::Not(test) => !passes(test, seen),
        Test::Changed { .. } | Test::News { .. } | Test::Shown { .. } => unreachable!(),
    }
}

fn address(random: &mut Random) -> u32 {
    4 * random.below(64) as u32
}

fn ranges(random: &mut Random, count: usize) -> Vec<(u32, u32)> {
    let number = |random: &mut Random| random.below(5) as u32;
    let range = |random: &mut Random| {
        let low = number(random);
        (low, low + number(random) / 3)
    };
    (0..count).map(|_| range(random)).collect()
}

fn random_test(random: &mut Random, depth: usize) -> Test {
    match random.below(if depth == 0 { 5 } else { 8 }) {
        0 | 1 => {
            let count = [0, 1, 2, 3, 9, 40][random.below(6)];
            let mut words: Vec<u32> = (0..count).map(|_| address(random)).collect();
            words.sort_unstable();
            words.dedup();
            if random.below(20) == 0 {
                words.push(70_000);
            }
            let held = words.iter().map(|_| random.below(4) as u32).collect();
            Test::Differ { words, held }
        }
        2 => Test::Entry {
            functions: (0..random.below(7)).map(|_| random.below(3) as u32).collect(),
        },
        3 => {
            let path = vec![address(random), address(random)];
            let count = random.below(8);
            Test::Word { path, among: ranges(random, count) }
        }
        4 => {
            let path = vec![address(random), address(random)];
            Test::Element { path, bytes: 2, among: ranges(random, 1) }
        }
        5 => Test::Not(Box::new(random_test(random, depth - 1))),
        kind => {
            let count = random.below(4);
            let tests = (0..count).map(|_| random_test(random, depth - 1)).collect();
            if kind == 6 { Test::All(tests) } else { Test::Any(tests) }
        }
    }
}

fn calls() -> [(String, Vec<Val>); 1] {
    [("f".to_owned(), vec![Val::I32(ROUNDS)])]
}

fn all_seen(program: &crate::Program) -> Vec<Seen> {
    let all: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let kept = Arc::clone(&all);
    let looker = move |view: &View<'_>| {
        let View { tick, function, site, .. } = *view;
        kept.lock().unwrap().push(Seen { tick, memory: view.memory.to_vec(), function, site });
        Looked::On
    };
    let calls = calls();
    let mut run = Run::new(program, Variant::Inspect, &calls);
    let look = Look { at: LookAt::Ticks, note: None, before: None, ask: Some(Test::Always) };
    run.guest.look(&look, Box::new(looker)).unwrap();
    run.finish();
    let all = all.lock().unwrap().clone();
    assert!(all.len() > ROUNDS as usize);
    all
}

#[test]
fn lookers_note_and_ask_where_their_tests_pass() {
    let program = load(TEXT.as_bytes(), 1 << 20).unwrap();
    program
        .on_guest_stack(|| {
            let all = all_seen(&program);
            let calls = calls();
            for seed in 0..60 {
                let mut random = Random::new(seed);
                let (note, ask) = (random_test(&mut random, 2), random_test(&mut random, 2));
                let (after, before) = {
                    let mut tick = || all[random.below(all.len())].tick;
                    let (one, other) = (tick(), tick());
                    (one.min(other), one.max(other))
                };
                let mut run = Run::new(&program, Variant::Inspect, &calls);
                assert!(run.go(Until::Tick(after)));
                let asked: Arc<Mutex<Vec<Tick>>> = Arc::default();
                let kept = Arc::clone(&asked);
                let looker = move |view: &View<'_>| {
                    kept.lock().unwrap().push(view.tick);
                    Looked::On
                };
                let at = LookAt::Ticks;
                let look = Look {
                    at,
                    note: Some(note.clone()),
                    before: Some(before),
                    ask: Some(ask.clone()),
                };
                run.guest.look(&look, Box::new(looker)).unwrap();
                // The counter is set anew on the way.
                for tick in [(after.0 + before.0) / 2, before.0 + 1] {
                    run.go(Until::Tick(Tick(tick)));
                }
                let here = run.guest.tick();
                let noted = run.guest.look_away();
                let later = |seen: &&Seen| seen.tick > after && seen.tick <= here;
                let last = all.iter().rfind(|s| later(s) && s.tick < before && passes(&note, s));
                assert_eq!(noted, last.map(|seen| seen.tick), "seed {seed}: {note:?}");
                let expected: Vec<Tick> =
                    all.iter().filter(later).filter(|s| passes(&ask, s)).map(|s| s.tick).collect();
                let mut asked = asked.lock().unwrap().clone();
                // Where it was stopped it is looked at before and after.
                asked.dedup();
                assert_eq!(asked, expected, "seed {seed}: {ask:?}");
            }
        })
        .unwrap();
}

#[test]
fn tests_that_differ_in_constants_share_a_module() {
    let program = load(TEXT.as_bytes(), 1 << 20).unwrap();
    program
        .on_guest_stack(|| {
            let calls = calls();
            let mut run = Run::new(&program, Variant::Inspect, &calls);
            let mut random = Random::new(1);
            for round in 0..500 {
                let mut frames: Vec<(u32, u32)> = Vec::new();
                frames.resize_with(1 + random.below(300), || {
                    let frame = random.next() as u32;
                    (frame, frame)
                });
                let words: Vec<u32> = (0..30).map(|i| 8 * i + round).collect();
                let held = words.iter().map(|_| random.next() as u32).collect();
                let test = Test::Any(vec![
                    Test::Word { path: vec![random.next() as u32, 8], among: frames },
                    Test::Differ { words, held },
                ]);
                let note = Some(test);
                let look = Look { at: LookAt::Ticks, note, before: None, ask: None };
                run.guest.look(&look, Box::new(|_: &View<'_>| Looked::On)).unwrap();
                run.guest.look_away();
            }
            // One for each length of a list.
            assert!(run.guest.looker_modules() <= 12, "{}", run.guest.looker_modules());
        })
        .unwrap();
}
