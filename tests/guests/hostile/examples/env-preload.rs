//! Has a granted program load code of its own.

use hostile::{command, exec};

command!("env-preload", exec!("git"), {
    use windlass_sdk::process::{SpawnOptions, spawn};
    let options = SpawnOptions::new(&["git", "--version"].map(str::to_owned));
    options.env("LD_PRELOAD", Some("./evil.so"));
    match spawn(options) {
        Err(failure) => format!("{}: {}", failure.code, failure.message),
        Ok(child) => format!("{:?}", child.wait()),
    }
});
