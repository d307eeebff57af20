//! Takes all memory of a command.

use hostile::{command, hoard};

command!("command-hoards", &[], hoard());
