//! Has a schema of two megabytes.

use hostile::{describes, with_schema};

describes!(with_schema("long-schema", format!("{{\"title\": \"{}\"}}", "x".repeat(2 << 20))));
