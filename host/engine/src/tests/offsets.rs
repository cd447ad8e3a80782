//! Where code comes from: backtraces of transformed code are those of the original.

use super::run::{Run, load};
use crate::{Reached, Until};
use std::fmt::Write as _;
use wasmparser::{Parser, Payload};
use wasmtime::{Linker, Store, Val, WasmBacktrace};
use wrr_test_generator::control;
use wrr_trace::Tick;
use wrr_transform::{FrameLayout, OrigPc, Piece, Variant};

/// Functions of each frame and offsets in the module, innermost first.
type Stack = Vec<(u32, Option<usize>)>;

/// The backtrace of a call that traps, in the original module.
fn original_stack(bytes: &[u8], name: &str, args: &[Val]) -> Stack {
    let mut config = crate::program::config(1 << 20);
    config
        .cranelift_nan_canonicalization(true)
        .wasm_backtrace_max_frames(Some(std::num::NonZeroUsize::new(20).unwrap()));
    let engine = wasmtime::Engine::new(&config).unwrap();
    let module = wasmtime::Module::new(&engine, bytes).unwrap();
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.func_wrap("wasi_snapshot_preview1", "sched_yield", || 0i32).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let function = instance.get_func(&mut store, name).unwrap();
    let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
    let error = function.call(&mut store, args, &mut results).unwrap_err();
    let trace = error.downcast_ref::<WasmBacktrace>().unwrap();
    trace.frames().iter().map(|frame| (frame.func_index(), frame.module_offset())).collect()
}

/// The same of a guest that goes on to its end.
fn guest_stack(run: &mut Run<'_>) -> Stack {
    match run.guest.go(Until::End).unwrap() {
        Reached::Ended(ended) => {
            let (_, backtrace) = ended.trap.expect("it traps");
            backtrace.frames.iter().map(|frame| (frame.function, frame.module_offset)).collect()
        }
        Reached::Stopped => unreachable!("nobody asked for a stop"),
    }
}

/// Stops at every tick before the trap, in both variants, and compares the backtraces.
fn check_stacks(text: &str, name: &str, args: &[Val]) {
    let bytes = wat::parse_str(text).unwrap();
    let expected = original_stack(&bytes, name, args);
    assert!(expected.len() > 1, "{expected:?}");
    let program = load(&bytes, 1 << 20).unwrap();
    let calls = [(name.to_owned(), args.to_vec())];
    program
        .on_guest_stack(|| {
            for variant in [Variant::Run, Variant::Counted, Variant::Inspect] {
                let mut run = Run::new(&program, variant, &calls);
                assert_eq!(guest_stack(&mut run), expected, "whole, {variant:?}");
            }
            let mut whole = Run::new(&program, Variant::Inspect, &calls);
            guest_stack(&mut whole);
            for tick in 1..=whole.guest.tick().0 {
                let mut run = Run::new(&program, Variant::Inspect, &calls);
                assert!(run.go(Until::Tick(Tick(tick))));
                let saved = run.save();
                let frames = &saved.checkpoint.frames;
                assert_eq!(guest_stack(&mut run), expected, "after tick {tick}, {frames:?}");
                for variant in [Variant::Run, Variant::Counted, Variant::Inspect] {
                    let mut run = Run::restored(&program, variant, &calls, &saved);
                    assert_eq!(guest_stack(&mut run), expected, "restored at {tick}, {frames:?}");
                }
            }
        })
        .unwrap();
}

const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (memory 1) (table 2 funcref)
    (type $t (func (param i32) (result i32)))
    (func $tick)
    (func $same (type $t) (call $tick) (local.get 0))
    (func $divides (type $t) (call $tick) (drop (call $yield)) (i32.div_s (i32.const 1) (local.get 0)))
    (elem (i32.const 0) func $divides) (elem $e func $divides) (data $d "1234")
"#;

