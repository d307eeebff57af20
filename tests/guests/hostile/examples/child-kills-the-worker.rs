//! Has a child kill the worker.

use hostile::{command, exec};

command!("child-kills-the-worker", exec!("sh"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let script = "kill -KILL $PPID; exec sleep 600";
    format!("{:?}", spawn(SpawnOptions::new(&["sh", "-c", script].map(str::to_owned)))?.wait())
});
