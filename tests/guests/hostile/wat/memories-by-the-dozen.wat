;; Has a great many memories. (This line is repeated by the harness: `;;* 60`.)
;;* 60 (memory 1)
