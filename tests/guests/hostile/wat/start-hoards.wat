;; Takes all memory in its start function.
(start $start)
(func $start
  (loop $again
    (br_if $again (i32.ge_s (memory.grow (i32.const 64)) (i32.const 0))))
  unreachable)
