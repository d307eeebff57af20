;; Has a hook of the right name whose function takes and gives something else.
(component
  (core module $m
    (func (export "f") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m))
  (func $f (param "x" u32) (result u32) (canon lift (core func $i "f")))
  (instance $hook (export "choose" (func $f)))
  (export "windlass:master/next-slave@0.1.0" (instance $hook))
  (instance $plugin (export "describe" (func $f)))
  (export "windlass:base/plugin@0.1.0" (instance $plugin)))
