;;# refused: GC
;; A struct type of the GC proposal.
(module
  (type $pair (struct (field i32) (field (mut i32))))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (struct.new $pair (i32.const 1) (i32.const 2)))))