#[test]
fn backtraces_name_the_original_function_and_offset_also_in_continuations() {
    let functions = [
        // Behind a call, in nested blocks, with operands that wait.
        r#"i32.const 5 (call $same (i32.const 1))
           block (result i32) i32.const 3 (call $divides (local.get $x)) i32.mul end i32.add i32.add"#,
        // In a loop, in the second iteration.
        r#"(local.set $x (i32.const 2)) (call $same (i32.const 1))
           loop (call $tick)
             (drop (call $divides (local.tee $x (i32.sub (local.get $x) (i32.const 1)))))
             (br_if 0 (call $same (i32.const 1)))
           end"#,
        // In a loop without calls, and in the function itself.
        r#"(local.set $x (i32.const 70000)) (call $tick) i32.const 1
           loop (local.set $x (i32.sub (local.get $x) (i32.const 1)))
             (br_if 0 (i32.gt_u (local.get $x) (i32.const 69990))) end
           loop (br_if 0 (i32.load (local.get $x))) end"#,
        // In either arm of an if.
        r#"(if (result i32) (call $same (local.get $x)) (then (i32.const 1))
             (else (call $tick) (call $same (i32.const 4)) (drop) (call $divides (i32.const 0)) (call $tick)))"#,
        // Through a table and a reference, with handlers around.
        r#"block try_table (catch_all 0) (call $tick)
             (drop (call_indirect (type $t) (i32.const 1) (i32.const 0)))
             (drop (call_ref $t (local.get $x) (ref.func $divides))) end end i32.const 2"#,
        // In an instruction that continuations leave to the main module.
        r#"(call $tick) (memory.init $d (i32.const 0) (i32.const 3) (i32.const 4)) (i32.const 1)"#,
        r#"(call $tick) (table.init $e (i32.const 2) (i32.const 0) (local.get $x))
           (table.init $e (i32.const 2) (i32.const 0) (i32.const 1)) (i32.const 1)"#,
        // Of a call itself.
        r#"(call $tick) (drop (call $yield)) (call_indirect (type $t) (i32.const 1) (i32.const 1))"#,
        // Right behind a call it would be given the call's offset: Cranelift makes one instruction of a branch to a
        // trap, also in the original (`if ... end unreachable`), and names the branch.
        r#"(call $tick) (call $same (i32.const 4)) (drop) (i32.store (local.get $x) (i32.const 1)) unreachable"#,
    ];
    for function in functions {
        let text = format!(
            "(module {PRELUDE} (func $middle (type $t) (local $x i32) {function})
              (func (export \"f\") (param $n i32) (result i32)
                (i32.add (call $same (i32.const 3)) (call $middle (local.get $n)))))"
        );
        println!("{function}");
        check_stacks(&text, "f", &[Val::I32(0)]);
    }
}

#[test]
fn backtraces_in_large_functions_are_right() {
    let mut text = format!("(module {PRELUDE} (func (export \"f\") (param $x i32) (result i32)\n");
    for part in 0..300 {
        let _ = writeln!(text, "block (call $tick) (drop (call $same (i32.const {part}))) end");
    }
    text += "(call $divides (local.get $x))";
    for part in 0..300 {
        let _ = writeln!(text, "(drop (call $same (i32.const {part})))");
    }
    text += "))";
    let bytes = wat::parse_str(&text).unwrap();
    let program = load(&bytes, 1 << 20).unwrap();
    let expected = original_stack(&bytes, "f", &[Val::I32(0)]);
    let calls = [("f".to_owned(), vec![Val::I32(0)])];
    program
        .on_guest_stack(|| {
            for tick in [1, 600, 903] {
                let mut run = Run::new(&program, Variant::Inspect, &calls);
                assert!(run.go(Until::Tick(Tick(tick))));
                assert_eq!(guest_stack(&mut run), expected, "after tick {tick}");
            }
        })
        .unwrap();
}

/// Offsets of all instructions of each defined function.
fn instructions(bytes: &[u8]) -> Vec<Vec<u32>> {
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            let operators = body.get_operators_reader().unwrap().into_iter_with_offsets();
            functions.push(operators.map(|op| op.unwrap().1 as u32).collect());
        }
    }
    functions
}

#[test]
fn offsets_there_and_back_are_the_identity() {
    let (mut found, mut all, mut in_pieces) = (0, 0, 0);
    for seed in 1000..1015 {
        let text = control::module(seed);
        let program = load(text.as_bytes(), 1 << 20).unwrap();
        let bytes = crate::module_bytes(text.clone().into_bytes()).unwrap();
        let original = program.original().unwrap();
        for (defined, offsets) in instructions(&bytes).into_iter().enumerate() {
            let function = original.imported_function_count() + defined as u32;
            let layouts = program.layouts(function).unwrap();
            let bytes = FrameLayout::to_bytes(&layouts);
            assert_eq!(FrameLayout::from_bytes(&bytes).as_ref(), Some(&*layouts));
            assert_eq!(FrameLayout::from_bytes(&bytes[..bytes.len() - 1]), None);
            for variant in [Variant::Run, Variant::Counted, Variant::Inspect] {
                let map = program.function_map(variant, function).unwrap();
                all += offsets.len();
                for &at in &offsets {
                    if let Some(xform) = map.transformed(OrigPc(at)) {
                        assert_eq!(
                            map.original(xform),
                            OrigPc(at),
                            "seed {seed}, function {function}"
                        );
                        found += 1;
                    }
                }
                for (site, layout) in layouts.iter().enumerate() {
                    let piece = Piece::Tail { function, site: site as u32 };
                    let map = program.piece_map(variant, piece).unwrap();
                    for &at in offsets.iter().filter(|&&at| at > layout.at.0) {
                        if let Some(xform) = map.transformed(OrigPc(at)) {
                            assert_eq!(map.original(xform), OrigPc(at), "seed {seed}, {piece:?}");
                            in_pieces += 1;
                        }
                    }
                }
            }
        }
    }
    // A little cannot be reached.
    assert!(found * 100 > all * 93 && in_pieces > 1000, "{found} of {all}, {in_pieces}");
}
