;;# stdout: extended_const: ok\n
;; Arithmetic in constant expressions: globals, offsets of segments.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\13\00\00\00")
  (data (i32.const 8208) "extended_const: ok\n")
  (global $there i32 (i32.add (i32.const 60) (i32.mul (i32.const 2) (i32.const 2))))
  (global $wide i64 (i64.sub (i64.const 0) (i64.const 5)))
  (data (offset (i32.add (i32.const 64) (i32.const 4))) "here")
  (func $check (result i32)
    (i32.and
      (i32.eq (i32.load (i32.const 68)) (i32.const 0x65726568))
      (i32.and (i32.eq (global.get $there) (i32.const 64)) (i64.eq (global.get $wide) (i64.const -5)))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
