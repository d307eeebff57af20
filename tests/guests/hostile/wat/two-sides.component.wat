;; Wants to be on the master and on a worker at once.
(component
  (import "windlass:master/step-host@0.1.0" (instance))
  (import "windlass:worker/process@0.1.0" (instance)))
