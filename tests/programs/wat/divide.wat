;;# trap: divide-by-zero
;;# stdout: before\n
;; An integer division by zero.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 1)
  (data (i32.const 16) "\18\00\00\00\07\00\00\00before\n")
  (func $before
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (call $before)
    (call $inner))
  (func $inner
    (drop (i32.div_s (i32.const 1) (i32.load (i32.const 0))))))
