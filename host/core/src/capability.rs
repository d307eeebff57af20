//! The capabilities that a plugin may ask for, an operator may grant, and a worker may allow.
//!
//! Deliberately absent: the time and chance. They give no power over anything: policies can't import
//! them, steps have them recorded, commands have them as they are.

/// All of them (`windlass:base/plugin.request`).
pub const ALL: [&str; 6] = ["exec", "env", "files", "secret", "fetch", "master-process"];

/// Whether it is for what happens on the master, and so for steps; the others are for commands of workers.
#[must_use]
pub fn is_of_steps(name: &str) -> bool {
    matches!(name, "fetch" | "master-process")
}

/// Whether it is for something named, as `exec` is for programs; `files` is as it is.
#[must_use]
pub fn is_scoped(name: &str) -> bool {
    name != "files"
}
