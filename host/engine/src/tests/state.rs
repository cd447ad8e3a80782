//! Memories, tables, globals and segments around a stop, and the phases of a run.

use super::run::{Fake, Run, check, everywhere, i32, i64, load};
use crate::{Entry, PageStore, Until};
use wasmtime::Val;
use wrr_trace::{EventIndex, Phase, Tick};
use wrr_transform::Variant;

const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (func $tick)
    (func $same (param i32) (result i32) (call $tick) (local.get 0))
"#;

fn with_prelude(text: &str) -> String {
    format!("(module {PRELUDE} {text})")
}

#[test]
fn segments_are_used_and_dropped_in_and_behind_a_resumed_function() {
    let text = with_prelude(
        r#"(memory 1) (data $d "abcdefgh") (data $unused "x")
          (table $t 10 funcref) (elem $e func $one $two)
          (func $one (result i32) (call $tick) (i32.const 1))
          (func $two (result i32) (drop (call $yield)) (i32.const 2))
          (func (export "f") (result i32)
            (call $tick)
            (memory.init $d (i32.const 10) (i32.const 2) (i32.const 4))
            (table.init $t $e (i32.const 3) (i32.const 0) (i32.const 2))
            (call $tick)
            (call_indirect $t (result i32) (i32.const 4))
            (data.drop $d)
            (call $tick)
            (elem.drop $e)
            (call $tick)
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))
            (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))
            (i32.load (i32.const 10))
            (call $tick)
            i32.add
            (call_indirect $t (result i32) (i32.const 3))
            i32.sub)
          (func (export "init") (call $tick) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))
          (func (export "table_init") (call $tick) (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)))
          (func (export "copies") (result i32)
            (call $tick)
            (table.copy $t $t (i32.const 0) (i32.const 3) (i32.const 2))
            (table.fill $t (i32.const 6) (ref.func $one) (i32.const 3))
            (call $tick)
            (memory.copy (i32.const 20) (i32.const 8) (i32.const 8))
            (memory.fill (i32.const 30) (i32.const 1) (i32.const 4))
            (call $tick)
            (i32.add (i32.load (i32.const 22)) (call_indirect $t (result i32) (i32.const 8))))"#,
    );
    let (results, _) =
        everywhere(&text, &[("f", &[]), ("init", &[]), ("table_init", &[]), ("copies", &[])]);
    let word = i32::from_le_bytes(*b"cdef");
    assert_eq!(results[0], i32(2 + word - 1));
    assert!(results[1].contains("MemoryOutOfBounds"), "{results:?}");
    assert!(results[2].contains("TableOutOfBounds"), "{results:?}");
    assert_eq!(results[3], i32(word + 1));
}

#[test]
fn memories_that_grow_and_several_of_them_are_part_of_the_state() {
    let text = with_prelude(
        r#"(memory $a 1 3) (memory $b i64 0 10) (memory $c 1)
          (global $g (mut i64) (i64.const 1)) (global $constant i32 (i32.const 9))
          (func (export "f") (param $n i32) (result i64)
            (i32.store $a (i32.const 65532) (call $same (i32.const 1)))
            (i64.extend_i32_s (memory.grow $a (i32.const 1)))
            (call $tick)
            (memory.grow $b (i64.const 2))
            (call $tick)
            (i32.store $a (i32.const 70000) (i32.const 5))
            (i64.store $b (i64.const 100000) (i64.const 6))
            (drop (call $random (i32.const 65530) (i32.const 12)))
            (i32.store8 $c offset=65535 (i32.const 0) (i32.const 7))
            (call $tick)
            (memory.copy $b $a (i64.const 10) (i32.const 65530) (i32.const 12))
            (global.set $g (i64.add (global.get $g) (i64.load $b (i64.const 100000))))
            (call $tick)
            (i64.add (memory.size $b))
            i64.add
            (i64.add (i64.extend_i32_s (memory.grow $a (local.get $n))))
            (i64.add (global.get $g))
            (i64.add (i64.extend_i32_u (global.get $constant))))"#,
    );
    let (results, checked) = everywhere(&text, &[("f", &[Val::I32(2)]), ("f", &[Val::I32(1)])]);
    assert_eq!(results[0], i64(1 + 2 - 1 + 7 + 9));
    assert!(checked.events == 2 && checked.stops > 20);
}

