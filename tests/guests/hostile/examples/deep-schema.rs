//! Has a schema of a hundred thousand brackets.

use hostile::{describes, with_schema};

describes!(with_schema("deep-schema", "[".repeat(100_000)));
