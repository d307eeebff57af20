//! Sleeps for seven weeks in a command.

use hostile::{command, told};

command!("command-sleeps", &[], told(windlass_sdk::command::sleep(u32::MAX)));
