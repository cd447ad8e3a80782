//! References, vectors and unusual floats that live across a stop, and calls through references.

use super::run::{everywhere, i32, i64};
use wasmtime::Val;

const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (type $t (func (param i32) (result i32)))
    (func $tick)
    (func $same (type $t) (call $tick) (local.get 0))
    (func $next (type $t) (call $tick) (i32.add (local.get 0) (i32.const 1)))
    (func $asks (type $t) (drop (call $yield)) (i32.mul (local.get 0) (i32.const 2)))
    (table $table funcref (elem $same $next $asks $tick))
"#;

fn with_prelude(text: &str) -> String {
    format!("(module {PRELUDE} {text})")
}

#[test]
fn calls_through_tables_and_references_are_captured() {
    let text = with_prelude(
        r#"(func (export "f") (param $n i32) (result i32)
            (i32.const 1000)
            (call_indirect $table (type $t) (i32.const 7) (local.get $n))
            (call_ref $t (call_ref $t (i32.const 9) (ref.func $asks)) (ref.func $next))
            i32.add
            i32.add)"#,
    );
    let calls: Vec<[Val; 1]> = (0..5).map(|n| [Val::I32(n)]).collect();
    let calls: Vec<(&str, &[Val])> = calls.iter().map(|args| ("f", &args[..])).collect();
    let (results, _) = everywhere(&text, &calls);
    assert_eq!(results[..3], [i32(1007 + 19), i32(1008 + 19), i32(1014 + 19)]);
    assert!(results[3].contains("BadSignature"), "{results:?}");
    assert!(results[4].contains("TableOutOfBounds"), "{results:?}");
}

#[test]
fn tail_calls_of_all_kinds_leave_no_frame() {
    let text = with_prelude(
        r#"(func $count (param $n i32) (param $sum i32) (result i32)
            (call $tick)
            (if (i32.eqz (local.get $n)) (then (return_call $asks (local.get $sum))))
            (return_call $count (i32.sub (local.get $n) (i32.const 1)) (i32.add (local.get $sum) (local.get $n))))
          (func (export "f") (param $n i32) (result i32)
            (i32.add (i32.const 1) (call $count (local.get $n) (call $same (i32.const 0)))))
          (func (export "g") (param $n i32) (result i32)
            (drop (call $same (i32.const 3)))
            (return_call_indirect $table (type $t) (call $same (i32.const 4)) (local.get $n)))
          (func (export "h") (param $n i32) (result i32)
            (return_call_ref $t (call $same (local.get $n)) (ref.func $asks)))
          (func (export "yield") (result i32)
            (call $tick)
            (return_call $yield))"#,
    );
    let (results, _) = everywhere(
        &text,
        &[("f", &[Val::I32(9)]), ("g", &[Val::I32(1)]), ("h", &[Val::I32(21)]), ("yield", &[])],
    );
    assert_eq!(results[..3], [i32(91), i32(5), i32(42)]);
}

