//! Has a child start outside of the builder directory.

use hostile::{command, exec, told};

command!("exec-elsewhere", exec!("pwd"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let start = |directory: &str| {
        let options = SpawnOptions::new(&["pwd".to_owned()]);
        options.workdir(directory);
        told(spawn(options))
    };
    ["/", "../..", "link", "a/../../.."].map(start).join("; ")
});
