//! Handlers around a stop.

use super::run::{everywhere, everywhere_with, i32};
use wasmtime::Val;

const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (tag $a (param i32)) (tag $b) (tag $c (param i64 f32))
    (func $tick)
    (func $same (param i32) (result i32) (call $tick) (local.get 0))
    ;; Throws something else for each number.
    (func $throws (param $n i32) (result i32)
      (call $tick)
      (if (i32.eq (local.get $n) (i32.const 1)) (then (throw $a (call $same (i32.const 11)))))
      (if (i32.eq (local.get $n) (i32.const 2)) (then (drop (call $yield)) (throw $b)))
      (if (i32.eq (local.get $n) (i32.const 3)) (then (throw $c (i64.const 33) (f32.const 0.25))))
      (call $tick)
      (local.get $n))
"#;

fn with_prelude(text: &str) -> String {
    format!("(module {PRELUDE} {text})")
}

fn calls(name: &'static str) -> Vec<(&'static str, Vec<Val>)> {
    (0..4).map(|n| (name, vec![Val::I32(n)])).collect()
}

fn everywhere_0_to_3(text: &str) -> Vec<String> {
    let calls = calls("f");
    let calls: Vec<(&str, &[Val])> = calls.iter().map(|(name, args)| (*name, &args[..])).collect();
    everywhere(&with_prelude(text), &calls).0
}

#[test]
fn every_kind_of_handler_catches_what_a_resumed_frame_throws() {
    let results = everywhere_0_to_3(
        r#"(func (export "f") (param $n i32) (result i32) (local $x i32)
            (local.set $x (i32.const 100))
            (call $same (i32.const 1000))
            block $done (result i32)
              block $all (result exnref)
                block $on_b (result exnref)
                  block $on_a (result i32)
                    (local.get $x)
                    try_table (result i32) (catch $a $on_a) (catch_ref $b $on_b) (catch_all_ref $all)
                      (call $same (i32.const 5))
                      (call $throws (local.get $n))
                      i32.add
                    end
                    i32.add
                    br $done
                  end
                  (call $same (i32.const 200))
                  i32.add
                  br $done
                end
                (call $tick)
                drop
                (i32.add (local.get $x) (call $same (i32.const 300)))
                br $done
              end
              (call $tick)
              drop
              (call $same (i32.const 400))
            end
            i32.add)"#,
    );
    assert_eq!(results, [i32(1105), i32(1211), i32(1400), i32(1400)]);
}

#[test]
fn what_no_handler_catches_goes_on_outwards() {
    let results = everywhere_0_to_3(
        r#"(func $inner (param $n i32) (result i32)
            block $h (result i32)
              try_table (result i32) (catch $a $h) (call $throws (local.get $n)) end
              (call $tick)
            end)
          (func $middle (param $n i32) (result i32) (i32.add (i32.const 1) (call $inner (local.get $n))))
          (func (export "f") (param $n i32) (result i32)
            block $h
              try_table (catch_all $h)
                try_table (catch $b $h)
                  (i32.const 70)
                  (call $middle (local.get $n))
                  i32.add
                  return
                end
              end
            end
            (call $same (i32.const -1)))"#,
    );
    assert_eq!(results, [i32(71), i32(70 + 1 + 11), i32(-1), i32(-1)]);
}

#[test]
fn exceptions_that_are_held_survive_a_stop_and_are_thrown_again() {
    let results = everywhere_0_to_3(
        r#"(func $catch (param $n i32) (result exnref)
            block $h (result exnref)
              try_table (catch_all_ref $h) (drop (call $throws (local.get $n))) end
              ref.null exn
            end)
          (func (export "f") (param $n i32) (result i32) (local $held exnref) (local $other exnref)
            (local.set $held (call $catch (local.get $n)))
            (call $catch (i32.const 3))          ;; waits
            (drop (call $yield))
            (call $tick)
            (if (ref.is_null (local.get $held)) (then (return (call $same (i32.const 0)))))
            local.set $other
            block $h3 (result i64 f32)
              block $h1 (result i32)
                (try_table (catch $a $h1) (catch $c $h3)
                  (call $tick)
                  (try_table (call $tick) (throw_ref (local.get $held))))
                unreachable
              end
              (call $tick)
              return
            end
            f32.const 4
            f32.mul
            i32.trunc_f32_s
            (call $tick)
            local.set $n
            i32.wrap_i64
            local.get $n
            i32.add)"#,
    );
    assert_eq!(results[0], i32(0));
    assert_eq!(results[1], i32(11));
    assert!(results[2].contains("UncaughtException"), "{results:?}");
    assert_eq!(results[3], i32(34));
}

#[test]
fn a_handler_can_be_the_header_of_a_loop() {
    let results = everywhere_0_to_3(
        r#"(func (export "f") (param $n i32) (result i32) (local $times i32)
            (call $same (i32.const 100))
            (i32.const 7)
            loop $again (param i32) (result i32)
              (call $tick)
              local.set $n
              (local.set $times (i32.add (local.get $times) (i32.const 1)))
              (if (i32.ge_s (local.get $times) (i32.const 4)) (then (return (local.get $n))))
              (local.get $times)
              try_table (result i32) (catch $a $again)
                (i32.mul (call $throws (i32.and (local.get $times) (i32.const 1))) (local.get $n))
              end
              i32.add
              (br_if $again (i32.lt_s (local.get $times) (i32.const 3)))
            end
            i32.sub)"#,
    );
    // Throws in the first and third iteration.
    assert_eq!(results, vec![i32(11); 4]);
}

