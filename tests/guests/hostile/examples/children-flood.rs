//! Starts a program that writes for ever.

use hostile::{command, exec};

command!("children-flood", exec!("yes"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let options = SpawnOptions::new(&["yes".to_owned()]);
    options.tee_to_log("stdio");
    format!("{:?}", spawn(options)?.wait())
});
