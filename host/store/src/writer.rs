//! The writer thread: a group is all that waited while the last one was committed; each batch of it
//! goes in whole or not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::{Database, Durability, WriteTransaction};
use windlass_core::decision::Budget;
use windlass_core::id::LogId;
use windlass_core::persist::{Committed, Refusal};
use windlass_core::report::Reader;

use crate::appends::{Appends, Known};
use crate::batch::{Closed, Group, Room, Stop};
use crate::fault::ReadError;
use crate::going_on::Extras;
use crate::ids::Marks;
use crate::log_work::Aftermath;
use crate::moment::{Moment, Side};
use crate::open::Options;
use crate::queue::{Answer, Job, Queue, Taken, What};
use crate::room::RESERVE;
use crate::segments::{Segments, Written};
use crate::tables::Tables;
use crate::watches::Watches;

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
    /// The database failed, or a row is damaged. After a failure of the disk it is not known whether the
    /// batch is durable; the store has to be opened anew.
    #[error("failed to write to the store")]
    Storage(#[source] ReadError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Which bound a log met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The bound of all logs.
    #[error(
        "all logs together may have {limit} bytes with their index; the oldest finished ones go now, and if that is too little, raise the limit (`max_bytes` of `[logs]`)"
    )]
    Quota {
        /// The bound.
        limit: u64,
    },
    /// The bound of one log.
    #[error("{log} may have {limit} bytes; let its step write less or raise the limit")]
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
    /// Those of them with entries of journals.
    pub journals: u64,
    /// Batches that went through, and pieces of the archive's work.
    pub batches: u64,
    /// Batches that were refused.
    pub refused: u64,
    /// Syncs of any file.
    pub syncs: u64,
    /// Bytes written to the database's file.
    pub database_bytes: u64,
    /// Bytes appended to logs.
    pub log_bytes: u64,
    /// What the logs take on disk now.
    pub log_bytes_held: u64,
    /// Whether batches wait, because too little is left of the disk ([`crate::RESERVE`]).
    pub waits_for_room: bool,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) journals: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) syncs: Arc<AtomicU64>,
    pub(crate) database_bytes: Arc<AtomicU64>,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) log_bytes_held: AtomicU64,
    pub(crate) waits_for_room: AtomicBool,
    /// The segment that small logs share now, before rows speak of it; 0: there is none.
    pub(crate) shared_segment: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            commits: read(&self.commits),
            journals: read(&self.journals),
            batches: read(&self.batches),
            refused: read(&self.refused),
            syncs: read(&self.syncs),
            database_bytes: read(&self.database_bytes),
            log_bytes: read(&self.log_bytes),
            log_bytes_held: read(&self.log_bytes_held),
            waits_for_room: self.waits_for_room.load(Ordering::Relaxed),
        }
    }
}

/// The thread's own state.
pub(crate) struct Writer {
    pub(crate) database: Arc<Database>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) segments: Segments,
    pub(crate) known: Known,
    pub(crate) marks: Marks,
    /// Builds with rows beyond their own, as `going_on` has them.
    pub(crate) extras: Extras,
    pub(crate) options: Options,
    pub(crate) budget: Arc<Mutex<Budget>>,
    /// Whom builds are told to.
    pub(crate) readers: Arc<Mutex<Arc<Vec<Reader>>>>,
}

/// Refuses what comes after the thread is gone, even if it panicked.
struct CloseOnExit(Arc<Queue>, Arc<Watches>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.close();
        self.0.clear();
        self.1.builds.close();
        self.1.logs.close();
        self.1.buildsets.close();
    }
}

/// How an attempt at a group ended.
enum Attempt {
    Done(Vec<Answer>),
    /// The system refused the bytes of its logs.
    NoRoom(std::io::Error),
    /// This job met a damaged row after its first write.
    Spoilt(usize, ReadError),
}

