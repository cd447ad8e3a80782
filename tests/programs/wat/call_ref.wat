;;# stdout: call_ref: ok\n
;; Typed function references and reference types: calls through locals, globals and tables; a null test.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\0d\00\00\00")
  (data (i32.const 8208) "call_ref: ok\n")
  (type $unary (func (param i32) (result i32)))
  (global $chosen (mut (ref null $unary)) (ref.null $unary))
  (table $refs 2 (ref null $unary))
  (table $extern 1 externref)
  (elem declare func $double $increment)
  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $increment (type $unary) (i32.add (local.get 0) (i32.const 1)))
  (func $apply (param $f (ref $unary)) (param $value i32) (result i32)
    ;; A host call while a reference is live; it writes nothing.
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 0) (i32.const 32)))
    (call_ref $unary (local.get $value) (local.get $f)))
  (func $tail (param $value i32) (result i32)
    (return_call_ref $unary (local.get $value) (ref.as_non_null (global.get $chosen))))
  (func $check (result i32)
    (if (i32.eqz (ref.is_null (global.get $chosen))) (then (return (i32.const 0))))
    (if (i32.eqz (ref.is_null (table.get $extern (i32.const 0)))) (then (return (i32.const 0))))
    (global.set $chosen (ref.func $increment))
    (table.set $refs (i32.const 1) (ref.func $double))
    (block $null
      (drop (br_on_null $null (table.get $refs (i32.const 0))))
      (return (i32.const 0)))
    (i32.eq (i32.const 42)
      (call $tail
        (i32.sub
          (call $apply (ref.as_non_null (table.get $refs (i32.const 1))) (i32.const 21))
          (i32.const 1)))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
