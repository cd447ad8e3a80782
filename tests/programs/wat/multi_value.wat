;;# stdout: multi_value: ok\n
;; Several results of functions, blocks and loops; values below a call on the operand stack survive it.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\10\00\00\00")
  (data (i32.const 8208) "multi_value: ok\n")

  (func $divide (param i32 i32) (result i32 i32)
    (i32.div_u (local.get 0) (local.get 1))
    (i32.rem_u (local.get 0) (local.get 1)))
  (func $check (result i32)
    (local $sum i32)
    ;; 1000, 3, 2 wait on the operand stack while the host is called.
    (i32.const 1000)
    (call $divide (i32.const 17) (i32.const 5))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 0) (i32.const 32)))
    (block (param i32 i32 i32) (result i32 i32)
      (i32.add))
    (i32.add)
    (local.set $sum)
    (i32.const 5) (i32.const 0)
    (loop $again (param i32 i32) (result i32 i32)
      (local.set 0 (i32.add (local.get $sum) (i32.const 1)))
      (i32.const 1)
      (i32.add)
      (br_if $again (i32.lt_u (local.get $sum) (local.tee $sum (i32.const 1005)))))
    (i32.add)
    (i32.and (i32.eq (i32.const 6)) (i32.eq (local.get $sum) (i32.const 1005))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
