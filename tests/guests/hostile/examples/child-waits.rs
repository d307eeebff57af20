//! Waits for a program that never ends.

use hostile::{command, exec, waits};

command!("child-waits", exec!("sleep"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let child = spawn(SpawnOptions::new(&["sleep", "600000"].map(str::to_owned)))?;
    waits()?;
    format!("{:?}", child.wait())
});
