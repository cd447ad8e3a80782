;;# refused: offset
;; A type error: the message says where.
(module
  (memory (export "memory") 1)
  (func (export "_start") (result i32)
    (i64.const 0)))
