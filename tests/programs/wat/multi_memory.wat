;;# stdout: multi_memory: ok\n
;; A second memory: loads, stores, growth and copies between the two.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory $first (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\11\00\00\00")
  (data (i32.const 8208) "multi_memory: ok\n")
  (memory $second 1 3)
  (data $word "wrr")
  (data (memory $second) (i32.const 8) "second")
  (func $check (result i32)
    (if (i32.ne (i32.load8_u $second (i32.const 8)) (i32.const 0x73)) (then (return (i32.const 0))))
    (if (i32.ne (memory.grow $second (i32.const 1)) (i32.const 1)) (then (return (i32.const 0))))
    (i32.store $second (i32.const 131068) (i32.const 0x01020304))
    (memory.copy $first $second (i32.const 64) (i32.const 131068) (i32.const 4))
    (memory.init $second $word (i32.const 0) (i32.const 0) (i32.const 3))
    (memory.fill $second (i32.const 3) (i32.const 0xee) (i32.const 1))
    (i32.and
      (i32.and
        (i32.eq (i32.load $first (i32.const 64)) (i32.const 0x01020304))
        (i32.eq (i32.load $second (i32.const 0)) (i32.const 0xee727277)))
      (i32.and
        (i32.eq (memory.size $second) (i32.const 2))
        (i32.eq (memory.grow $second (i32.const 2)) (i32.const -1)))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