#[test]
fn references_with_and_without_null_survive_a_stop() {
    let text = with_prelude(
        r#"(global $kept (mut funcref) (ref.null func))
          (global $strict (mut (ref $t)) (ref.func $same))
          (table $strict_table 2 (ref $t) (ref.func $next))
          (func $use (param $f (ref $t)) (param $g (ref null $t)) (param $e externref) (param $unused (ref $t))
            (result i32)
            (local $h (ref $t))
            (call $tick)
            (local.set $h (local.get $f))
            loop $l
              (call $tick)
              (local.set $h (ref.func $asks))
            end
            local.get $f
            (call $tick)
            (local.set $h)
            (i32.add
              (call_ref $t (i32.const 1) (local.get $h))
              (i32.add (ref.is_null (local.get $e))
                (if (result i32) (ref.is_null (local.get $g))
                  (then (call $same (i32.const 10)))
                  (else (call_ref $t (i32.const 20) (ref.as_non_null (local.get $g))))))))
          (func (export "f") (result i32) (local $f funcref) (local $x externref) (local $later (ref $t))
            (local.set $f (ref.func $tick))
            (call $use (ref.func $next) (ref.null $t) (local.get $x) (ref.func $same))
            (call $use (ref.func $asks) (ref.func $next) (ref.null extern) (ref.func $next))
            (local.set $later (ref.func $next))
            (call $tick)
            (global.set $kept (local.get $f))
            (global.set $strict (local.get $later))
            (table.set $strict_table (i32.const 1) (global.get $strict))
            (table.set $table (i32.const 0) (ref.func $asks))
            (drop (table.grow $strict_table (local.get $later) (i32.const 3)))
            (call $tick)
            (call_ref $t (i32.const 300) (table.get $strict_table (i32.const 4)))
            i32.add
            i32.add
            (call_ref $t (i32.const 0) (local.get $later))
            i32.add)
          (func (export "null") (param $n i32) (result i32) (local $r (ref null $t))
            (call $tick)
            block $null
              (br_on_null $null (local.get $r))
              (call $tick)
              drop
            end
            block $some (result (ref $t))
              (br_on_non_null $some (local.get $r))
              (call $tick)
              (br_on_non_null $some (global.get $strict))
              unreachable
            end
            (call $tick)
            local.tee $r
            (call $tick)
            (br_on_null 0 (i32.const 4) (local.get $r))
            (call $tick)
            drop
            drop
            drop
            (call_ref $t (local.get $n) (local.get $r)))"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[]), ("null", &[Val::I32(5)])]);
    assert_eq!(results, [i32(2 + 1 + 10 + 2 + 1 + 21 + 301 + 1), i32(6)]);
}

#[test]
fn equal_types_under_other_indices_are_the_same() {
    // $p and $q are equal only because $a and $b are; a call with $p reaches a function of $q, which calls the host.
    let text = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (type $a (func)) (type $b (func))
        (type $p (func (param (ref null $a)) (result i32)))
        (type $q (func (param (ref null $b)) (result i32)))
        (func $asks (type $q) (drop (call $yield)) (i32.const 3))
        (table funcref (elem $asks))
        (func (export "f") (result i32)
            (i32.add (i32.const 4) (call_indirect (type $p) (ref.null $a) (i32.const 0)))))"#;
    let (results, checked) = everywhere(text, &[("f", &[])]);
    assert_eq!(results, [i32(7)]);
    assert_eq!(checked.events, 1);
}

#[test]
fn vectors_and_payloads_of_nans_survive_a_stop() {
    let text = with_prelude(
        r#"(func (export "f") (param $x i64) (result i64)
            (local $v v128) (local $f f32) (local $d f64)
            (local.set $v (i64x2.splat (local.get $x)))
            (local.set $f (f32.reinterpret_i32 (i32.const 0x7fa12345)))     ;; a signalling NaN
            (local.set $d (f64.reinterpret_i64 (i64.const 0xfff4000000001234)))
            local.get $v
            (i64x2.add (local.get $v) (v128.const i64x2 1 2))    ;; waits
            (f32.reinterpret_i32 (i32.const 0xff812345))         ;; waits
            v128.const i64x2 77 88                               ;; waits
            (call $tick)
            (drop (call $yield))
            i64x2.extract_lane 1
            local.set $x
            i32.reinterpret_f32
            i64.extend_i32_u
            (i64.add (local.get $x))
            local.set $x
            i64x2.sub
            i64x2.extract_lane 1
            (call $tick)
            (i64.add (local.get $x))
            (i64.add (i64.extend_i32_u (i32.reinterpret_f32 (local.get $f))))
            (i64.add (i64.reinterpret_f64 (local.get $d))))"#,
    );
    let (results, _) = everywhere(&text, &[("f", &[Val::I64(5)])]);
    let sum = [0xff81_2345u64, 88, 2u64.wrapping_neg(), 0x7fa1_2345, 0xfff4_0000_0000_1234];
    assert_eq!(results, [i64(sum.into_iter().fold(0, u64::wrapping_add) as i64)]);
}

#[test]
fn many_references_on_a_deep_stack_survive_a_stop() {
    let text = with_prelude(
        r#"(func $deep (export "f") (param $n i32) (result i32) (local $f (ref $t)) (local $g funcref)
            (local.set $f (if (result (ref $t)) (i32.and (local.get $n) (i32.const 1))
              (then (ref.func $next)) (else (ref.func $same))))
            (if (i32.rem_u (local.get $n) (i32.const 3)) (then (local.set $g (local.get $f))))
            (if (result i32) (local.get $n)
              (then
                (call $deep (i32.sub (local.get $n) (i32.const 1)))
                (call_ref $t (local.get $f))
                (ref.is_null (local.get $g))
                i32.add)
              (else (call $asks (i32.const 0)))))"#,
    );
    let (results, _) = super::run::everywhere_with(&text, &[("f", &[Val::I32(200)])], 1 << 20, 20);
    assert_eq!(results, [i32(100 + 66)]);
}
