;; Provides `wrr:guest/control@0.1.0` where the runtime does not: nobody goes back and nobody forks.
;;
;;     wasmtime run --preload wrr:guest/control@0.1.0=fallback.wat program.wasm
;;
;; `branch` would have to write into the program's memory that there is no data. It leaves that memory alone: clients
;; clear it before they call.
(module
  (func (export "checkpoint") (param i32 i32) (result i32) (i32.const 0))
  (func (export "rollback") (param i32 i32) (result i32) (i32.const 0))
  (func (export "mark") (param i32 i32))
  (func (export "branch") (param i32 i32 i32)))
