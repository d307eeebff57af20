//! The writer thread: groups of batches, each in whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use windlass_core::id::LogId;
use windlass_core::persist::{Committed, Persist, Refusal};

use crate::Store;

/// Why a batch was not written. Nothing of it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The rules say no.
    #[error("the write was refused")]
    Refused(#[from] Refusal),
    /// There is no room for the bytes of its logs.
    #[error("no room for a log in `{folder}`, which holds {used} bytes: {why}")]
    LogsFull {
        /// The folder of the log segments.
        folder: PathBuf,
        /// What it holds.
        used: u64,
        /// Which bound was met, and what to do.
        why: Full,
    },
    /// The database or the disk failed; whether the batch is durable is not known. The store has to be
    /// opened anew.
    #[error("failed to write to the store")]
    Storage(#[source] Arc<redb::Error>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Which bound a log met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The bound of all logs.
    #[error("all logs together may have {limit} bytes; remove old builds or raise the limit")]
    Quota {
        /// The bound.
        limit: u64,
    },
    /// The bound of one log.
    #[error("{log} may have {limit} bytes; let the step write less or raise the limit")]
    Log {
        /// The log.
        log: LogId,
        /// The bound.
        limit: u64,
    },
    /// The disk's.
    #[error("the system says: {message}; free some space there")]
    Disk {
        /// What the system said.
        message: String,
    },
}

/// What the store did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions of the database.
    pub commits: u64,
    /// Batches that went through.
    pub batches: u64,
    /// Batches that were refused.
    pub refused: u64,
    /// Syncs of any file.
    pub syncs: u64,
    /// Bytes appended to logs.
    pub log_bytes: u64,
    /// What the logs take on disk now.
    pub log_bytes_held: u64,
}

impl Store {
    /// Writes all of `batch`, or nothing of it, together with whatever else waits. The batch is in line
    /// when this returns, so the order of calls is the order of commits; the answer comes once it is
    /// durable. It is written even if nobody waits for the answer.
    pub fn commit(
        &self,
        batch: Vec<Persist>,
    ) -> impl Future<Output = Result<Committed, CommitError>> + Send + 'static + use<> {
        let _ = batch;
        async { unimplemented!("landing soon") }
    }

    /// Returns what the store did since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        unimplemented!("landing soon")
    }

    /// Ends the writer after what waits, and returns when it is gone. Later commits are refused.
    pub fn close(&self) {}
}
