//! The files that `windlass init` writes. They load without an error or a warning.

/// A commented `master.toml` with one builder, `hello`; `@TOKEN_HASH@` stands for the hash of the
/// token of its one worker.
pub const MASTER: &str = include_str!("template/master.toml");

/// A commented `worker.toml` for that worker, on the master's machine.
pub const WORKER: &str = include_str!("template/worker.toml");
