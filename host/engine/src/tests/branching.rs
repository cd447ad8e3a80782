//! Calls with which a guest controls its own checkpoints: served like others, stopped in, held, and given data.

use super::run::{Invocation, check, everywhere, i32, load};
use crate::{Entry, Guest, Program, Reached, Refusal, Until};
use wasmtime::{Linker, Store, Val};
use wrr_trace::{Call, Errno, Function, HostState, Outcome, Pause, Reply, Tick};
use wrr_transform::Variant;
use wrr_wasi::{ControlAnswer, Host, Source, Stop};

/// Makes room at the end of memory, which it lets grow.
const PRELUDE: &str = r#"
    (import "wrr:guest/control@0.1.0" "checkpoint" (func $checkpoint (param i32 i32) (result i32)))
    (import "wrr:guest/control@0.1.0" "rollback" (func $rollback (param i32 i32) (result i32)))
    (import "wrr:guest/control@0.1.0" "mark" (func $mark (param i32 i32)))
    (import "wrr:guest/control@0.1.0" "branch" (func $branch (param i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "name")
    (global $end (mut i32) (i32.const 65536))
    (func $tick)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $i i32)
      (loop $again
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
      (drop (memory.grow (i32.const 2)))
      (global.get $end)
      (global.set $end (i32.add (global.get $end) (i32.const 131072))))
"#;

fn with_prelude(text: &str) -> String {
    format!("(module {PRELUDE} {text})")
}

const ALL: &str = r#"
    (func $sum (param $at i32) (param $len i32) (result i32) (local $sum i32)
      (loop $next
        (if (local.get $len) (then
          (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (local.set $len (i32.sub (local.get $len) (i32.const 1)))
          (br $next))))
      (local.get $sum))
    (func (export "f") (param $rounds i32) (result i32) (local $all i32)
      (loop $again
        (local.set $all (i32.xor (local.get $all) (call $checkpoint (i32.const 0) (i32.const 4))))
        (call $mark (i32.const 0) (i32.const 0))
        (call $tick)
        (call $branch (i32.const 0) (i32.const 3) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then
          (local.set $all (i32.add (local.get $all)
            (call $sum (i32.load (i32.const 68)) (i32.rem_u (i32.load (i32.const 72)) (i32.const 20)))))))
        (local.set $all (i32.xor (local.get $all) (call $rollback (i32.const 1) (i32.const 1))))
        (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
      (local.get $all))"#;

#[test]
fn a_guest_can_be_stopped_and_restored_around_its_checkpoints_and_branches() {
    let (_, checked) = everywhere(&with_prelude(ALL), &[("f", &[Val::I32(4)])]);
    assert_eq!(checked.events, 4 * 4);
    assert!(checked.stops > 100, "{checked:?}");
}

/// A host that holds every call until it is answered.
#[derive(Default)]
struct Holding {
    answer: Option<ControlAnswer>,
}

impl Source for Holding {
    fn outcome(
        &mut self,
        _tick: Tick,
        call: &Call,
        _refused: Option<Errno>,
        _memory: &mut [u8],
    ) -> Result<Outcome, Stop> {
        match (call.function, self.answer.take()) {
            (Function::ControlMark, _) => Ok(Outcome::default()),
            (_, Some(ControlAnswer::Checkpoint(n) | ControlAnswer::Rollback(n))) => {
                Ok(Outcome { reply: Reply::Number(n), ..Outcome::default() })
            }
            (_, Some(ControlAnswer::Branch(data))) => Ok(Outcome {
                reply: Reply::Received(u16::from(data.is_some())),
                data: data.unwrap_or_default(),
                ..Outcome::default()
            }),
            (function, None) => Err(Stop::Held(function)),
        }
    }

    fn answer(&mut self, answer: ControlAnswer) {
        self.answer = Some(answer);
    }

    fn state(&self) -> HostState {
        HostState::default()
    }
}

fn guest(program: &Program, variant: Variant, args: Vec<Val>) -> Guest {
    let entry = Entry::Export { name: "f".to_owned(), args: Vec::new() };
    Guest::with_args(program, variant, &entry, args, Host::new(Holding::default())).unwrap()
}

/// Runs on with these answers, one for each call that is held; gives the functions and what came of it.
fn answered(
    program: &Program,
    guest: &mut Guest,
    answers: Vec<ControlAnswer>,
) -> (Vec<Function>, Option<String>) {
    let mut held = Vec::new();
    let mut answers = answers.into_iter();
    loop {
        let reached = program.on_guest_stack(|| guest.go(Until::End)).and_then(|r| r).unwrap();
        match reached {
            Reached::Stopped => {
                assert!(guest.is_waiting());
                let Pause::Call { function, .. } = guest.pause() else { panic!() };
                held.push(*function);
                let Some(answer) = answers.next() else { return (held, None) };
                guest.host().answer(answer);
            }
            Reached::Ended(ended) => return (held, Some(format!("{:?}", ended.how))),
        }
    }
}

#[test]
fn a_call_that_is_held_is_made_again_with_its_answer() {
    use Function::{ControlBranch, ControlCheckpoint, ControlRollback};
    let program = load(with_prelude(ALL).as_bytes(), 1 << 20).unwrap();
    for variant in [Variant::Run, Variant::Counted, Variant::Inspect] {
        for data in [None, Some(Vec::new()), Some(vec![7; 3]), Some(vec![1; 100_000])] {
            let mut guest = guest(&program, variant, vec![Val::I32(1)]);
            // It waits for as long as nobody answers.
            for _ in 0..3 {
                let (held, end) = answered(&program, &mut guest, Vec::new());
                assert_eq!((held, end), (vec![ControlCheckpoint], None));
            }
            let kept = guest.keep().unwrap();
            let answers = || {
                vec![
                    ControlAnswer::Checkpoint(5),
                    ControlAnswer::Branch(data.clone()),
                    ControlAnswer::Rollback(1),
                ]
            };
            let sum = |data: &[u8]| {
                let first = &data[..data.len() % 20];
                first
                    .iter()
                    .fold(0_i32, |sum, byte| sum.wrapping_mul(31).wrapping_add(i32::from(*byte)))
            };
            let expected = 1 ^ (5 + data.as_deref().map_or(0, sum));
            let all = [ControlCheckpoint, ControlCheckpoint, ControlBranch, ControlRollback];
            for _ in 0..2 {
                let (held, end) = answered(&program, &mut guest, answers());
                assert_eq!(held, all[1..], "{variant:?}");
                let end = end.unwrap();
                assert!(end.contains(&format!("I32({expected})")), "{end}, not {expected}");
                guest.host().set_events(kept.events());
                if !guest.roll_back(&kept).unwrap() {
                    let entry = Entry::Export { name: "f".to_owned(), args: Vec::new() };
                    let host = Host::at(Holding::default(), kept.events());
                    let args = vec![Val::I32(1)];
                    guest = Guest::fork_with(&program, variant, &entry, args, &kept, host).unwrap();
                }
            }
        }
    }
}

/// What comes of one call of `branch` that is given these data.
fn branched(text: &str, data: &[u8]) -> String {
    let program = load(text.as_bytes(), 1 << 20).unwrap();
    let mut guest = guest(&program, Variant::Run, Vec::new());
    let answers = vec![ControlAnswer::Branch(Some(data.to_vec()))];
    answered(&program, &mut guest, answers).1.unwrap()
}

#[test]
fn bad_pointers_and_bad_rooms_are_traps() {
    let module = |realloc: &str, call: &str| {
        format!(
            r#"(module
                (import "wrr:guest/control@0.1.0" "branch" (func $branch (param i32 i32 i32)))
                (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
                (memory (export "memory") 1)
                (data (i32.const 0) "\ff\fe")
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "f") (call $branch {call})))"#
        )
    };
    let good = "(i32.const 8) (i32.const 1) (i32.const 64)";
    let returned = branched(&module("(i32.const 128)", good), b"data");
    assert!(returned.contains("Returned"), "{returned}");
    for (realloc, call, kind) in [
        ("(i32.const 65533)", good, "MemoryOutOfBounds"),
        ("(i32.const -1)", good, "MemoryOutOfBounds"),
        ("unreachable", good, "Unreachable"),
        ("(drop (call $yield)) (i32.const 128)", good, "Unreachable"),
        ("(i32.const 128)", "(i32.const 8) (i32.const 1) (i32.const 65532)", "MemoryOutOfBounds"),
        ("(i32.const 128)", "(i32.const 8) (i32.const 1) (i32.const 66)", "AtomicMisaligned"),
        ("(i32.const 128)", "(i32.const 65530) (i32.const 9) (i32.const 64)", "MemoryOutOfBounds"),
        ("(i32.const 128)", "(i32.const 0) (i32.const 2) (i32.const 64)", "Unreachable"),
        ("(i32.const 128)", "(i32.const 8) (i32.const 1025) (i32.const 64)", "Unreachable"),
    ] {
        let end = branched(&module(realloc, call), b"data");
        assert!(end.contains(kind), "{realloc} {call}: {end}");
    }
}

#[test]
fn imports_that_do_not_fit_are_refused() {
    let refused = |text: &str| match load(text.as_bytes(), 1 << 20) {
        Err(Refusal::Imports(problems)) => problems.join(", "),
        other => panic!("{:?}", other.err()),
    };
    let branch = r#"(import "wrr:guest/control@0.1.0" "branch" (func (param i32 i32 i32)))"#;
    for text in [
        format!("(module {branch})"),
        format!(r#"(module {branch} (memory (export "memory") 1))"#),
        format!(
            r#"(module {branch} (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32) (result i32) (local.get 0)))"#
        ),
    ] {
        assert!(refused(&text).contains("cabi_realloc"));
    }
    let wrong = r#"(module (import "wrr:guest/control@0.1.0" "mark" (func (param i32))))"#;
    assert!(refused(wrong).contains("which is not its type in this interface"));
    let unknown = r#"(module (import "wrr:guest/control@0.1.0" "undo" (func)))"#;
    assert!(refused(unknown).contains("no such function in this interface"));
    let preview1 = r#"(module (import "wasi_snapshot_preview1" "mark" (func (param i32 i32))))"#;
    assert!(refused(preview1).contains("no such function in preview1"));
}

/// A module for this interface runs on another runtime with the provider that is in the examples.
#[test]
fn the_fallback_provides_what_the_interface_has() {
    let engine = wasmtime::Engine::default();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    let fallback = include_str!("../../../../examples/clients/fallback.wat");
    let fallback = wasmtime::Module::new(&engine, wat::parse_str(fallback).unwrap()).unwrap();
    let provider = linker.instantiate(&mut store, &fallback).unwrap();
    linker.instance(&mut store, wrr_trace::CONTROL, provider).unwrap();
    let module = wat::parse_str(with_prelude(ALL)).unwrap();
    let module = wasmtime::Module::new(&engine, module).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let function = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(1)];
    function.call(&mut store, &[Val::I32(3)], &mut results).unwrap();
    assert_eq!(results[0].unwrap_i32(), 0);
}

#[test]
fn names_of_any_kind_go_through() {
    let text = with_prelude(
        r#"(func (export "f") (result i32)
             (call $mark (i32.const 100) (i32.const 1024))
             (i32.const 1))"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[])]);
    assert_eq!(results, [i32(1)]);
    let calls: Vec<Invocation> = vec![("f".to_owned(), Vec::new())];
    check(&load(text.as_bytes(), 1 << 20).unwrap(), &calls, 10);
}
