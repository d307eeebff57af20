//! Waits for a program that never ends.

use hostile::{command, exec};

command!("child-waits", exec!("sleep"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    format!("{:?}", spawn(SpawnOptions::new(&["sleep", "600000"].map(str::to_owned)))?.wait())
});
