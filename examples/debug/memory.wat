;; Three functions store into one word of memory; the last one does what it should not.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the text that it points to.
  (data (i32.const 16) "\20\00\00\00\08\00\00\00")
  (data (i32.const 32) "checked\0a")

  ;; The balance is the word at 64.
  (func $open (param $amount i32)
    (i32.store (i32.const 64) (local.get $amount)))
  (func $deposit (param $amount i32)
    (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (local.get $amount))))
  ;; Fills $count words from $at on with $value: one word too many.
  (func $clear (param $at i32) (param $count i32) (param $value i32)
    (local $i i32)
    (loop $next
      (i32.store (i32.add (local.get $at) (i32.shl (local.get $i) (i32.const 2))) (local.get $value))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.le_u (local.get $i) (local.get $count)))))
  (func $check (param $wanted i32)
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))
    (if (i32.ne (i32.load (i32.const 64)) (local.get $wanted)) (then (call $proc_exit (i32.const 1)))))
  (func $start (export "_start")
    (call $open (i32.const 100))
    (call $deposit (i32.const 25))
    (call $clear (i32.const 48) (i32.const 4) (i32.const 7))
    (call $check (i32.const 125))))
