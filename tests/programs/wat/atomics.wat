;;# stdout: atomics: ok\n
;; Atomic instructions on a memory that is not shared: a notify wakes nobody, arithmetic works.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\0c\00\00\00")
  (data (i32.const 8208) "atomics: ok\n")

  (func $check (result i32)
    (i32.atomic.store (i32.const 64) (i32.const 5))
    (atomic.fence)
    (if (i32.ne (i32.atomic.rmw.add (i32.const 64) (i32.const 3)) (i32.const 5)) (then (return (i32.const 0))))
    (if (i32.ne (i32.atomic.rmw.cmpxchg (i32.const 64) (i32.const 8) (i32.const 9)) (i32.const 8))
      (then (return (i32.const 0))))
    (if (i64.ne (i64.atomic.rmw8.xchg_u (i32.const 72) (i64.const 0xff)) (i64.const 0)) (then (return (i32.const 0))))
    (i32.and
      (i32.eqz (memory.atomic.notify (i32.const 64) (i32.const 1)))
      (i32.and
        (i32.eq (i32.atomic.load (i32.const 64)) (i32.const 9))
        (i32.eq (i32.load (i32.const 72)) (i32.const 0xff)))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
