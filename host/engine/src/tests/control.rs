//! Blocks, loops, branches and waiting operands around a stop.

use super::run::{everywhere, everywhere_with, i32, i64};
use std::fmt::Write as _;
use wasmtime::Val;

/// A function that only counts a tick, one that gives its argument, and an import.
const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (func $tick)
    (func $same (param i32) (result i32) (call $tick) (local.get 0))
"#;

fn with_prelude(text: &str) -> String {
    format!("(module {PRELUDE} {text})")
}

#[test]
fn operands_that_wait_at_several_levels_survive_a_stop() {
    let text = with_prelude(
        r#"(func (export "f") (param $x i32) (result i32)
            i32.const 1000
            local.get $x
            (call $same (i32.const 7))
            block $a (result i32)
              local.get $x
              i32.const 3
              (call $same (local.get $x))
              block $b (result i32)
                i32.const 50
                (i32.add (local.get $x) (i32.const 1))
                (call $same (i32.const 9))
                i32.add
                i32.add
                (drop (call $yield))
                (drop (br_if $a (i32.const 5) (i32.eq (call $same (local.get $x)) (i32.const 77))))
              end
              i32.mul
              i32.add
              i32.sub
            end
            i32.mul
            i32.add
            i32.sub)"#,
    );
    let by_hand =
        |x: i32| 1000 - (x + 7 * if x == 77 { 5 } else { x - (3 + x * (50 + x + 1 + 9)) });
    for x in [2, 77] {
        let (results, checked) = everywhere(&text, &[("f", &[Val::I32(x)])]);
        assert_eq!(results, [i32(by_hand(x))]);
        assert!(checked.stops > 10);
    }
}

#[test]
fn locals_that_change_while_their_old_value_waits_keep_both() {
    let text = with_prelude(
        r#"(func (export "f") (param $x i32) (result i32) (local $n i32)
            local.get $x      ;; waits through the loop
            local.get $x      ;; too, and is changed behind it
            loop $again (param i32) (result i32)
              local.get $n
              (call $same (local.get $x))
              local.set $n
              (local.set $x (i32.add (local.get $x) (i32.const 10)))
              i32.add
              (call $tick)
              (br_if $again (i32.lt_s (local.get $x) (i32.const 40)))
            end
            local.tee $x
            (local.set $x (call $same (i32.const 1)))
            local.get $x
            i32.add
            i32.mul)"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[Val::I32(4)])]);
    // 4 + 0 + 4 + 14 + 24, plus 1, times 4.
    assert_eq!(results, [i32((4 + 4 + 14 + 24 + 1) * 4)]);
}

#[test]
fn an_operand_keeps_its_value_when_its_local_changes_before_a_stop() {
    let text = with_prelude(
        r#"(func (export "f") (param $x i32) (param $y i32) (result i32)
            local.get $x
            local.get $x
            (local.set $x (i32.const 50))
            (call $tick)
            local.get $x
            (drop (local.tee $x (i32.const 60)))
            i32.add
            (drop (call $yield))
            ;; Only one way changes it.
            (if (local.get $y) (then (local.set $x (i32.const 70)) (call $tick)))
            local.get $x
            block
              (call $tick)
              (br_if 0 (i32.eqz (local.get $y)))
              (local.set $x (i32.const 80))
              (call $tick)
            end
            (call $tick)
            local.get $x
            (local.set $x (i32.const 1000))
            (if (i32.eqz (local.get $y)) (then (call $tick)) (else (local.set $x (i32.const 2000))))
            (call $tick)
            i32.add
            i32.add
            i32.sub
            (i32.mul (local.get $x)))"#,
    );
    let (results, _) = everywhere(
        &text,
        &[("f", &[Val::I32(4), Val::I32(0)]), ("f", &[Val::I32(4), Val::I32(1)])],
    );
    assert_eq!(results, [i32((4 - (54 + 60 + 60)) * 1000), i32((4 - (54 + 70 + 80)) * 2000)]);
}

