//! The named queries: snapshots, synchronous and short, none of which scans history.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use windlass_core::change::Change;
use windlass_core::id::{BuildId, BuildsetId, ChangeId, LogId, MasterId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::record::{BuildRow, LogPiece, LogRow, StepRow};
use windlass_core::request::{Buildset, Request};
use windlass_core::time::Timestamp;

use crate::{Cas, Ids, Store};

/// Why something could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("failed to read from the database")]
    Database(#[source] Arc<redb::Error>),
    /// A row does not decode.
    #[error("the row {key} of table `{table}` is damaged: {why}")]
    Row {
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes of a log could not be read.
    #[error("failed to read the log segment `{path}`")]
    Segment {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
}

/// Which builds: all conditions hold. Newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildFilter {
    /// Of this builder.
    pub builder: Option<String>,
    /// On this worker.
    pub worker: Option<String>,
    /// Ended, or running.
    pub complete: Option<bool>,
    /// At most so many.
    pub limit: usize,
    /// Older than this build.
    pub before: Option<BuildId>,
}

impl Default for BuildFilter {
    fn default() -> BuildFilter {
        BuildFilter { builder: None, worker: None, complete: None, limit: 100, before: None }
    }
}

/// How far a log is, for those that follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogProgress {
    /// Its length in bytes.
    pub length: u64,
    /// No more will come.
    pub finished: bool,
}

impl Store {
    /// Returns the counters of new rows.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        unimplemented!("landing soon")
    }

    /// Returns the bytes of components.
    #[must_use]
    pub fn cas(&self) -> &Cas {
        unimplemented!("landing soon")
    }

    /// Returns a change.
    pub fn change(&self, id: ChangeId) -> Result<Option<Change>, ReadError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// Returns the newest changes, newest first.
    pub fn changes(&self, limit: usize) -> Result<Vec<Change>, ReadError> {
        let _ = limit;
        unimplemented!("landing soon")
    }

    /// Returns a buildset.
    pub fn buildset(&self, id: BuildsetId) -> Result<Option<Buildset>, ReadError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// Returns a request.
    pub fn request(&self, id: RequestId) -> Result<Option<Request>, ReadError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// Returns those of these requests that exist.
    pub fn requests(&self, ids: &[RequestId]) -> Result<Vec<Request>, ReadError> {
        let _ = ids;
        unimplemented!("landing soon")
    }

    /// Returns all requests that wait to be claimed, oldest first.
    pub fn pending_requests(&self) -> Result<Vec<Request>, ReadError> {
        unimplemented!("landing soon")
    }

    /// Returns the requests that this master holds: after a restart, the builds that were cut off.
    pub fn claimed_requests(&self, master: MasterId) -> Result<Vec<Request>, ReadError> {
        let _ = master;
        unimplemented!("landing soon")
    }

    /// Returns a build.
    pub fn build(&self, id: BuildId) -> Result<Option<BuildRow>, ReadError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// Returns a builder's build by its number within the builder.
    pub fn build_by_number(&self, builder: &str, number: u64) -> Result<Option<BuildRow>, ReadError> {
        let _ = (builder, number);
        unimplemented!("landing soon")
    }

    /// Returns builds, newest first.
    pub fn builds(&self, filter: &BuildFilter) -> Result<Vec<BuildRow>, ReadError> {
        let _ = filter;
        unimplemented!("landing soon")
    }

    /// Returns the builds that have not ended, oldest first.
    pub fn running_builds(&self) -> Result<Vec<BuildRow>, ReadError> {
        unimplemented!("landing soon")
    }

    /// Returns when and how the last ended build of this builder on this worker ended.
    pub fn last_build(&self, builder: &str, worker: &str) -> Result<Option<(Timestamp, Outcome)>, ReadError> {
        let _ = (builder, worker);
        unimplemented!("landing soon")
    }

    /// Returns the steps of a build, by position.
    pub fn steps(&self, build: BuildId) -> Result<Vec<StepRow>, ReadError> {
        let _ = build;
        unimplemented!("landing soon")
    }

    /// Returns the logs of a build, in the order in which they were made.
    pub fn logs(&self, build: BuildId) -> Result<Vec<LogRow>, ReadError> {
        let _ = build;
        unimplemented!("landing soon")
    }

    /// Returns a log's row.
    pub fn log(&self, id: LogId) -> Result<Option<LogRow>, ReadError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// Returns the length of a log in bytes; 0 for one that has none.
    pub fn log_len(&self, id: LogId) -> Result<u64, ReadError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// Returns pieces of a log from `offset`, at most `max_bytes` of them together.
    pub fn read_log(&self, id: LogId, offset: u64, max_bytes: usize) -> Result<Vec<LogPiece>, ReadError> {
        let _ = (id, offset, max_bytes);
        unimplemented!("landing soon")
    }

    /// Returns pieces of a log from the beginning of line `first_line` (from 0): at most `max_lines`
    /// lines, and at most `max_bytes` bytes of them.
    pub fn read_log_lines(
        &self,
        id: LogId,
        first_line: u64,
        max_lines: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogPiece>, ReadError> {
        let _ = (id, first_line, max_lines, max_bytes);
        unimplemented!("landing soon")
    }

    /// Returns a value of somebody's small state.
    pub fn state(&self, owner: &str, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let _ = (owner, key);
        unimplemented!("landing soon")
    }

    /// Returns all of an owner's state, sorted by key.
    pub fn states(&self, owner: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        let _ = owner;
        unimplemented!("landing soon")
    }

    /// Follows a log: the receiver holds how far it is now, and changes after each commit that takes it
    /// further.
    pub fn watch_log(&self, id: LogId) -> Result<watch::Receiver<LogProgress>, ReadError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// Follows a build: the receiver changes after each commit that writes its row, one of its steps or
    /// the row of one of its logs.
    #[must_use]
    pub fn changed(&self, id: BuildId) -> watch::Receiver<u64> {
        let _ = id;
        unimplemented!("landing soon")
    }
}
