;;# stdout: start\n_start\n
;; A start function makes host calls before `_start` does.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\40\00\00\00\06\00\00\00\50\00\00\00\07\00\00\00")
  (data (i32.const 64) "start\n")
  (data (i32.const 80) "_start\n")
  (start $start)
  (func $start
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 24) (i32.const 1) (i32.const 8)))))
