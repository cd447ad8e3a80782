;;# refused: component
;; A component, not a module.
(component)
