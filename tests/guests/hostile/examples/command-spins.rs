//! Computes for ever in a command.

use hostile::{command, spin};

command!("command-spins", &[], spin());
