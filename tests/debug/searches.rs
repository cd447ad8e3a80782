//! Searches come to the same whichever way they go, and however much lies in between.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wrr_debug::Change;

/// A debugger on a recording of a text, which ends with an exit code.
fn with_debugger(program: &str, code: i32, test: impl FnOnce(&mut Debugger<'_>, &Arc<AtomicBool>)) {
    let folder = scratch();
    let path = recording_of(folder.path(), "searched", program, code);
    let cache = CodeCache::in_dir(&root().join("target/test-cache"));
    let trace = Trace::open(&path).unwrap().with(Some(cache), &());
    let interrupt = Arc::new(AtomicBool::new(false));
    let mut debugger = Debugger::new(trace.walk(Arc::clone(&interrupt)).unwrap()).unwrap();
    test(&mut debugger, &interrupt);
}

/// All changes of what is watched, from where it stands to an end of the run, with where it stops.
fn changes(debugger: &mut Debugger<'_>, direction: Direction) -> Vec<(u64, String, String)> {
    let mut changes = Vec::new();
    loop {
        let arrived = debugger.resume(direction).unwrap();
        let tick = debugger.walker().position().tick.0;
        match arrived.why {
            Why::Watchpoint(_, Change::Value { old, new }) => changes.push((tick, old, new)),
            Why::Start | Why::End => return changes,
            other => panic!("{other:?} at tick {tick}"),
        }
    }
}

/// Values that change, are written again without a change, and change back at once.
const CHANGING: &str = "\
x = 0
d = {'a': [1, 2], 'b': 0}
for i in range(40):
    x = i * 7919 % 5
    d['b'] = i // 13
    if i % 11 == 3:
        x = -1
        x = i * 7919 % 5
    if i == 20:
        d['a'] = [1, 2]
        d['a'][1] = 3
assert d['b'] == 0
";

pub fn every_change_of_a_value_is_found_in_both_directions() {
    let mut values = vec![0i64];
    for i in 0..40i64 {
        values.push(i * 7919 % 5);
        if i % 11 == 3 {
            values.extend([-1, i * 7919 % 5]);
        }
    }
    values.dedup();
    let of_x: Vec<(String, String)> =
        values.windows(2).map(|pair| (pair[0].to_string(), pair[1].to_string())).collect();
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
    };
    let of_b = pairs(&[("0", "1"), ("1", "2"), ("2", "3")]);
    let of_a = pairs(&[("[1, 2]", "[1, 3]")]);
    // What it depends on changes all the time, the value only now and then.
    let mut big: Vec<bool> = values.iter().map(|x| *x > 3).collect();
    big.dedup();
    let name = |b: bool| if b { "True".to_owned() } else { "False".to_owned() };
    let of_big: Vec<_> = big.windows(2).map(|pair| (name(pair[0]), name(pair[1]))).collect();
    with_debugger(CHANGING, 1, |debugger, _| {
        for (watched, expected) in
            [("x", of_x), ("d['b']", of_b), ("d['a']", of_a), ("x > 3", of_big)]
        {
            debugger.go(&Moment::End).unwrap();
            let (id, _) = debugger.watch(watched).unwrap();
            let mut back = changes(debugger, Direction::Backward);
            back.reverse();
            // Before it is given a value its name does not stand for anything.
            let unset = |(_, old, _): &(u64, String, String)| old.starts_with('<');
            back.retain(|change| !unset(change));
            let told: Vec<_> =
                back.iter().map(|(_, old, new)| (old.clone(), new.clone())).collect();
            assert_eq!(told, expected, "{watched}, backward");
            debugger.go(&Moment::Start).unwrap();
            let mut on = changes(debugger, Direction::Forward);
            on.retain(|change| !unset(change));
            assert_eq!(on, back, "{watched}, forward");
            debugger.delete(id);
        }
        let modules = debugger.walker().looker_modules();
        assert!(modules < 40, "{modules} modules for lookers");
    });
}

