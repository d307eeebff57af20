//! Has a schema whose pattern backtracks without end on the argument that it is given.

use hostile::{describes, with_schema};

describes!(with_schema(
    "schema-backtracks",
    r#"{"type": "object", "properties": {"text": {"type": "string", "pattern": "^(a|a|aa)+(?=b)$"}}}"#
));
