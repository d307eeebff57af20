//! Has a hook and does not say so.

use hostile::{Description, describes};

describes!(Description { hooks: Vec::new(), capabilities: Vec::new() });
