;; Has a table of a billion entries from the start.
(table 1000000000 funcref)
