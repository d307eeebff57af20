//! One HTTP and JSON API, served on a unix socket in the master's state directory, and its client.
//!
//! The shapes are those of [`windlass_master::view`]; `docs/api.md` lists the paths. Whoever may open
//! the socket may do everything: it is 0600, its owner's alone. TCP, pages and rights come later.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod artifacts;
pub mod client;
pub mod error;
mod routes;
pub mod server;

use std::path::{Path, PathBuf};

/// The socket of the master whose state directory this is.
#[must_use]
pub fn socket_in(state_dir: &Path) -> PathBuf {
    state_dir.join("windlass.sock")
}
