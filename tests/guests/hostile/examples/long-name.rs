//! Has a hook whose name is a megabyte.

use hostile::{described, describes};

describes!(described(&"long-name".repeat(120_000)));