#[test]
fn tables_that_grow_are_part_of_the_state() {
    let text = with_prelude(
        r#"(table $t 1 8 funcref) (table $x 2 externref) (table $wide i64 1 funcref)
          (func $one (result i32) (call $tick) (i32.const 1))
          (func $two (result i32) (drop (call $yield)) (i32.const 2))
          (elem declare func $one $two)
          (func (export "f") (result i32)
            (table.grow $t (ref.func $two) (call $same (i32.const 3)))
            (call $tick)
            (table.set $t (i32.const 2) (ref.func $one))
            (table.set $t (i32.const 3) (ref.null func))
            (drop (table.grow $x (ref.null extern) (i32.const 5)))
            (drop (table.grow $wide (ref.func $one) (i64.const 2)))
            (call $tick)
            (i32.add (call_indirect $t (result i32) (i32.const 1)))
            (i32.add (i32.mul (i32.const 100) (call_indirect $t (result i32) (i32.const 2))))
            (i32.add (i32.mul (i32.const 1000) (call_indirect $wide (result i32) (i64.const 2))))
            (i32.add (table.size $x)))"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[])]);
    assert_eq!(results, [i32(1 + 2 + 100 + 1000 + 7)]);
}

#[test]
fn growing_beyond_all_bounds_fails_in_the_guest_not_in_the_host() {
    let text = with_prelude(
        r#"(memory $a 1) (memory $limited 1 2) (memory $wide i64 1)
          (table $t 1 funcref) (table $limited 1 2 funcref) (table $wide i64 1 funcref)
          (func (export "f") (param $n i32) (param $wide i64) (result i32)
            (memory.grow $limited (local.get $n))
            (call $tick)
            (memory.grow $a (local.get $n))
            i32.add
            (i32.add (i32.wrap_i64 (memory.grow $wide (local.get $wide))))
            (i32.add (table.grow $t (ref.null func) (local.get $n)))
            (i32.add (table.grow $limited (ref.null func) (local.get $n)))
            (i32.add (i32.wrap_i64 (table.grow $wide (ref.null func) (local.get $wide))))
            (call $tick))"#,
    );
    let numbers = [(65536, 1 << 48), (-1, -1), (i32::MAX, i64::MAX)];
    let numbers = numbers.map(|(n, wide)| [Val::I32(n), Val::I64(wide)]);
    let calls: Vec<(&str, &[Val])> = numbers.iter().map(|args| ("f", &args[..])).collect();
    let (results, _) = everywhere(&text, &calls);
    // The first table can have 65,536 more.
    assert_eq!(results, [i32(-5 + 1), i32(-6), i32(-6)]);
}

#[test]
fn a_start_function_and_initialize_can_be_stopped_in() {
    let text = with_prelude(
        r#"(global $g (mut i32) (i32.const 1)) (table 3 funcref)
          (start $start)
          (func $start (local $i i32)
            loop $l
              (global.set $g (call $same (i32.mul (global.get $g) (i32.const 3))))
              (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))
            end
            (drop (call $yield)))
          (func (export "_initialize")
            (global.set $g (i32.add (global.get $g) (call $same (i32.const 1000)))))
          (func (export "f") (result i32) (i32.add (call $same (i32.const 100000)) (global.get $g)))"#,
    );
    let (results, checked) = everywhere(&text, &[("f", &[])]);
    assert_eq!(results, [i32(101_027)]);
    assert!(checked.ticks > 15);
    let program = load(text.as_bytes(), 1 << 20).unwrap();
    let phases = program.on_guest_stack(|| {
        let calls = [("f".to_owned(), Vec::new())];
        let mut run = Run::new(&program, Variant::Inspect, &calls);
        let mut phases = Vec::new();
        for tick in 1..=checked.ticks {
            assert!(run.go(Until::Tick(Tick(tick))));
            phases.push(run.save().checkpoint.phase);
        }
        phases.dedup();
        phases
    });
    assert_eq!(phases.unwrap(), [Phase::Start, Phase::Initialize, Phase::Main]);
}

#[test]
fn a_start_function_that_is_an_import_or_traps_is_an_ending_like_others() {
    let text = with_prelude(
        r#"(start $start) (func $start (call $tick) unreachable)
          (func (export "f") (result i32) (call $same (i32.const 4)))"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[]), ("f", &[])]);
    assert!(results[0].contains("Unreachable"), "{results:?}");
    assert_eq!(results[1], i32(4));
    let text = r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (export "f" (func $yield)))"#;
    let (_, checked) = everywhere(text, &[("f", &[]), ("f", &[])]);
    assert_eq!((checked.events, checked.ticks), (2, 0));
}

