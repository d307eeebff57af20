//! The claim store and history: redb, log segments, and the bytes of components.
//!
//! [`Store`] is a cheap clone of one handle. A single writer thread owns every write: a commit starts
//! when the last one ended, with all batches that waited meanwhile, and each batch goes in whole or
//! not at all. Reads are snapshots, short and synchronous, and never wait for the writer.
//!
//! Deliberately absent: closures over a transaction. What can be written is [`Persist`], what can be
//! read are the named queries of [`Store`]. `docs/store.md` has the tables and the crash argument.
//!
//! [`Persist`]: windlass_core::persist::Persist

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cas;
mod ids;
mod open;
mod query;
mod writer;

pub use cas::{Cas, CasError};
pub use ids::Ids;
pub use open::{OpenError, Options};
pub use query::{BuildFilter, LogProgress, ReadError};
pub use writer::{CommitError, Full, Stats};

/// A handle to an open store. Clones share it; the last one to go ends the writer thread.
#[derive(Clone, Debug)]
pub struct Store;
