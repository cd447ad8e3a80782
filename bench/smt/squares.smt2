; (a + b) * (a - b) = a * a - b * b for 8-bit numbers: unsat, which takes a solver a few seconds.
(set-logic QF_BV)
(declare-fun a () (_ BitVec 8))
(declare-fun b () (_ BitVec 8))
(assert (not (= (bvmul (bvadd a b) (bvsub a b)) (bvsub (bvmul a a) (bvmul b b)))))
(check-sat)
