;; Every relaxed vector instruction, on values for which the specification leaves a choice: all hosts make the same.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024)
    "\00\11\7f\80\ff\10\0f\08\81\fe\01\20\1f\40\c0\55" ;; some bytes
    "\80\80\80\80\80\80\80\80\80\80\80\80\80\80\80\80" ;; high bytes
    "\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff" ;; ones
    "\7f\80\7f\80\7f\80\7f\80\7f\80\7f\80\7f\80\7f\80" ;; alternating
    "\00\00\c0\7f\00\00\00\80\45\23\c1\ff\00\00\80\7f" ;; f32: NaN, -0, a payload, inf
    "\5e\d0\32\4f\01\00\a0\7f\5e\d0\32\cf\cd\cc\8c\3f" ;; f32: large numbers and signalling NaN
    "\01\00\00\00\00\00\f4\7f\00\00\00\c0\0b\5a\e6\41" ;; f64: NaN, 3e9
    "\00\00\00\00\00\00\00\80\9a\99\99\99\99\99\b9\3f") ;; f64: -0, 0.1

  ;; Text is gathered from 32768 on and written a row at a time.
  (global $end (mut i32) (i32.const 32768))
  (func $digits (param $value i64) (param $count i32)
    (local $digit i32)
    (loop $next
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (local.set $digit (i32.and (i32.const 15) (i32.wrap_i64
        (i64.shr_u (local.get $value) (i64.extend_i32_u (i32.shl (local.get $count) (i32.const 2)))))))
      (i32.store8 (global.get $end) (i32.add (local.get $digit)
        (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
      (global.set $end (i32.add (global.get $end) (i32.const 1)))
      (br_if $next (local.get $count)))
    (i32.store8 (global.get $end) (i32.const 32))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))
  (func $write
    (i32.store8 (i32.sub (global.get $end) (i32.const 1)) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 32768))
    (i32.store (i32.const 4) (i32.sub (global.get $end) (i32.const 32768)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (global.set $end (i32.const 32768)))
  (func $say64 (param i64) (call $digits (local.get 0) (i32.const 16)))
  (func $say128 (param v128)
    (call $say64 (i64x2.extract_lane 0 (local.get 0)))
    (call $say64 (i64x2.extract_lane 1 (local.get 0))))
  (func $one (param $at i32) (local $a v128)
    (local.set $a (v128.load (local.get $at)))
    (call $say128 (i32x4.relaxed_trunc_f32x4_s (local.get $a)))
    (call $say128 (i32x4.relaxed_trunc_f32x4_u (local.get $a)))
    (call $say128 (i32x4.relaxed_trunc_f64x2_s_zero (local.get $a)))
    (call $say128 (i32x4.relaxed_trunc_f64x2_u_zero (local.get $a))))
  (func $pair (param $at i32) (param $bt i32) (local $a v128) (local $b v128) (local $c v128)
    (local.set $a (v128.load (local.get $at)))
    (local.set $b (v128.load (local.get $bt)))
    (call $say128 (i8x16.relaxed_swizzle (local.get $a) (local.get $b)))
    (call $say128 (f32x4.relaxed_min (local.get $a) (local.get $b)))
    (call $say128 (f32x4.relaxed_max (local.get $a) (local.get $b)))
    (call $say128 (f64x2.relaxed_min (local.get $a) (local.get $b)))
    (call $say128 (f64x2.relaxed_max (local.get $a) (local.get $b)))
    (call $say128 (i16x8.relaxed_q15mulr_s (local.get $a) (local.get $b)))
    (call $say128 (i16x8.relaxed_dot_i8x16_i7x16_s (local.get $a) (local.get $b)))
    ;; A third operand: a vector near the second.
    (local.set $c (v128.load offset=8 (local.get $bt)))
    (call $say128 (f32x4.relaxed_madd (local.get $a) (local.get $b) (local.get $c)))
    (call $say128 (f32x4.relaxed_nmadd (local.get $a) (local.get $b) (local.get $c)))
    (call $say128 (f64x2.relaxed_madd (local.get $a) (local.get $b) (local.get $c)))
    (call $say128 (f64x2.relaxed_nmadd (local.get $a) (local.get $b) (local.get $c)))
    (call $say128 (i8x16.relaxed_laneselect (local.get $a) (local.get $b) (local.get $c)))
    (call $say128 (i16x8.relaxed_laneselect (local.get $a) (local.get $b) (local.get $c)))
    (call $say128 (i32x4.relaxed_laneselect (local.get $a) (local.get $b) (local.get $c)))
    (call $say128 (i64x2.relaxed_laneselect (local.get $a) (local.get $b) (local.get $c)))
    (call $say128 (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get $a) (local.get $b) (local.get $c))))
  (func $ones
    (local $at i32)
    (local.set $at (i32.const 1024))
    (loop $next
      (call $one (local.get $at))
      (call $write)
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 1152)))))
  (func $pairs
    (local $a i32) (local $b i32)
    (local.set $a (i32.const 1024))
    (loop $row
      (local.set $b (i32.const 1024))
      (loop $next
        (call $pair (local.get $a) (local.get $b))
        (local.set $b (i32.add (local.get $b) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $b) (i32.const 1152))))
      (call $write)
      (local.set $a (i32.add (local.get $a) (i32.const 16)))
      (br_if $row (i32.lt_u (local.get $a) (i32.const 1152)))))
  (func (export "_start")
    (call $ones)
    (call $pairs)))
