;;# stdout: simd: ok\n
;; 128-bit vectors: lanes, shuffles, saturation, memory; a vector stays live across a host call.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\09\00\00\00")
  (data (i32.const 8208) "simd: ok\n")

  (func $check (result i32)
    (local $live v128) (local $sum v128)
    (local.set $live (v128.const i32x4 1 2 3 4))
    (v128.store (i32.const 64) (i8x16.shuffle 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0
      (local.get $live) (local.get $live)))
    ;; A host call between the definition and the use of a vector; it writes nothing.
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 0) (i32.const 32)))
    (local.set $sum (i32x4.add (local.get $live) (i32x4.splat (i32.const 10))))
    (i32.and
      (i32.and
        (i32.eq (i32x4.extract_lane 3 (local.get $sum)) (i32.const 14))
        (i32.eq (i32.load (i32.const 64)) (i32.const 0x04000000)))
      (i32.and
        (i32.eq (i8x16.extract_lane_u 0 (i8x16.add_sat_u (i8x16.splat (i32.const 200)) (i8x16.splat (i32.const 100))))
          (i32.const 255))
        (i32.eq (i8x16.bitmask (i8x16.splat (i32.const -1))) (i32.const 0xffff)))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
