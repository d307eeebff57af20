;; Wants to be on the master and on a worker at once.
(component
  (import "windlass:master/step-host@0.1.0" (instance $i))
  (export "windlass:worker/slave-command@0.1.0" (instance $i))
  (export "windlass:base/plugin@0.1.0" (instance $i)))
