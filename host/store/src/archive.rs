//! The archive: where the bytes of finished logs go, compressed in frames, and from where they go for good when
//! they are too old, or too much. It is done in the background, a little at a time: a commit of it moves at most some
//! thousand rows, and the next one lets others go first.
//!
//! A log's old bytes stay until the new ones are durable: frames are written and synced behind the committed end of
//! an archive's file, then one transaction puts their rows in the place of the pieces' rows, and a segment goes when
//! no piece speaks of it any more. What a crash leaves is a log in frames, in pieces, or in frames at its beginning
//! and in pieces behind, which reads the same.
//!
//! A log that has a segment for itself gets an archive for itself as soon as it is finished. Those that share a
//! segment share an archive, once nothing more comes into the segment: it is full, or a day old.
//!
//! What is packed is there twice for a while. On a disk without room for that, a log stays where it is; what is too old goes.
//!
//! A log that cannot be read, or has other bytes than its hash says, stays as it is, and so does a build that is over with
//! a row that cannot be read. Each is told of once a day; all others go their way.

mod changes;
mod expire;
mod horizon;
mod pack;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redb::ReadableTable;
use windlass_core::id::{BuildId, LogId};
use windlass_core::keeping::Keeping;
use windlass_core::record::{BuildRow, LogRow};
use windlass_core::time::Timestamp;

use crate::Store;
use crate::encode;
use crate::fault::ReadError;
use crate::log_work::Work;
use crate::segments::MakeDurable;
use crate::tables::Snapshot;
use crate::writer::CommitError;

/// A shared segment takes no more logs after so long: its archive goes when the last of them is too old.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// So often is looked whether logs that share a segment are finished.
const LOOK_AGAIN: u64 = 60 * 1000;

/// So many bytes of logs, or so many rows, are moved in one commit, but for what one frame has.
const MOVE_BYTES: usize = 16 << 20;
const MOVE_ROWS: usize = 1024;

/// For the time that a commit took, so many times as long is left to others.
const OTHERS: u32 = 3;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Logs that went into the archive.
    pub archived: u64,
    /// Their bytes, and what they take there.
    pub bytes: u64,
    /// What they take there.
    pub stored: u64,
    /// Logs whose bytes were removed.
    pub expired: u64,
    /// Builds that were removed.
    pub builds: u64,
    /// Changes that were removed.
    pub changes: u64,
}

/// Why the archive is not up to date. What was done is whole.
#[derive(Debug, thiserror::Error)]
pub enum TendError {
    /// A row or bytes of a log or build could not be read; the others were tended.
    #[error("failed to read a log or build for the archive")]
    Read(#[from] ReadError),
    /// A log is not what it was; the other logs were tended.
    #[error("{log} has other bytes than its hash says; it stays as it is")]
    Changed {
        /// The log.
        log: LogId,
    },
    /// An archive could not be written.
    #[error("failed to write the archive `{path}`")]
    Write {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store refused it, or is closed.
    #[error("failed to record what was archived")]
    Commit(#[from] CommitError),
}

impl TendError {
    /// Whether it is about one log, build or row, and what does not depend on that can go on.
    fn is_of_one(&self) -> bool {
        match self {
            TendError::Read(error) | TendError::Commit(CommitError::Storage(error)) => error.is_damage(),
            TendError::Changed { .. } => true,
            TendError::Write { .. } | TendError::Commit(_) => false,
        }
    }
}

impl From<redb::StorageError> for TendError {
    fn from(error: redb::StorageError) -> TendError {
        TendError::Read(error.into())
    }
}

/// What is known of the archive between two visits.
#[derive(Debug)]
pub(crate) struct Archive {
    /// The number of the next archive.
    next: u64,
    sealed: Option<Timestamp>,
    looked: Option<Timestamp>,
    /// When builds were last compared with the horizons.
    trimmed: Option<Timestamp>,
    /// When changes were last compared with the horizon, and with which.
    changes_trimmed: Option<(Timestamp, u64)>,
    /// Rows that may need changes and cannot be read, each with the newest change when that was found out.
    doubts: BTreeMap<changes::RowOf, u64>,
    /// The builds of each builder whose logs went since the store was opened, or before.
    unlogged: BTreeMap<String, horizon::Unlogged>,
    /// Shared segments that take nothing more, with the logs that were in them and are not in the archive.
    waits: BTreeMap<u64, BTreeSet<LogId>>,
    /// Logs that cannot go into the archive. They are tried again when the next segment is sealed.
    aside: BTreeSet<LogId>,
    /// Builds that are over and cannot be removed. They are tried again then, too.
    stuck: BTreeSet<BuildId>,
    pub(crate) make_durable: NoDebug,
}

/// Makes files durable.
pub(crate) struct NoDebug(pub(crate) MakeDurable);

impl std::fmt::Debug for NoDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MakeDurable")
    }
}

impl Archive {
    pub(crate) fn new(next: u64, make_durable: MakeDurable) -> Archive {
        let (waits, aside, stuck) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (trimmed, changes_trimmed, unlogged) = (None, None, BTreeMap::new());
        let doubts = BTreeMap::new();
        let make_durable = NoDebug(make_durable);
        Archive {
            next,
            sealed: None,
            looked: None,
            trimmed,
            changes_trimmed,
            doubts,
            unlogged,
            waits,
            aside,
            stuck,
            make_durable,
        }
    }
}

impl Store {
    /// Archives what is finished, and removes what is too old. Blocking, and long where there is much to do: for a
    /// thread of its own. Ends early when the store is closed, or `stop` is set. A log that cannot be archived keeps
    /// no other from it: the error is the first one's.
    pub fn tend_logs(
        &self,
        keeping: &Keeping,
        now: Timestamp,
        stop: &AtomicBool,
    ) -> Result<Tended, TendError> {
        let mut archive = self.0.archive.lock().expect("nothing panics while it is held");
        let done = Tended::default();
        let mut visit =
            Visit { store: self, archive: &mut archive, keeping, now, stop, done, open: None, failed: None };
        match visit.tend() {
            Err(TendError::Commit(CommitError::Closed)) => Ok(visit.done),
            Err(error) => Err(visit.failed.unwrap_or(error)),
            Ok(()) => visit.failed.map_or(Ok(visit.done), Err),
        }
    }

