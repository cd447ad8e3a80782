;;# invoke: add
;;# args: 2 3
;; A reactor: `_initialize` runs once and before the export that is called; it prints nothing itself.
(module
  (memory (export "memory") 1)
  (global $initialized (mut i32) (i32.const 0))
  (func (export "_initialize")
    (if (global.get $initialized) (then unreachable))
    (global.set $initialized (i32.const 1)))
  (func (export "add") (param i32 i32) (result i32)
    (if (i32.eqz (global.get $initialized)) (then unreachable))
    (i32.add (local.get 0) (local.get 1))))
