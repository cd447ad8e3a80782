;;# refused: frobnicate
;;# refused: load_image
;; Two imports that nothing provides: both are named at once.
(module
  (import "env" "frobnicate" (func (param i32)))
  (import "graphics" "load_image" (func (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")))
