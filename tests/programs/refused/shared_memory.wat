;;# refused: shared
;; A shared memory: threads would make a run unrepeatable.
(module
  (memory (export "memory") 1 2 shared)
  (func (export "_start")))
