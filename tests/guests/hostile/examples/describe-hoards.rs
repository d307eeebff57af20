//! Takes all memory when it is asked what it is.

use hostile::{describes, hoard};

describes!(hoard());
