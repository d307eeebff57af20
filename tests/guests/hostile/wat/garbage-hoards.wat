;; Keeps objects of the garbage collector until there is no more.
(rec
  (type $list (struct (field (ref null $list)) (field (ref null $block))))
  (type $block (array (mut i64))))
(global $head (mut (ref null $list)) (ref.null $list))
(func (export "windlass:master/next-slave@0.1.0#choose") (param i32) (result i32)
  (loop $again
    (global.set $head
      (struct.new $list (global.get $head) (array.new $block (i64.const 7) (i32.const 100000))))
    (br $again))
  unreachable)
