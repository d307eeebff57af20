//! The capabilities that a plugin may ask for, an operator may grant, and a worker may allow.
//!
//! Deliberately absent: the time and chance. They give no power over anything: policies can't import
//! them, steps have them recorded, commands have them as they are.

/// All of them (`windlass:base/plugin.request`).
pub const ALL: [&str; 6] = ["exec", "env", "files", "secret", "fetch", "master-process"];

/// Whether this version does anything for it. Of the others a host says so, instead of taking a grant
/// that does nothing in silence.
#[must_use]
pub fn is_implemented(name: &str) -> bool {
    matches!(name, "exec" | "env" | "files" | "secret")
}

/// Whether it is for something named, as `exec` is for programs; `files` is as it is.
#[must_use]
pub fn is_scoped(name: &str) -> bool {
    name != "files"
}
