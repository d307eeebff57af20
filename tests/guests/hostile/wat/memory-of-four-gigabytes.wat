;; Has a second memory of four gigabytes from the start.
(memory $huge 65536)
