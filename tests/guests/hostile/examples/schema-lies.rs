//! Has a schema that is JSON, and no schema.

use hostile::{describes, with_schema};

describes!(with_schema("schema-lies", r#"{"type": "object", "properties": 7}"#));
