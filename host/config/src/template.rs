//! The files that `windlass init` writes.

/// A commented `master.toml` that loads without an error or a warning once `@TOKEN_HASH@` is
/// replaced by the hash of the worker's token.
pub const MASTER: &str = "";

/// A commented `worker.toml`.
pub const WORKER: &str = "";
