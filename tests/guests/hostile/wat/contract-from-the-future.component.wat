;; Was made for a contract that this host does not know yet.
(component
  (import "windlass:master/decision@0.9.0" (instance)))
