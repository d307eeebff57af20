//! Computes for ever when it is asked what it is.

use hostile::{describes, spin};

describes!(spin());
