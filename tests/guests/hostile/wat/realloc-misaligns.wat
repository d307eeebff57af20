;; Says that there is room for arguments at an address that no record may have.
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (i32.const 4097))
