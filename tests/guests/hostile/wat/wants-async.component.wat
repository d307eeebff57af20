;; Uses streams, which are not part of the contract.
(component
  (type $s (stream u8))
  (import "windlass:base/log@0.1.0" (instance (export "write" (func (param "s" $s)))))
  (export "windlass:master/next-slave@0.1.0" (instance 0))
  (export "windlass:base/plugin@0.1.0" (instance 0)))
