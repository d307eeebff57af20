;; Imports an interface of somebody else.
(component
  (import "acme:rocket/launch@1.0.0" (instance)))