/// Stores numbers here and there, also the same once more; its numbers follow from a seed.
fn storing(seed: u32) -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (local $x i32) (local $n i32)
          (local.set $x (i32.const {seed}))
          (local.set $n (i32.const 300))
          loop $l
            (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
            (i32.store
              (i32.add (i32.const 64) (i32.and (i32.shr_u (local.get $x) (i32.const 8)) (i32.const 0x1c)))
              (i32.shr_u (local.get $x) (i32.const 30)))
            (if (i32.eqz (i32.and (local.get $x) (i32.const 0xf00000))) (then (drop (call $yield))))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
          end))"#
    )
}

pub fn every_change_in_memory_is_found_in_both_directions() {
    for seed in [1, 77, 4242] {
        let folder = scratch();
        let folder = folder.path();
        std::fs::write(folder.join("storing.wat"), storing(seed)).unwrap();
        let record = ["record", "-o", "storing.wrr", "storing.wat"];
        expect_code(&finish(wrr(folder).args(record), b""), 0);
        let trace = Trace::open(&folder.join("storing.wrr")).unwrap();
        let mut debugger = Debugger::new(trace.walk(Arc::default()).unwrap()).unwrap();
        // What a reader of each moment sees.
        let last = debugger.walker().last_tick().0;
        let mut expected = Vec::new();
        let mut before: Option<Vec<u8>> = None;
        for tick in 0..=last {
            debugger.walker().go(wrr::Target::Tick(wrr::format::Tick(tick))).unwrap();
            let now = debugger.walker().memory(0).unwrap()[64..72].to_vec();
            let shown = |bytes: &[u8]| {
                bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
            };
            if let Some(before) = before.replace(now.clone())
                && before != now
            {
                expected.push((tick - 1, shown(&before), shown(&now)));
            }
        }
        assert!(expected.len() > 20);
        debugger.go(&Moment::Tick(last)).unwrap();
        debugger.watch_memory(64, 8).unwrap();
        let mut back = changes(&mut debugger, Direction::Backward);
        back.reverse();
        assert_eq!(back, expected, "seed {seed}, backward");
        debugger.go(&Moment::Start).unwrap();
        let on = changes(&mut debugger, Direction::Forward);
        assert_eq!(on[..expected.len()], expected, "seed {seed}, forward");
    }
}

pub fn what_is_interrupted_changes_nothing() {
    with_debugger(CHANGING, 1, |debugger, interrupt| {
        debugger.go(&Moment::Percent(99.0)).unwrap();
        debugger.watch("x").unwrap();
        let location = "searched.py:5".parse().unwrap();
        let id = debugger.add_breakpoint(location, Some("i == 7".to_owned()), true).unwrap();
        debugger.breakpoints()[0].ignore = 3;
        let state = |debugger: &mut Debugger<'_>| {
            let walker = debugger.walker();
            let place = (walker.position(), walker.state_hash().unwrap());
            let frames = debugger.frames().to_vec();
            let known = (debugger.breakpoints().clone(), debugger.watchpoints().to_vec());
            (place, frames, known)
        };
        let before = state(debugger);
        type Action = fn(&mut Debugger<'_>) -> Result<wrr_debug::Arrived, wrr::Error>;
        let actions: [(&str, Action); 7] = [
            ("bcontinue", |debugger| debugger.resume(Direction::Backward)),
            ("continue", |debugger| debugger.resume(Direction::Forward)),
            ("bstep", |debugger| debugger.step(Direction::Backward)),
            ("next", |debugger| debugger.next(Direction::Forward)),
            ("go start", |debugger| debugger.go(&Moment::Start)),
            ("go end", |debugger| debugger.go(&Moment::End)),
            ("go 50%", |debugger| debugger.go(&Moment::Percent(50.0))),
        ];
        for (what, action) in actions {
            interrupt.store(true, Ordering::Relaxed);
            let arrived = action(debugger).unwrap();
            assert_eq!((arrived.why, arrived.has_moved), (Why::Interrupted, false), "{what}");
            assert_eq!(state(debugger), before, "{what}");
        }
        debugger.delete(id);
        assert_eq!(debugger.step(Direction::Backward).unwrap().why, Why::Asked);
    });
}
