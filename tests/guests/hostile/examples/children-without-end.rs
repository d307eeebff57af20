//! Starts children without end.

use hostile::{command, exec, until_refused};

command!("children-without-end", exec!("sleep"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let mut held = Vec::new();
    until_refused(1_000, |_| {
        held.push(spawn(SpawnOptions::new(&["sleep", "600"].map(str::to_owned)))?);
        Ok(())
    })
});
