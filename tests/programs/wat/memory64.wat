;;# stdout: memory64: ok\n
;; A memory with 64-bit addresses next to the one that preview1 sees.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory $narrow (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\0d\00\00\00")
  (data (i32.const 8208) "memory64: ok\n")
  (memory $wide i64 1 4)
  (data (memory $wide) (i64.const 1000) "wide")
  (func $check (result i32)
    (if (i64.ne (memory.grow $wide (i64.const 2)) (i64.const 1)) (then (return (i32.const 0))))
    (i64.store $wide (i64.const 196600) (i64.const 0x1122334455667788))
    (memory.copy $narrow $wide (i32.const 64) (i64.const 1000) (i32.const 4))
    (memory.copy $wide $wide (i64.const 0) (i64.const 196600) (i64.const 8))
    (i32.and
      (i32.and
        (i32.eq (i32.load $narrow (i32.const 64)) (i32.const 0x65646977))
        (i64.eq (i64.load $wide (i64.const 0)) (i64.const 0x1122334455667788)))
      (i32.and
        (i64.eq (memory.size $wide) (i64.const 3))
        (i64.eq (memory.grow $wide (i64.const 2)) (i64.const -1)))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
