;;# refused: memory
;; A memory that somebody else would have to provide.
(module
  (import "env" "memory" (memory 1))
  (func (export "_start")))
