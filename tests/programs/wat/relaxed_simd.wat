;;# stdout: relaxed simd: ok\n
;; Relaxed vector operations: each result is one of those that the specification allows.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\11\00\00\00")
  (data (i32.const 8208) "relaxed simd: ok\n")

  (func $check (result i32)
    (local $fused v128) (local $swizzled v128)
    (local.set $fused (f32x4.relaxed_madd (f32x4.splat (f32.const 2)) (f32x4.splat (f32.const 3)) (f32x4.splat (f32.const 4))))
    ;; An index out of range may give 0 or the byte at the index modulo 16.
    (local.set $swizzled (i8x16.relaxed_swizzle
      (v128.const i8x16 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7)
      (v128.const i8x16 0 16 0 16 0 16 0 16 0 16 0 16 0 16 0 16)))
    (i32.and
      (f32.eq (f32x4.extract_lane 0 (local.get $fused)) (f32.const 10))
      (i32.and
        (i32.eq (i8x16.extract_lane_u 0 (local.get $swizzled)) (i32.const 7))
        (i32.or
          (i32.eqz (i8x16.extract_lane_u 1 (local.get $swizzled)))
          (i32.eq (i8x16.extract_lane_u 1 (local.get $swizzled)) (i32.const 7))))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
