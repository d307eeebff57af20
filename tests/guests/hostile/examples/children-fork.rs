//! Starts a program that starts five hundred more.

use hostile::{command, exec};

command!("children-fork", exec!("sh"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let script = "i=0; while test $i -lt 500; do sleep 600 & i=$((i+1)); done; echo $! >pid; exit 0";
    format!("{:?}", spawn(SpawnOptions::new(&["sh", "-c", script].map(str::to_owned)))?.wait())
});
