//! Recurses for ever when it is asked what it is.

use hostile::{described, describes, recurse};

describes!(described(&recurse(0).to_string()));
