//! Recurses for ever in a command.

use hostile::{command, recurse};

command!("command-recurses", &[], recurse(0).to_string());
