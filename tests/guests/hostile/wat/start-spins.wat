;; Computes for ever in its start function, before anything of it was called.
(start $start)
(func $start (loop $again (br $again)))
