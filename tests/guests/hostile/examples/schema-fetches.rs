//! Has a schema that lies in a file of the host.

use hostile::{describes, with_schema};

describes!(with_schema("schema-fetches", r#"{"$ref": "file:///etc/passwd"}"#));
