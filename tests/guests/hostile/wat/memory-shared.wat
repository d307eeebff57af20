;; Has a memory for several threads.
(memory $shared 1 2 shared)
