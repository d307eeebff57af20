;; Grows a table until there is no more.
(table $t 1 funcref)
(func (export "windlass:master/next-slave@0.1.0#choose") (param i32) (result i32)
  (loop $again
    (br_if $again (i32.ge_s (table.grow $t (ref.null func) (i32.const 1000000)) (i32.const 0))))
  unreachable)
