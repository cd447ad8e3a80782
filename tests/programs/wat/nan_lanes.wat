;; The bits of every result of the vector instructions on floats, for special values in all lanes; and of vectors that are
;; only moved: by splat, lanes, bitselect, a local and a global across a host call.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $kept (mut v128) (v128.const i64x2 0 0))
  (data (i32.const 1024)
    "\00\00\00\00\00\00\80\ff\34\12\c0\7f\00\00\80\3f" ;; 0, -inf, NaN with a payload, 1
    "\00\00\00\80\ff\ff\7f\7f\01\00\a0\7f\00\00\c0\bf" ;; -0, largest, signalling NaN, -1.5
    "\00\00\80\3f\01\00\00\00\ef\be\a0\ff\00\00\80\7f" ;; 1, smallest, negative signalling NaN, inf
    "\00\00\c0\bf\00\00\c0\7f\00\00\00\00\00\00\80\ff" ;; -1.5, canonical NaN, 0, -inf
    "\00\00\80\7f\00\00\c0\ff\00\00\00\80\ff\ff\7f\7f" ;; inf, the same, negative, -0, largest
    "\00\00\80\ff\34\12\c0\7f\00\00\80\3f\01\00\00\00" ;; -inf, NaN with a payload, 1, smallest
    "\ff\ff\7f\7f\01\00\a0\7f\00\00\c0\bf\00\00\c0\7f" ;; largest, signalling NaN, -1.5, canonical NaN
    "\01\00\00\00\ef\be\a0\ff\00\00\80\7f\00\00\c0\ff" ;; smallest, negative signalling NaN, inf, the same, negative
    "\00\00\c0\7f\00\00\00\00\00\00\80\ff\34\12\c0\7f" ;; canonical NaN, 0, -inf, NaN with a payload
    "\00\00\c0\ff\00\00\00\80\ff\ff\7f\7f\01\00\a0\7f" ;; the same, negative, -0, largest, signalling NaN
    "\34\12\c0\7f\00\00\80\3f\01\00\00\00\ef\be\a0\ff" ;; NaN with a payload, 1, smallest, negative signalling NaN
    "\01\00\a0\7f\00\00\c0\bf\00\00\c0\7f\00\00\00\00" ;; signalling NaN, -1.5, canonical NaN, 0
    "\ef\be\a0\ff\00\00\80\7f\00\00\c0\ff\00\00\00\80") ;; negative signalling NaN, inf, the same, negative, -0
  (data (i32.const 2048)
    "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\f0\ff" ;; 0, -inf
    "\00\00\00\00\00\00\00\80\ff\ff\ff\ff\ff\ff\ef\7f" ;; -0, largest
    "\00\00\00\00\00\00\f0\3f\01\00\00\00\00\00\00\00" ;; 1, smallest
    "\00\00\00\00\00\00\f8\bf\00\00\00\00\00\00\f8\7f" ;; -1.5, canonical NaN
    "\00\00\00\00\00\00\f0\7f\00\00\00\00\00\00\f8\ff" ;; inf, the same, negative
    "\00\00\00\00\00\00\f0\ff\45\23\01\00\00\00\f8\7f" ;; -inf, NaN with a payload
    "\ff\ff\ff\ff\ff\ff\ef\7f\01\00\00\00\00\00\f4\7f" ;; largest, signalling NaN
    "\01\00\00\00\00\00\00\00\ef\be\00\00\00\00\f4\ff" ;; smallest, negative signalling NaN
    "\00\00\00\00\00\00\f8\7f\00\00\00\00\00\00\00\00" ;; canonical NaN, 0
    "\00\00\00\00\00\00\f8\ff\00\00\00\00\00\00\00\80" ;; the same, negative, -0
    "\45\23\01\00\00\00\f8\7f\00\00\00\00\00\00\f0\3f" ;; NaN with a payload, 1
    "\01\00\00\00\00\00\f4\7f\00\00\00\00\00\00\f8\bf" ;; signalling NaN, -1.5
    "\ef\be\00\00\00\00\f4\ff\00\00\00\00\00\00\f0\7f") ;; negative signalling NaN, inf

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
  (func $say32 (param i32) (call $digits (i64.extend_i32_u (local.get 0)) (i32.const 8)))
  (func $say64 (param i64) (call $digits (local.get 0) (i32.const 16)))
  (func $say128 (param v128)
    (call $say64 (i64x2.extract_lane 0 (local.get 0)))
    (call $say64 (i64x2.extract_lane 1 (local.get 0))))
  (func $f32x4_pair (param $at i32) (param $bt i32) (local $a v128) (local $b v128)
    (local.set $a (v128.load (local.get $at)))
    (local.set $b (v128.load (local.get $bt)))
    (call $say128 (f32x4.add (local.get $a) (local.get $b)))
    (call $say128 (f32x4.sub (local.get $a) (local.get $b)))
    (call $say128 (f32x4.mul (local.get $a) (local.get $b)))
    (call $say128 (f32x4.div (local.get $a) (local.get $b)))
    (call $say128 (f32x4.min (local.get $a) (local.get $b)))
    (call $say128 (f32x4.max (local.get $a) (local.get $b)))
    (call $say128 (f32x4.pmin (local.get $a) (local.get $b)))
    (call $say128 (f32x4.pmax (local.get $a) (local.get $b)))
    (call $say128 (f32x4.eq (local.get $a) (local.get $b)))
    (call $say128 (f32x4.lt (local.get $a) (local.get $b)))
    (call $say128 (f32x4.le (local.get $a) (local.get $b)))
    (call $say128 (v128.bitselect (local.get $a) (local.get $b) (f32x4.lt (local.get $b) (local.get $a)))))
  (func $f32x4_one (param $at i32) (local $a v128)
    (local.set $a (v128.load (local.get $at)))
    (call $say128 (f32x4.sqrt (local.get $a)))
    (call $say128 (f32x4.ceil (local.get $a)))
    (call $say128 (f32x4.floor (local.get $a)))
    (call $say128 (f32x4.trunc (local.get $a)))
    (call $say128 (f32x4.nearest (local.get $a)))
    (call $say128 (f32x4.abs (local.get $a)))
    (call $say128 (f32x4.neg (local.get $a)))
    (call $say128 (f64x2.promote_low_f32x4 (local.get $a)))
    (call $say128 (i32x4.trunc_sat_f32x4_s (local.get $a)))
    (call $say128 (i32x4.trunc_sat_f32x4_u (local.get $a)))
    (call $say128 (f32x4.convert_i32x4_s (local.get $a)))
    (call $say128 (f32x4.convert_i32x4_u (local.get $a)))
    (call $say128 (f64x2.convert_low_i32x4_s (local.get $a)))
    (call $say128 (f64x2.convert_low_i32x4_u (local.get $a)))
    (call $say128 (f32x4.splat (f32.load (local.get $at))))
    (call $say32 (i32.reinterpret_f32 (f32x4.extract_lane 1 (local.get $a))))
    (call $say128 (f32x4.replace_lane 1 (local.get $a) (f32.load (local.get $at))))
    (global.set $kept (local.get $a))
    (call $write)
    (call $say128 (local.get $a))
    (call $say128 (global.get $kept)))
  (func $f32x4_pairs
    (local $a i32) (local $b i32)
    (local.set $a (i32.const 1024))
    (loop $row
      (local.set $b (i32.const 1024))
      (loop $next
        (call $f32x4_pair (local.get $a) (local.get $b))
        (local.set $b (i32.add (local.get $b) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $b) (i32.const 1232))))
      (call $write)
      (local.set $a (i32.add (local.get $a) (i32.const 16)))
      (br_if $row (i32.lt_u (local.get $a) (i32.const 1232)))))
  (func $f32x4_ones
    (local $at i32)
    (local.set $at (i32.const 1024))
    (loop $next
      (call $f32x4_one (local.get $at))
      (call $write)
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 1232)))))
  (func $f64x2_pair (param $at i32) (param $bt i32) (local $a v128) (local $b v128)
    (local.set $a (v128.load (local.get $at)))
    (local.set $b (v128.load (local.get $bt)))
    (call $say128 (f64x2.add (local.get $a) (local.get $b)))
    (call $say128 (f64x2.sub (local.get $a) (local.get $b)))
    (call $say128 (f64x2.mul (local.get $a) (local.get $b)))
    (call $say128 (f64x2.div (local.get $a) (local.get $b)))
    (call $say128 (f64x2.min (local.get $a) (local.get $b)))
    (call $say128 (f64x2.max (local.get $a) (local.get $b)))
    (call $say128 (f64x2.pmin (local.get $a) (local.get $b)))
    (call $say128 (f64x2.pmax (local.get $a) (local.get $b)))
    (call $say128 (f64x2.eq (local.get $a) (local.get $b)))
    (call $say128 (f64x2.lt (local.get $a) (local.get $b)))
    (call $say128 (f64x2.le (local.get $a) (local.get $b)))
    (call $say128 (v128.bitselect (local.get $a) (local.get $b) (f64x2.lt (local.get $b) (local.get $a)))))
  (func $f64x2_one (param $at i32) (local $a v128)
    (local.set $a (v128.load (local.get $at)))
    (call $say128 (f64x2.sqrt (local.get $a)))
    (call $say128 (f64x2.ceil (local.get $a)))
    (call $say128 (f64x2.floor (local.get $a)))
    (call $say128 (f64x2.trunc (local.get $a)))
    (call $say128 (f64x2.nearest (local.get $a)))
    (call $say128 (f64x2.abs (local.get $a)))
    (call $say128 (f64x2.neg (local.get $a)))
    (call $say128 (f32x4.demote_f64x2_zero (local.get $a)))
    (call $say128 (i32x4.trunc_sat_f64x2_s_zero (local.get $a)))
    (call $say128 (i32x4.trunc_sat_f64x2_u_zero (local.get $a)))
    (call $say128 (f64x2.splat (f64.load (local.get $at))))
    (call $say64 (i64.reinterpret_f64 (f64x2.extract_lane 1 (local.get $a))))
    (call $say128 (f64x2.replace_lane 1 (local.get $a) (f64.load (local.get $at))))
    (global.set $kept (local.get $a))
    (call $write)
    (call $say128 (local.get $a))
    (call $say128 (global.get $kept)))
  (func $f64x2_pairs
    (local $a i32) (local $b i32)
    (local.set $a (i32.const 2048))
    (loop $row
      (local.set $b (i32.const 2048))
      (loop $next
        (call $f64x2_pair (local.get $a) (local.get $b))
        (local.set $b (i32.add (local.get $b) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $b) (i32.const 2256))))
      (call $write)
      (local.set $a (i32.add (local.get $a) (i32.const 16)))
      (br_if $row (i32.lt_u (local.get $a) (i32.const 2256)))))
  (func $f64x2_ones
    (local $at i32)
    (local.set $at (i32.const 2048))
    (loop $next
      (call $f64x2_one (local.get $at))
      (call $write)
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 2256)))))
  (func (export "_start")
    (call $f32x4_pairs)
    (call $f32x4_ones)
    (call $f64x2_pairs)
    (call $f64x2_ones)))
