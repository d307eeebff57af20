//! Starts a program that was not granted.

use hostile::{command, exec, told};

command!("exec-ungranted", exec!("git"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let start = |argv: &[&str]| {
        told(spawn(SpawnOptions::new(&argv.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())))
    };
    [
        start(&["sh", "-c", "id"]),
        start(&["/bin/sh"]),
        start(&["./git"]),
        start(&["../git"]),
        start(&["git\0"]),
    ]
    .join("; ")
});
