;;# stdout: exports: ok\n
;; Imported and exported things under more than one name; a function both exported and called inside.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory $memory 1)
  (export "memory" (memory $memory))
  (export "again" (memory $memory))
  (export "host" (func $fd_write))
  (global (export "counter") (mut i32) (i32.const 3))
  (table (export "table") 1 funcref)
  (elem (i32.const 0) $print)
  (data (i32.const 16) "\20\00\00\00\0c\00\00\00")
  (data (i32.const 32) "exports: ok\n")
  (func $print (export "print")
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8))))
  (func $main (export "_start") (export "main")
    (call_indirect (i32.const 0))))
