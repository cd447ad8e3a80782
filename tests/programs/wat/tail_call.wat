;;# stdout: tail_call: ok\n
;; A million tail calls, direct and through a table, take no stack.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\0e\00\00\00")
  (data (i32.const 8208) "tail_call: ok\n")
  (type $step (func (param i32 i32) (result i32)))
  (table funcref (elem $even $odd))
  (func $even (type $step)
    (if (result i32) (i32.eqz (local.get 0))
      (then (local.get 1))
      (else (return_call $odd (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 1))))))
  (func $odd (type $step)
    (return_call_indirect (type $step)
      (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 2)) (i32.const 0)))
  (func $check (result i32)
    (i32.eq (call $even (i32.const 1000000) (i32.const 0)) (i32.const 1500000)))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
