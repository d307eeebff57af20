;; Imports an interface of ours that does not exist.
(component
  (import "windlass:master/telepathy@0.1.0" (instance)))