#[test]
fn names_that_look_like_ours_do_no_harm() {
    let text = with_prelude(
        r#"(global (export "wrr.state") (mut i32) (i32.const 5))
          (func (export "wrr.f1") (result i32) (call $same (i32.const 1)))
          (func (export "wrr.2.left") (result i32) (i32.const 2))
          (func (export "run") (result i32) (call $same (i32.const 3)))
          (memory (export "stack") 1)"#,
    );
    let (results, _) = everywhere(&text, &[("wrr.f1", &[]), ("wrr.2.left", &[]), ("run", &[])]);
    assert_eq!(results, [i32(1), i32(2), i32(3)]);
}

#[test]
fn proc_exit_ends_a_run_from_any_depth_also_behind_a_stop() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (func $tick)
        (func $leave (param i32) (call $tick) (call $exit (local.get 0)) (call $tick))
        (func (export "f") (param i32) (result i32) (call $leave (local.get 0)) (i32.const 1)))"#;
    let (results, checked) = everywhere(text, &[("f", &[Val::I32(3)])]);
    assert!(results[0].contains("Exited { code: 3 }"), "{results:?}");
    assert_eq!(checked.events, 1);
}

#[test]
fn a_command_can_be_stopped_too() {
    let text = with_prelude(
        r#"(memory (export "memory") 1) (func (export "_start") (local $i i32)
            loop $l
              (drop (call $random (i32.mul (local.get $i) (i32.const 5000)) (i32.const 8)))
              (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12)))
            end)"#,
    );
    let program = load(text.as_bytes(), 1 << 20).unwrap();
    check(&program, &[("_start".to_owned(), Vec::new())], 100);
    assert!(program.check_entry(&Entry::Command).is_ok());
}

#[test]
fn snapshots_keep_the_pages_that_were_written_and_restore_them() {
    let text = with_prelude(
        r#"(memory (export "memory") 1 4) (data (i32.const 30000) "some") (data (i32.const 40000) "more")
          (func (export "f") (result i32) (local $i i32)
            (memory.fill (i32.const 28672) (i32.const 0) (i32.const 4096))
            loop $l
              (drop (call $random (i32.mul (local.get $i) (i32.const 5000)) (i32.const 8)))
              (if (i32.eq (local.get $i) (i32.const 8)) (then (drop (memory.grow (i32.const 1)))))
              (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20)))
            end
            (i32.load (i32.const 90000)))"#,
    );
    let program = load(text.as_bytes(), 1 << 20).unwrap();
    let calls = [("f".to_owned(), Vec::new())];
    program
        .on_guest_stack(|| {
            let whole = Run::new(&program, Variant::Run, &calls).finish();
            let mut run = Run::new(&program, Variant::Run, &calls);
            run.guest.track(PageStore::new(), None).unwrap();
            let mut pages = vec![0; 4096];
            for event in (0..20).step_by(3) {
                assert!(run.go(Until::Event(EventIndex(event))));
                let (checkpoint, new_pages) = run.guest.snapshot().unwrap();
                pages.extend(new_pages);
                let hash = run.guest.state_hash().unwrap();
                let entry = Entry::Export { name: "f".to_owned(), args: Vec::new() };
                let host = Fake::at(EventIndex(event));
                let mut other =
                    crate::Guest::to_restore(&program, Variant::Inspect, &entry, host).unwrap();
                other
                    .restore::<crate::Refusal>(&checkpoint, |memories| {
                        for (memory, state) in memories.into_iter().zip(&checkpoint.memories) {
                            assert!(memory.iter().all(|&byte| byte == 0));
                            for run in &state.runs {
                                let (at, len) =
                                    (run.page as usize * 4096, run.count as usize * 4096);
                                let from = run.id.0 as usize * 4096;
                                memory[at..at + len].copy_from_slice(&pages[from..from + len]);
                            }
                        }
                        Ok(())
                    })
                    .unwrap();
                assert_eq!(other.state_hash().unwrap(), hash, "at event {event}");
                assert!(matches!(other.go(Until::End), Ok(crate::Reached::Ended(_))));
                assert_eq!(other.state_hash().unwrap(), whole.hash);
            }
            assert_eq!(run.finish(), whole);
        })
        .unwrap();
}