impl Writer {
    pub(crate) fn run(mut self) {
        let _close = CloseOnExit(self.queue.clone(), self.watches.clone());
        while let Some(Taken { jobs, is_all }) = self.queue.take(|| self.left(), || self.falls_short()) {
            let Some(answers) = self.group(&jobs) else {
                self.queue.put_back(jobs);
                self.falls_short();
                continue;
            };
            let is_written = |(job, answer): (&Job, &Answer)| answer.is_ok() && !job.makes_room();
            if is_all && jobs.iter().zip(&answers).any(is_written) {
                self.goes_on();
            }
            for (job, answer) in jobs.into_iter().zip(answers) {
                let counter = if answer.is_ok() { &self.counters.batches } else { &self.counters.refused };
                counter.fetch_add(1, Ordering::Relaxed);
                // Nobody need wait for the answer.
                job.reply.send(answer).ok();
            }
        }
    }

    /// What is left of the disk before the next commit.
    fn left(&self) -> u64 {
        let commit = self.counters.commits.load(Ordering::Relaxed) + 1;
        self.options.room.left(self.segments.folder(), commit)
    }

    /// Batches wait for room. Says so when that begins.
    fn falls_short(&self) {
        if !self.counters.waits_for_room.swap(true, Ordering::Relaxed) {
            tracing::error!(
                folder = %self.segments.folder().display(),
                "the disk is full there, but for {} MiB that are kept free: nothing is written, and all waits, until there \
                 is more room",
                RESERVE >> 20
            );
            // Something may be old enough to go.
            self.watches.to_tend.notify_one();
        }
    }

    /// All that waited was written. Says so if it had waited for room.
    fn goes_on(&self) {
        if !self.queue.is_closed() && self.counters.waits_for_room.swap(false, Ordering::Relaxed) {
            self.queue.goes_on();
            let folder = self.segments.folder().display();
            tracing::warn!(%folder, "there is room again: what waited is written");
        }
    }

    /// An answer for each job; none: the disk is full, and nothing was written.
    fn group(&mut self, jobs: &[Job]) -> Option<Vec<Answer>> {
        let (mut refused, mut spoilt) = (None, BTreeMap::new());
        loop {
            match self.attempt(jobs, refused.clone(), &spoilt) {
                Ok(Attempt::Done(answers)) => return Some(answers),
                Ok(Attempt::NoRoom(error)) if is_full(&error) && !self.queue.is_closed() => return None,
                // Again, without the batches that write to logs: they are refused, the others go in.
                Ok(Attempt::NoRoom(error)) => {
                    tracing::error!(folder = %self.segments.folder().display(), %error, "logs cannot be written");
                    refused = Some(error.to_string());
                }
                // Again, without it.
                Ok(Attempt::Spoilt(job, error)) => drop(spoilt.insert(job, error)),
                Err(error) => {
                    tracing::error!(%error, "the store failed");
                    return Some(jobs.iter().map(|_| Err(CommitError::Storage(error.clone()))).collect());
                }
            }
        }
    }

