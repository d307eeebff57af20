;; Grows eight memories at once, each less than may be had in one.
(memory $a 1) (memory $b 1) (memory $c 1) (memory $d 1) (memory $e 1) (memory $f 1) (memory $g 1)
(func (export "windlass:master/next-slave@0.1.0#choose") (param i32) (result i32)
  (loop $again
    (drop (memory.grow $a (i32.const 256)))
    (drop (memory.grow $b (i32.const 256)))
    (drop (memory.grow $c (i32.const 256)))
    (drop (memory.grow $d (i32.const 256)))
    (drop (memory.grow $e (i32.const 256)))
    (drop (memory.grow $f (i32.const 256)))
    (br_if $again (i32.ge_s (memory.grow $g (i32.const 256)) (i32.const 0))))
  unreachable)
