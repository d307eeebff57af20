//! Has a granted git run a program of its own.

use hostile::{command, exec};

command!("env-git-helper", exec!("git"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let options = SpawnOptions::new(&["git", "--version"].map(str::to_owned));
    options.env("GIT_SSH_COMMAND", Some("touch owned"));
    match spawn(options) {
        Err(failure) => format!("{}: {}", failure.code, failure.message),
        Ok(child) => format!("{:?}", child.wait()),
    }
});
