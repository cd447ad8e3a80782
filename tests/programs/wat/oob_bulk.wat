;;# trap: memory-out-of-bounds
;;# stdout: before\n
;; A fill that would leave memory; nothing of it is done.
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
    (memory.fill (i32.const 65530) (i32.const 1) (i32.const 7))))
