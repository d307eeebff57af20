//! Starts a program that leaves its process group and goes on after the command.

use hostile::{command, exec};

command!("children-outlive", exec!("sh"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let script = "setsid sh -c 'echo $$ >pid; exec sleep 600' </dev/null >/dev/null 2>&1 & \
                  until test -s pid; do sleep 0.01; done";
    format!("{:?}", spawn(SpawnOptions::new(&["sh", "-c", script].map(str::to_owned)))?.wait())
});
