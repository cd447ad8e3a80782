;;# refused: fd_write
;; A preview1 function with the wrong type.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i64)))
  (memory (export "memory") 1)
  (func (export "_start")))
