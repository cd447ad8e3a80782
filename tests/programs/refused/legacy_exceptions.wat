;;# refused: legacy exception
;; The exception instructions of the withdrawn proposal.
(module
  (tag $tag)
  (memory (export "memory") 1)
  (func (export "_start")
    try
      throw $tag
    catch $tag
    end))
