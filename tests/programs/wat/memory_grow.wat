;;# stdout: memory_grow: ok\n
;; Growth until the declared maximum refuses it; old contents stay, new pages are zero.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 42)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\10\00\00\00")
  (data (i32.const 8208) "memory_grow: ok\n")

  (func $check (result i32)
    (local $pages i32)
    (i32.store (i32.const 65532) (i32.const 0x600df00d))
    (local.set $pages (i32.const 1))
    (loop $grow
      (if (i32.eq (memory.grow (i32.const 3)) (local.get $pages))
        (then
          (local.set $pages (i32.add (local.get $pages) (i32.const 3)))
          ;; Zero at first, then marked.
          (if (i32.load (i32.sub (i32.shl (local.get $pages) (i32.const 16)) (i32.const 4)))
            (then (return (i32.const 0))))
          (i32.store (i32.sub (i32.shl (local.get $pages) (i32.const 16)) (i32.const 4)) (local.get $pages))
          (br $grow))))
    (i32.and
      (i32.and
        (i32.eq (local.get $pages) (i32.const 40))
        (i32.eq (memory.size) (i32.const 40)))
      (i32.and
        (i32.eq (i32.load (i32.const 65532)) (i32.const 0x600df00d))
        (i32.eq (i32.load (i32.const 458748)) (i32.const 7)))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
