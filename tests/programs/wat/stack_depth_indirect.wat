;;# trap: stack-overflow
;; How deep functions get that call each other through a table, with results on the stack.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Text is gathered from 32768 on and written a row at a time.
  (global $end (mut i32) (i32.const 32768))
  (func $digits (param $value i64) (param $count i32)
    (local $digit i32)
    (loop $next
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (local.set $digit (i32.and (i32.const 15) (i32.wrap_i64
        (i64.shr_u (local.get $value) (i64.extend_i32_u (i32.shl (local.get $count) (i32.const 2)))))))
      (i32.store8 (global.get $end) (i32.add (local.get $digit)
        (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
      (global.set $end (i32.add (global.get $end) (i32.const 1)))
      (br_if $next (local.get $count)))
    (i32.store8 (global.get $end) (i32.const 32))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))
  (func $write
    (i32.store8 (i32.sub (global.get $end) (i32.const 1)) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 32768))
    (i32.store (i32.const 4) (i32.sub (global.get $end) (i32.const 32768)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (global.set $end (i32.const 32768)))
  ;; Counts a frame, and says every 1024th.
  (func $count
    (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
    (if (i32.eqz (i32.and (i32.load (i32.const 16)) (i32.const 1023)))
      (then
        (call $digits (i64.extend_i32_u (i32.load (i32.const 16))) (i32.const 8))
        (call $write))))
  (type $deeper (func (param i32) (result i32 i64)))
  (table funcref (elem $even $odd))
  (func $even (type $deeper)
    (call $count)
    (call_indirect (type $deeper) (i32.add (local.get 0) (i32.const 1)) (i32.const 1))
    (i64.add (i64.extend_i32_u (local.get 0))))
  (func $odd (type $deeper)
    (local $kept i64)
    (call $count)
    (local.set $kept (i64.load (i32.const 16)))
    (call_indirect (type $deeper) (i32.add (local.get 0) (i32.const 1)) (i32.const 0))
    (i64.xor (local.get $kept)))
  (func (export "_start")
    (call_indirect (type $deeper) (i32.const 0) (i32.const 0))
    (drop)
    (drop)))
