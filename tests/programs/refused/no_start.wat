;;# refused: _start
;; Nothing to begin with.
(module
  (memory (export "memory") 1)
  (func (export "run")))
