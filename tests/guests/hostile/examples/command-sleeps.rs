//! Sleeps for seven weeks in a command.

use hostile::{command, told, waits};

command!("command-sleeps", &[], {
    waits()?;
    told(windlass_sdk::command::sleep(u32::MAX))
});
