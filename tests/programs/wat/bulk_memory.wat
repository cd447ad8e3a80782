;;# stdout: bulk_memory: ok\n
;; Bulk operations on memories and tables, overlapping copies, passive and dropped segments.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; An output vector, and the line it points to.
  (data (i32.const 16) "\10\20\00\00\10\00\00\00")
  (data (i32.const 8208) "bulk_memory: ok\n")
  (data $passive "0123456789")
  (table $functions 8 16 funcref)
  (elem $three func $one $two $three)
  (type $number (func (result i32)))
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func $three (result i32) (i32.const 3))
  (func $check (result i32)
    (memory.init $passive (i32.const 64) (i32.const 2) (i32.const 6))
    (memory.copy (i32.const 66) (i32.const 64) (i32.const 6))
    (memory.fill (i32.const 72) (i32.const 0x21) (i32.const 2))
    (data.drop $passive)
    (memory.init $passive (i32.const 64) (i32.const 0) (i32.const 0))
    (table.init $functions $three (i32.const 2) (i32.const 0) (i32.const 3))
    (elem.drop $three)
    (table.copy $functions $functions (i32.const 3) (i32.const 2) (i32.const 3))
    (table.fill $functions (i32.const 6) (ref.func $two) (i32.const 2))
    (drop (table.grow $functions (ref.func $three) (i32.const 2)))
    (i32.and
      ;; "23234567!!" by now
      (i32.and
        (i64.eq (i64.load (i32.const 64)) (i64.const 0x3736353433323332))
        (i32.eq (i32.load (i32.const 70)) (i32.const 0x21213736)))
      (i32.eq
        (i32.add
          (i32.add
            (call_indirect $functions (type $number) (i32.const 2))
            (i32.mul (i32.const 10) (call_indirect $functions (type $number) (i32.const 5))))
          (i32.add
            (i32.mul (i32.const 100) (call_indirect $functions (type $number) (i32.const 7)))
            (i32.mul (i32.const 1000) (call_indirect $functions (type $number) (i32.const 9)))))
        (i32.const 3231))))
  (func (export "_start")
    (if (i32.eqz (call $check)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