#[test]
fn an_inner_loop_can_go_on_with_the_outer_one() {
    let text = with_prelude(
        r#"(func (export "f") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
            loop $outer
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (local.set $j (i32.const 0))
              loop $inner
                (local.set $j (i32.add (local.get $j) (i32.const 1)))
                (local.set $sum (i32.add (local.get $sum) (call $same (i32.mul (local.get $i) (local.get $j)))))
                (if (i32.and (i32.eq (local.get $j) (i32.const 2)) (i32.lt_s (local.get $i) (local.get $n)))
                  (then (drop (call $yield)) (br $outer)))
                (br_if $inner (i32.lt_s (local.get $j) (i32.const 3)))
              end
              (br_if $outer (i32.lt_s (local.get $i) (local.get $n)))
            end
            (local.get $sum))"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[Val::I32(4)])]);
    assert_eq!(results, [i32((1 + 2 + 3) * 3 + 4 * 6)]);
}

#[test]
fn loops_without_calls_stop_in_every_iteration() {
    let text = with_prelude(
        r#"(func (export "f") (param $n i64) (result i64) (local $sum i64) (local $m i64)
            loop $outer (result i64)
              (local.set $m (local.get $n))
              local.get $sum
              loop $inner (param i64) (result i64)
                local.get $m
                i64.add
                (br_if $inner (i64.ne (local.tee $m (i64.sub (local.get $m) (i64.const 1))) (i64.const 0)))
              end
              local.set $sum
              (br_if $outer (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0)))
              local.get $sum
            end)
          (func (export "g") (result i32) (local $i i32)
            (loop $a (loop $b (loop $c
              (br_if $c (i32.and (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1)))
              (br_if $b (i32.and (local.get $i) (i32.const 2)))
              (br_if $a (i32.lt_s (local.get $i) (i32.const 9))))))
            (call $tick)
            (local.get $i))"#,
    );
    let (results, checked) = everywhere(&text, &[("f", &[Val::I64(6)]), ("g", &[])]);
    assert_eq!(results[0], i64((1..=6).map(|n| n * (n + 1) / 2).sum()));
    assert!(checked.ticks > 35);
}

#[test]
fn both_arms_of_an_if_can_be_stopped_in() {
    let text = with_prelude(
        r#"(func (export "f") (param $x i32) (result i32) (local $k i64)
            i32.const 100
            i64.const 5
            (call $same (local.get $x))
            if $i (param i64) (result i32 i64)
              i64.const 2
              i64.mul
              (call $same (i32.const 1))
              if (param i64) (result i64) (call $tick) i64.const 1 i64.add else end
              local.set $k
              i32.const 3
              (call $tick)
              (br_if $i (i32.const 60) (i64.const 70) (i32.eq (local.get $x) (i32.const 2)))
              drop
              drop
              (drop (call $same (i32.const 4)))
              local.get $k
            else
              (call $tick)
              i64.const 100
              i64.add
              i32.const 8
              (drop (call $yield))
              if (param i64) (result i32 i64)
                (call $tick)
                drop
                (return (call $same (i32.const -1)))
              else
                i32.wrap_i64
                (call $same (i32.const 6))
                i64.extend_i32_u
              end
            end
            i32.wrap_i64
            i32.add
            (if (i32.eq (local.get $x) (i32.const 1)) (then (call $tick) (call $tick)))
            i32.sub)"#,
    );
    let (results, _) =
        everywhere(&text, &[("f", &[Val::I32(0)]), ("f", &[Val::I32(1)]), ("f", &[Val::I32(2)])]);
    assert_eq!(results, [i32(-1), i32(100 - (3 + 11)), i32(100 - (60 + 70))]);
}