#[test]
fn handlers_that_are_loops_without_parameters_and_with_references_work() {
    let results = everywhere_0_to_3(
        r#"(func (export "f") (param $n i32) (result i32) (local $times i32) (local $last exnref)
            (ref.null exn)
            loop $again (param exnref)
              local.set $last
              (call $tick)
              loop $all
                (if (i32.lt_s (local.get $times) (i32.const 3)) (then
                  (local.set $times (i32.add (local.get $times) (i32.const 1)))
                  (try_table (catch_ref $b $again) (catch_all $all)
                    (call $tick)
                    (drop (call $throws (i32.add (local.get $n) (local.get $times)))))))
              end
            end
            (i32.add (local.get $times) (ref.is_null (local.get $last))))"#,
    );
    assert_eq!(results[0], i32(3));
}

#[test]
fn tail_calls_leave_the_handlers_of_their_function() {
    let results = everywhere_0_to_3(
        r#"(func $inner (param $n i32) (result i32)
            block $h
              (try_table (catch_all $h)
                (call $tick)
                (return_call $throws (local.get $n)))
            end
            (call $same (i32.const -5)))
          (func (export "f") (param $n i32) (result i32)
            block $h
              try_table (catch_all $h)
                (return (call $inner (local.get $n)))
              end
            end
            (call $same (i32.const -6)))"#,
    );
    assert_eq!(results, [i32(0), i32(-6), i32(-6), i32(-6)]);
}

#[test]
fn functions_that_return_exceptions_without_null_can_be_captured() {
    let results = everywhere_0_to_3(
        r#"(func $make (param $n i32) (result i32 (ref exn))
            block $h (result (ref exn))
              (try_table (catch_all_ref $h) (drop (call $throws (local.get $n))))
              unreachable
            end
            (local.set $n (call $same (i32.const 6)))
            (drop (call $yield))
            (drop)
            (local.get $n)
            block $h2 (result (ref exn))
              (try_table (catch_all_ref $h2) (drop (call $throws (i32.const 1))))
              unreachable
            end)
          (func (export "f") (param $n i32) (result i32) (local $e exnref) (local $strict (ref exn))
            (call $make (i32.const 2))
            local.tee $strict
            (call $tick)
            local.set $e
            (call $tick)
            block $h (result i32)
              (try_table (catch $a $h) (throw_ref (local.get $strict)))
              unreachable
            end
            i32.add)"#,
    );
    assert_eq!(results, vec![i32(17); 4]);
}

#[test]
fn exceptions_that_leave_the_guest_end_the_call() {
    let results = everywhere_0_to_3(
        r#"(func (export "f") (param $n i32) (result i32) (call $throws (local.get $n)))"#,
    );
    assert_eq!(results[0], i32(0));
    for result in &results[1..] {
        assert!(result.contains("UncaughtException"), "{results:?}");
    }
}

#[test]
fn locals_that_only_handlers_read_are_kept() {
    let results = everywhere_0_to_3(
        r#"(func (export "f") (param $n i32) (result i32) (local $x i32) (local $y i32) (local $z i32)
            (local.set $x (i32.const 5))
            (local.set $y (i32.const 60))
            (local.set $z (i32.const 700))
            (call $tick)
            ;; Nothing in it calls.
            block $h
              try_table (catch_all $h)
                (if (local.get $n) (then (local.set $x (i32.const 6)) (throw $b)))
                (throw $a (i32.const 1))
              end
            end
            (call $tick)
            ;; Through a handler that does not fit, to one further out.
            block $outer
              try_table (catch_all $outer)
                block $inner (result i32)
                  try_table (catch $a $inner) (drop (call $throws (local.get $n))) (return (local.get $y)) end
                  unreachable
                end
                drop
                (return (i32.add (local.get $x) (local.get $y)))
              end
            end
            (i32.add (local.get $x) (local.get $z)))"#,
    );
    assert_eq!(results, [i32(60), i32(66), i32(706), i32(706)]);
}

#[test]
fn many_exceptions_are_collected_and_stops_between_them_hold() {
    let text = with_prelude(
        r#"(func (export "f") (param $n i32) (result i32) (local $last exnref) (local $sum i32)
            loop $l
              block $h (result i32 exnref)
                try_table (catch_ref $a $h) (throw $a (local.get $n)) end
                unreachable
              end
              local.set $last
              (local.set $sum (i32.add (local.get $sum)))
              (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
            end
            (call $tick)
            (i32.add (local.get $sum) (ref.is_null (local.get $last))))"#,
    );
    let (results, _) = everywhere_with(&text, &[("f", &[Val::I32(100_000)])], 1 << 20, 3);
    let sum = (1..=100_000).fold(0i32, |sum, n| sum.wrapping_add(n));
    assert_eq!(results, [i32(sum)]);
}