    fn attempt(
        &mut self,
        jobs: &[Job],
        refused: Option<String>,
        spoilt: &BTreeMap<usize, ReadError>,
    ) -> Result<Attempt, ReadError> {
        let transaction = begin(&self.database)?;
        let room = Room {
            folder: self.segments.folder().to_owned(),
            used: self.segments.used,
            total: self.options.max_log_bytes_total,
            one_log: self.options.max_log_bytes,
            refused,
        };
        let mut group = Group {
            tables: Tables::new(&transaction),
            appends: Appends::default(),
            known: &self.known,
            marks: self.marks,
            room,
            builds: Default::default(),
            finished: Vec::new(),
            extras: self.extras.clone(),
            waiting: BTreeMap::new(),
            decided: Default::default(),
            aftermath: Aftermath::default(),
            readers: Arc::clone(&self.readers.lock().expect("nothing panics while it is held")),
            news: Vec::new(),
            told: false,
        };
        let mut answers = Vec::with_capacity(jobs.len());
        for (number, job) in jobs.iter().enumerate() {
            let done = match (spoilt.get(&number), &job.what) {
                (Some(error), _) => Err(Stop::Fault(error.clone())),
                (None, What::Batch(batch)) => group.add(batch),
                (None, What::Work(work)) => {
                    group.work(work).map(|()| Committed::default()).map_err(Stop::Spoilt)
                }
            };
            answers.push(match done {
                Ok(committed) => Ok(committed),
                Err(Stop::Refused(refusal)) => Err(CommitError::Refused(refusal)),
                Err(Stop::Full(why)) => {
                    if !matches!(why, Full::Log { .. }) {
                        // Something may be old enough to go.
                        self.watches.to_tend.notify_one();
                    }
                    let Room { folder, used, .. } = group.room.clone();
                    Err(CommitError::LogsFull { folder, used, why })
                }
                // The others have nothing to do with it.
                Err(Stop::Fault(error)) if error.is_damage() => Err(CommitError::Storage(error)),
                Err(Stop::Spoilt(error)) if error.is_damage() => {
                    drop(group);
                    transaction.abort()?;
                    return Ok(Attempt::Spoilt(number, error));
                }
                Err(Stop::Fault(error) | Stop::Spoilt(error)) => return Err(error),
            });
        }
        if answers.iter().all(Result::is_err) {
            drop(group);
            transaction.abort()?;
            return Ok(Attempt::Done(answers));
        }
        let has_journal = jobs.iter().zip(&answers).any(|(job, answer)| answer.is_ok() && job.has_journal());
        let mut written = Written::default();
        if group.appends.bytes > 0 {
            // The bytes are durable before the commit that names them.
            written = match self.segments.write(&group.appends.runs(&group.tables)?) {
                Ok(written) => written,
                Err(error) => {
                    drop(group);
                    transaction.abort()?;
                    return Ok(Attempt::NoRoom(error));
                }
            };
            self.counters.shared_segment.store(self.segments.shared(), Ordering::Release);
            group.appends.index(&mut group.tables, &written.placed)?;
            for (segment, end, owner) in &written.ends {
                group.tables.segments.write()?.insert(segment, (*end, *owner))?;
            }
        }
        let budget = *self.budget.lock().expect("nothing panics while it is held");
        group.write_sums(&self.marks, budget)?;
        let Closed { appends, marks, builds, finished, extras, aftermath, told } = group.close();
        let journals = self.counters.journals.load(Ordering::Relaxed) + u64::from(has_journal);
        let commit = self.counters.commits.load(Ordering::Relaxed) + 1;
        let moment = |side| Moment { side, commit, journal: has_journal.then_some(journals) };
        self.tell(moment(Side::Before));
        transaction.commit()?;
        self.tell(moment(Side::After));

        self.marks = marks;
        self.extras = extras;
        let shared = self.segments.shared();
        self.segments.confirm(&written);
        self.segments.confirm_work(&aftermath);
        self.known.learn(&appends, &finished);
        self.counters.shared_segment.store(self.segments.shared(), Ordering::Release);
        let is_full = shared != 0 && self.segments.shared() == 0 && !aftermath.seal;
        if is_full || !finished.is_empty() && self.segments.has_owned() {
            self.watches.to_tend.notify_one();
        }
        self.counters.commits.store(commit, Ordering::Relaxed);
        self.counters.journals.store(journals, Ordering::Relaxed);
        self.counters.log_bytes.fetch_add(written.bytes, Ordering::Relaxed);
        self.counters.log_bytes_held.store(self.segments.used, Ordering::Relaxed);
        for (log, length) in appends.lengths() {
            self.watches.logs.change(&log, |progress| progress.length = length);
        }
        for log in finished {
            self.watches.logs.change(&log, |progress| progress.finished = true);
        }
        for build in builds {
            self.watches.builds.change(&build, |changes| *changes += 1);
        }
        if told {
            self.watches.events.send_modify(|commits| *commits += 1);
        }
        for (buildset, outcome) in answers.iter().flatten().flat_map(|committed| &committed.buildsets) {
            self.watches.ended(*buildset, *outcome);
        }
        Ok(Attempt::Done(answers))
    }

    fn tell(&self, moment: Moment) {
        if let Some(on_commit) = &self.options.on_commit {
            on_commit.tell(moment);
        }
    }
}

/// Whether the disk has no room, which passes.
fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Begins a transaction that is durable when its commit returns, and leaves nothing to repair.
pub(crate) fn begin(database: &Database) -> Result<WriteTransaction, ReadError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}
