//! Has a schema that refers to itself.

use hostile::{describes, with_schema};

describes!(with_schema("schema-loops", r##"{"$ref": "#"}"##));
