;; Throws an exception that nobody catches.
(tag $e)
(func (export "windlass:master/next-slave@0.1.0#choose") (param i32) (result i32)
  (throw $e))