#[test]
fn blocks_with_parameters_and_several_results_can_be_stopped_in() {
    let text = with_prelude(
        r#"(func $three (param i32) (result i32 i64 f64)
            (call $tick) (local.get 0) i64.const 20 f64.const 0.5)
          (func (export "f") (param $x i32) (result i32 i64 f64)
            f64.const 1
            (call $three (local.get $x))
            block $b (param f64 i32 i64 f64) (result i32 i64 f64)
              (call $tick)
              f64.const 4
              f64.mul
              block $c (param i32 i64 f64) (result i32 i64 f64)
                (call $three (call $same (i32.const 6)))
                (drop (call $yield))
                (br_if $b (i32.const 0))
                br $c
              end
              (call $tick)
              br $b
            end)
          (func (export "g") (param $x i32) (result i32)
            (call $same (i32.const 3))
            (call $three (local.get $x))
            (call $tick)
            drop
            (call $tick)
            i32.wrap_i64
            i32.sub
            (call $tick)
            i32.add)"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[Val::I32(0)]), ("g", &[Val::I32(30)])]);
    assert_eq!(results[1], i32(3 + 30 - 20));
}

#[test]
fn an_interpreter_loop_with_a_large_switch_can_be_stopped_in() {
    // Operation n of 0..CASES adds n and calls; the program counter goes through all of them.
    const CASES: usize = 60;
    let mut text = String::from(
        "(memory 1) (func (export \"f\") (param $pc i32) (result i32) (local $acc i32) (local $op i32)\n loop $next\n",
    );
    for case in (0..=CASES).rev() {
        let _ = writeln!(text, "block $case{case}");
    }
    text += "(local.set $op (i32.load8_u (local.get $pc)))
             (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
             (br_table";
    for case in 0..=CASES {
        let _ = write!(text, " $case{case}");
    }
    text += " (local.get $op))\n";
    for case in 0..CASES {
        let _ = writeln!(
            text,
            "end
             (local.set $acc (i32.add (local.get $acc) (call $same (i32.const {case}))))
             (if (i32.eq (local.get $op) (i32.const 13)) (then (drop (call $yield))))
             br $next"
        );
    }
    text += "end end (local.get $acc))\n(data (i32.const 0) \"";
    for case in 0..CASES {
        let _ = write!(text, "\\{case:02x}");
    }
    let _ = write!(text, "\\{:02x}\")", CASES);
    let (results, checked) =
        everywhere_with(&with_prelude(&text), &[("f", &[Val::I32(0)])], 1 << 20, 60);
    assert_eq!(results, [i32((0..CASES as i32).sum())]);
    assert!(checked.ticks > 3 * CASES as u64);
}

#[test]
fn code_that_cannot_be_reached_does_not_matter() {
    let text = with_prelude(
        r#"(func (export "f") (param $x i32) (result i32)
            block $out (result i32)
              i32.const 4
              loop $l (param i32) (result i32)
                (call $same (local.get $x))
                br $out
                (call $same)
                drop
                block (call $tick) loop (drop (call $yield)) br 0 end unreachable end
                i32.const 3
                br_table $l $l (i32.const 1)
              end
              (call $tick)
              unreachable
              call $same
              i32.add
              if (result i32) i32.const 1 else (call $tick) i32.const 2 end
            end
            (if (result i32) (local.get $x)
              (then (return (call $same (i32.const 8))) (call $tick) (i32.const 6) (drop))
              (else (call $tick) (unreachable) (call $tick)))
            i32.add)"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[Val::I32(3)]), ("f", &[Val::I32(0)])]);
    assert_eq!(results[0], i32(8));
    assert!(results[1].contains("Unreachable"), "{results:?}");
}

#[test]
fn ten_thousand_frames_of_recursion_are_captured_and_restored() {
    let text = with_prelude(
        r#"(func $deep (export "f") (param $n i32) (result i32)
            (i32.add (local.get $n)
              (if (result i32) (i32.eqz (local.get $n))
                (then (drop (call $yield)) (call $same (i32.const 5)))
                (else (call $deep (i32.sub (local.get $n) (i32.const 1)))))))"#,
    );
    let (results, checked) = everywhere_with(&text, &[("f", &[Val::I32(10_000)])], 16 << 20, 3);
    assert_eq!(results, [i32(5 + 10_000 * 10_001 / 2)]);
    assert!(checked.frames > 9_000);
}

#[test]
fn frames_of_constants_take_more_room_than_the_native_stack() {
    // The compiler knows all these locals, so that they are nowhere on the native stack; a record has them, and so have
    // the native frames of continuations, which therefore need much more stack.
    let mut text =
        String::from("(func $deep (export \"f\") (param $n i32) (result i64) (local $sum i64)\n");
    for local in 0..900 {
        let _ = writeln!(text, "(local $l{local} i64)");
    }
    text += "(if (i32.eqz (local.get $n)) (then (drop (call $yield)) (return (i64.const 0))))
             (local.set $sum (call $deep (i32.sub (local.get $n) (i32.const 1))))\n";
    for local in 0..900 {
        let _ = writeln!(text, "(local.set $sum (i64.add (local.get $sum) (local.get $l{local})))");
    }
    text += "(i64.add (local.get $sum) (i64.const 1)))";
    let (results, _) =
        everywhere_with(&with_prelude(&text), &[("f", &[Val::I32(2000)])], 64 << 20, 1);
    assert_eq!(results, [i64(2000)]);
}

#[test]
fn functions_of_fifty_thousand_instructions_can_be_stopped_in() {
    let mut text = String::from("(func (export \"f\") (param $x i32) (result i32)\n");
    for part in 0..10_000 {
        let _ = writeln!(text, "local.get $x i32.const {part} i32.add local.set $x");
        if part % 500 == 0 {
            text += "local.get $x i32.const 1 (call $same (i32.const 1)) i32.add i32.add local.set $x\n";
        }
        if part % 1000 == 0 {
            text += "loop (local.set $x (i32.add (local.get $x) (call $same (i32.const 1)))) end\n";
        }
    }
    text += "local.get $x)";
    let (results, _) = everywhere_with(&with_prelude(&text), &[("f", &[Val::I32(0)])], 1 << 20, 8);
    assert_eq!(results, [i32((0..10_000).sum::<i32>() + 20 * 2 + 10)]);
}

#[test]
fn five_hundred_nested_blocks_can_be_stopped_in() {
    let mut text = String::from("(func (export \"f\") (param $x i32) (result i32)\n");
    for level in 0..500 {
        text += match level % 4 {
            0 => "i32.const 1 block (result i32)\n",
            1 => "local.get $x loop (result i32)\n",
            2 => "i32.const 1 (i32.const 1) if (result i32)\n",
            _ => "(call $same (i32.const 2)) block (result i32)\n",
        };
    }
    text += "(call $same (i32.const 1000)) (drop (call $yield))\n";
    for level in (0..500).rev() {
        text += match level % 4 {
            2 => "else unreachable end i32.add\n",
            _ => "(call $tick) end i32.add\n",
        };
    }
    text += ")";
    let (results, _) = everywhere_with(&with_prelude(&text), &[("f", &[Val::I32(3)])], 1 << 20, 12);
    assert_eq!(results, [i32(1000 + 125 * (1 + 3 + 1 + 2))]);
}

#[test]
fn a_call_that_traps_after_a_stop_leaves_a_usable_guest() {
    let text = with_prelude(
        r#"(global $g (mut i32) (i32.const 0))
          (func (export "f") (param $x i32) (result i32)
            (global.set $g (i32.add (global.get $g) (i32.const 1)))
            (i32.div_s (call $same (i32.const 12)) (call $same (local.get $x))))"#,
    );
    let (results, _) =
        everywhere(&text, &[("f", &[Val::I32(0)]), ("f", &[Val::I32(5)]), ("f", &[Val::I32(0)])]);
    assert_eq!(results[1], i32(2));
    assert!(results[0].contains("DivideByZero") && results[2].contains("DivideByZero"));
}
