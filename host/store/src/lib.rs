//! The claim store and history: redb, log segments, and the bytes of components.
//!
//! [`Store`] is a cheap clone of one handle. A single writer thread owns every write: a commit starts
//! when the last one ended, with all batches that waited meanwhile, and each batch goes in whole or
//! not at all. Reads are snapshots, short and synchronous, and never wait for the writer.
//!
//! Deliberately absent: closures over a transaction. What can be written is [`Persist`], what can be
//! read are the named queries of [`Store`]. `docs/store.md` has the tables and the crash argument.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod appends;
mod archive;
#[cfg(test)]
mod archive_tests;
mod artifacts;
#[cfg(test)]
mod artifacts_tests;
mod batch;
mod blocks;
mod cas;
#[cfg(test)]
mod conformance_tests;
mod counting;
#[cfg(test)]
mod crash_tests;
mod decisions;
#[cfg(test)]
mod decisions_tests;
mod encode;
mod expiry;
#[cfg(test)]
mod expiry_tests;
mod fault;
#[cfg(test)]
mod fence_tests;
#[cfg(test)]
mod format_tests;
mod frames;
mod going_on;
#[cfg(test)]
mod going_on_tests;
#[cfg(test)]
mod horizon_tests;
mod ids;
mod inspect;
mod journal;
#[cfg(test)]
mod journal_tests;
mod listing;
#[cfg(test)]
mod listing_tests;
mod lock;
mod log_check;
mod log_work;
mod logs;
mod moment;
mod open;
mod pending;
#[cfg(test)]
mod pending_tests;
mod put;
mod query;
mod queue;
mod remains;
mod reports;
#[cfg(test)]
mod reports_tests;
mod requests;
mod results;
#[cfg(test)]
mod results_tests;
mod room;
mod segments;
mod tables;
#[cfg(test)]
mod test_disk;
#[cfg(test)]
mod test_rows;
#[cfg(test)]
mod tests;
mod tokens;
mod upgrade;
mod verify;
mod watches;
mod writer;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase};
use tokio::sync::{broadcast, watch};
use windlass_core::decision::Budget;
use windlass_core::id::{ArtifactId, BuildId, BuildsetId, LogId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Committed, Persist};
use windlass_core::report::Reader;

pub use archive::{TendError, Tended};
pub use artifacts::{ArtifactFiles, SweepError};
pub use cas::{Cas, CasError};
pub use fault::ReadError;
pub use ids::Ids;
pub use inspect::{ListedRow, Page, PageOf, RawRow, Rows, TableSize};
pub use listing::RequestFilter;
pub use logs::LogSize;
pub use moment::{Moment, OnCommit, Side};
pub use open::{OpenError, Options};
pub use query::BuildFilter;
pub use remains::Remains;
pub use reports::Waiting;
pub use results::{TestFilter, TestPlace};
pub use room::{DiskRoom, RESERVE, disk};
pub use watches::LogProgress;
pub use writer::{CommitError, Full, Stats};

/// A handle to an open store. Clones share it; the last one to go ends the writer thread, after what
/// waits.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    queue: Arc<queue::Queue>,
    watches: Arc<watches::Watches>,
    counters: Arc<writer::Counters>,
    writer: Mutex<Option<JoinHandle<()>>>,
    ids: Ids,
    cas: Cas,
    artifacts: ArtifactFiles,
    /// The last one that had a row when the store was opened.
    last_artifact: ArtifactId,
    damaged_artifacts: Mutex<artifacts::Damaged>,
    /// The folder of the log segments.
    logs: std::path::PathBuf,
    archive: Mutex<archive::Archive>,
    /// The most that all logs together may take.
    log_room: Option<u64>,
    room: DiskRoom,
    /// Of records of decisions; the writer looks at it in each commit.
    budget: Arc<Mutex<Budget>>,
    /// Whom builds are told to; whoever commits looks at it, and the writer in each commit.
    readers: Arc<Mutex<Arc<Vec<Reader>>>>,
    /// Held until the writer is gone.
    _lock: lock::Lock,
}

impl Store {
    /// Writes all of `batch`, or nothing of it, together with whatever else waits. The batch is in line
    /// when this returns, so the order of calls is the order of commits; the answer comes once it is
    /// durable. It is written even if nobody waits for the answer.
    pub fn commit(
        &self,
        batch: Vec<Persist>,
    ) -> impl Future<Output = Result<Committed, CommitError>> + Send + 'static + use<> {
        let readers = Arc::clone(&self.0.readers.lock().expect("nothing panics while it is held"));
        let answer = self.0.queue.push(batch, &readers);
        async move { answer.await.unwrap_or(Err(CommitError::Closed)) }
    }

    /// Returns the counters of new rows.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    /// Returns the folder that all of it lies in.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.0.logs.parent().unwrap_or(&self.0.logs)
    }

    /// Returns the bytes of components.
    #[must_use]
    pub fn cas(&self) -> &Cas {
        &self.0.cas
    }

    /// Returns what the store did since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.counters.stats()
    }

    /// Follows a log: the receiver holds how far it is now, and changes after each commit that takes it
    /// further. It ends with the store.
    pub fn watch_log(&self, id: LogId) -> Result<watch::Receiver<LogProgress>, ReadError> {
        // First the entry, then the look: a commit in between is seen by one or the other.
        let receiver = self.0.watches.logs.follow(id);
        let length = self.log_len(id)?;
        let finished = self.log(id)?.is_some_and(|row| row.finished);
        self.0.watches.logs.change(&id, |progress| {
            progress.length = progress.length.max(length);
            progress.finished |= finished;
        });
        Ok(receiver)
    }

    /// Follows a build: the receiver changes after each commit that writes its row, one of its steps or
    /// the row of one of its logs. It ends with the store.
    #[must_use]
    pub fn changed(&self, id: BuildId) -> watch::Receiver<u64> {
        self.0.watches.builds.follow(id)
    }

    /// Follows a buildset, which may be one that is yet to come: the receiver holds how it ended, once it has. It
    /// ends with the store.
    pub fn watch_buildset(&self, id: BuildsetId) -> Result<watch::Receiver<Option<Outcome>>, ReadError> {
        // First the entry, then the look: a commit in between is seen by one or the other.
        let receiver = self.0.watches.buildsets.follow(id);
        if let Some(complete) = self.buildset(id)?.and_then(|buildset| buildset.complete) {
            self.0.watches.buildsets.change(&id, |end| *end = Some(complete.outcome));
        }
        Ok(receiver)
    }

    /// The ends of buildsets from now on, each after the commit that brought it.
    #[must_use]
    pub fn ended_buildsets(&self) -> broadcast::Receiver<(BuildsetId, Outcome)> {
        self.0.watches.ends.subscribe()
    }

    /// Keeps so many records of decisions from now on: commits that add some take those away that are beyond it, a
    /// few at a time.
    pub fn keep_decisions(&self, budget: Budget) {
        *self.0.budget.lock().expect("nothing panics while it is held") = budget;
    }

    /// Ends the writer after what waits, and returns when it is gone: blocking. Later commits are
    /// answered with [`CommitError::Closed`]; reads go on.
    pub fn close(&self) {
        self.0.close();
    }

    fn snapshot(&self) -> Result<tables::Snapshot, ReadError> {
        Ok(tables::Snapshot(self.0.database.begin_read()?))
    }
}

impl Shared {
    fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().expect("nothing panics while it is held").take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's writer had panicked");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}