    /// Resolves when there is something for [`Store::tend_logs`] that should not wait: a long log is finished, a
    /// segment is full, or no room is left.
    pub async fn logs_to_tend(&self) {
        self.0.watches.to_tend.notified().await;
    }
}

/// Segments with the log that has each for itself.
type Owned = Vec<(u64, LogId)>;

/// One visit to the archive.
struct Visit<'s> {
    store: &'s Store,
    archive: &'s mut Archive,
    keeping: &'s Keeping,
    now: Timestamp,
    stop: &'s AtomicBool,
    done: Tended,
    open: Option<pack::Open>,
    /// The first log that could not be archived, or build that could not be removed.
    failed: Option<TendError>,
}

impl Visit<'_> {
    fn tend(&mut self) -> Result<(), TendError> {
        let now = self.now;
        let since = |then: Timestamp| now.0.saturating_sub(then.0);
        let day = self.keeping.horizon_ms.map_or(DAY, |horizon| DAY.min(horizon / 4));
        let is_new_day = self.archive.sealed.is_none_or(|then| since(then) >= day);
        if is_new_day {
            self.archive.aside.clear();
            self.archive.stuck.clear();
        }
        // First what makes room.
        self.expire()?;
        self.trim()?;
        match self.trim_changes() {
            Err(error) if error.is_of_one() => {
                tracing::error!(%error, "old changes stay");
                self.failed.get_or_insert(error);
            }
            result => result?,
        }
        if is_new_day {
            self.commit(Work::Seal)?;
            self.archive.sealed = Some(now);
        }
        let (owned, shared) = self.segments()?;
        for (segment, log) in owned {
            self.owned(segment, log)?;
        }
        let has_new = shared.iter().any(|segment| !self.archive.waits.contains_key(segment));
        if has_new || self.archive.looked.is_none_or(|then| since(then) >= LOOK_AGAIN) {
            self.shared(&shared)?;
            self.archive.looked = Some(now);
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, ReadError> {
        self.store.snapshot()
    }

    fn folder(&self) -> &Path {
        &self.store.0.logs
    }

    /// Segments whose logs may be ready: those of one log, with it, and shared ones that take nothing more.
    fn segments(&self) -> Result<(Owned, Vec<u64>), ReadError> {
        // First the rows, then which one is written: a new one is named before its row can be seen.
        let (mut owned, mut shared) = (Vec::new(), Vec::new());
        let snapshot = self.snapshot()?;
        let written = self.store.0.counters.shared_segment.load(Ordering::Acquire);
        for row in snapshot.segments()?.iter()? {
            let (number, row) = row?;
            match (number.value(), row.value().1) {
                (number, 0) if number != written => shared.push(number),
                (_, 0) => {}
                (number, log) => owned.push((number, LogId(log))),
            }
        }
        Ok((owned, shared))
    }

    fn commit(&self, work: Work) -> Result<(), CommitError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(CommitError::Closed);
        }
        let began = Instant::now();
        let answer = self.store.0.queue.push_work(work).blocking_recv();
        answer.unwrap_or(Err(CommitError::Closed))?;
        std::thread::sleep((began.elapsed() * OTHERS).min(Duration::from_millis(200)));
        Ok(())
    }

    fn owned(&mut self, segment: u64, log: LogId) -> Result<(), TendError> {
        let is_moved = self.one(log, log.0)?;
        self.flush()?;
        self.leave();
        if is_moved {
            self.commit(Work::DropSegment(segment))?;
        }
        Ok(())
    }

    fn shared(&mut self, segments: &[u64]) -> Result<(), TendError> {
        self.find_logs(segments)?;
        for segment in segments {
            let Some(logs) = self.archive.waits.get(segment).cloned() else { continue };
            let mut left = BTreeSet::new();
            for log in logs {
                if !self.one(log, 0)? {
                    left.insert(log);
                }
            }
            self.flush()?;
            self.leave();
            if left.is_empty() {
                self.commit(Work::DropSegment(*segment))?;
                self.archive.waits.remove(segment);
            } else {
                self.archive.waits.insert(*segment, left);
            }
        }
        Ok(())
    }

    /// Finds out which logs lie in those segments that were not gone through yet.
    fn find_logs(&mut self, segments: &[u64]) -> Result<(), TendError> {
        self.archive.waits.retain(|segment, _| segments.contains(segment));
        let is_new = |segment: &&u64| !self.archive.waits.contains_key(segment);
        let mut new: BTreeMap<u64, BTreeSet<LogId>> =
            segments.iter().filter(is_new).map(|number| (*number, BTreeSet::new())).collect();
        if new.is_empty() {
            return Ok(());
        }
        for row in self.snapshot()?.log_pieces()?.iter()? {
            let (key, bytes) = row?;
            let log = LogId(key.value().0);
            match encode::to_piece(key.value(), bytes.value()) {
                Ok(piece) => {
                    if let Some(logs) = new.get_mut(&piece.segment) {
                        logs.insert(log);
                    }
                }
                // It may lie in any: none of them goes before this log.
                Err(_) => new.values_mut().for_each(|logs| logs.extend([log])),
            }
        }
        self.archive.waits.append(&mut new);
        Ok(())
    }

    /// Moves one log, if it is finished, into the archive that is open; `owner` is the log if that is its own. True:
    /// nothing of it is left where it was, once that is flushed.
    fn one(&mut self, log: LogId, owner: u64) -> Result<bool, TendError> {
        match self.try_one(log, owner) {
            Err(error) if error.is_of_one() => {
                self.take_back(log);
                if self.archive.aside.insert(log) {
                    tracing::error!(%log, %error, "a log cannot be archived");
                    self.failed.get_or_insert(error);
                }
                Ok(false)
            }
            result => result,
        }
    }

    fn try_one(&mut self, log: LogId, owner: u64) -> Result<bool, TendError> {
        let row = match self.store.log(log)? {
            Some(row) if row.expired => {
                self.forget(log)?;
                return Ok(true);
            }
            Some(row) if row.finished => row,
            Some(_) => return Ok(false),
            // Its build is gone, and with it all that it had.
            None => {
                let pieces = self.snapshot()?.log_pieces()?;
                return Ok(pieces.range((log.0, 0)..=(log.0, u64::MAX))?.next().is_none());
            }
        };
        let ended = self.ended(&row)?;
        if self.too_old(ended) {
            self.forget(log)?;
            return Ok(true);
        }
        if self.archive.aside.contains(&log) {
            return Ok(false);
        }
        if owner != 0 {
            self.reopen(log)?;
        }
        self.pack(&row, owner, ended)
    }

    /// When a log ended; one of an earlier version does not say it itself.
    fn ended(&self, row: &LogRow) -> Result<Timestamp, ReadError> {
        if let Some(at) = row.ended {
            return Ok(at);
        }
        let Some(build) = self.snapshot()?.builds()?.get(row.build.0)? else { return Ok(self.now) };
        let build: BuildRow = encode::unpack("builds", row.build.0, build.value())?;
        Ok(build.complete.map_or(self.now, |complete| complete.at))
    }
}
