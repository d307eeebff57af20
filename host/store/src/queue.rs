//! The line before the writer: what is taken of it together, and what waits while the disk has no room for it.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::oneshot;
use windlass_core::persist::{Committed, Persist};
use windlass_core::record::BuildRow;
use windlass_core::report::{Event, Kind, Reader};

use crate::log_work::Work;
use crate::room::{LOOK_AGAIN, RESERVE};
use crate::writer::CommitError;

/// So many bytes are taken at once while there is no room for all that waits: what was freed is not spent in one go.
const SHORT_OF_ROOM: u64 = 8 << 20;

/// What writes and rows take of the disk, roughly, beside the bytes of logs: the pages that they change are written anew.
/// What an expiry writes is not known before, and is within the reserve.
const WRITE: u64 = 4 << 10;
const ROW: u64 = 512;

pub(crate) type Answer = Result<Committed, CommitError>;

/// What somebody waits for.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) what: What,
    pub(crate) reply: oneshot::Sender<Answer>,
    /// What it takes of the disk, roughly.
    bytes: u64,
}

#[derive(Debug)]
pub(crate) enum What {
    Batch(Vec<Persist>),
    /// Of the archive.
    Work(Work),
}

impl Job {
    pub(crate) fn has_journal(&self) -> bool {
        match &self.what {
            What::Batch(batch) => {
                batch.iter().any(|persist| matches!(persist, Persist::AppendJournal { .. }))
            }
            What::Work(_) => false,
        }
    }

    /// Whether it waits for no room: it makes some.
    pub(crate) fn makes_room(&self) -> bool {
        match &self.what {
            // A token that is revoked shall not go on for want of room.
            What::Batch(batch) => batch
                .iter()
                .all(|persist| matches!(persist, Persist::DropArtifacts(_) | Persist::DropTokens(_))),
            What::Work(_) => true,
        }
    }
}

impl What {
    /// What it takes of the disk, roughly, where builds are told to these.
    fn bytes(&self, readers: &[Reader]) -> u64 {
        let carried = |persist: &Persist| match persist {
            Persist::AppendLog { data, .. } => data.len() as u64,
            Persist::AddBuildset { requests, .. } => requests.len() as u64 * ROW,
            Persist::AppendJournal { entries, .. } => entries.len() as u64 * ROW,
            Persist::PutMark { mark, .. } => mark.ends.iter().map(|(_, held)| held.bytes() as u64).sum(),
            Persist::PutState { value, .. } => value.as_ref().map_or(0, |value| value.len() as u64),
            Persist::AddTests { results, .. } => results.len() as u64 * ROW,
            Persist::PutBuild(row) => told(row, readers),
            _ => 0,
        };
        match self {
            What::Batch(batch) => batch.iter().map(|persist| WRITE + carried(persist)).sum(),
            What::Work(_) => 0,
        }
    }
}

/// What the row of a build may put into the lines of those whom builds are told to. Whether it starts or ends the build is
/// not known before it is written: a write in between counts as a start.
fn told(row: &BuildRow, readers: &[Reader]) -> u64 {
    let kind = if row.complete.is_some() { Kind::BuildFinished } else { Kind::BuildStarted };
    match readers.iter().filter(|reader| reader.wanted.may_cover(kind, row)).count() as u64 {
        0 => 0,
        lines => lines * (WRITE + Event::bytes_of(row)),
    }
}

/// The line itself. It has no bound of its own, because to stand in line must not wait
/// (the order of calls is the order of commits): each task of the master has at most one batch here,
/// and what workers send is bounded by what they may have unacknowledged.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Vec<Job>,
    closed: bool,
    /// Until then there is no room, whatever the disk says: it refused bytes just now. After that little is taken at once,
    /// until nothing waits any longer: how much it takes is not known.
    refused_until: Option<Instant>,
}

/// What was taken of the line.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) jobs: Vec<Job>,
    /// Nobody had to stay behind.
    pub(crate) is_all: bool,
}

impl Queue {
    /// Has a batch stand in line; builds are told to `readers`.
    pub(crate) fn push(&self, batch: Vec<Persist>, readers: &[Reader]) -> oneshot::Receiver<Answer> {
        self.stand(What::Batch(batch), readers)
    }

    pub(crate) fn push_work(&self, work: Work) -> oneshot::Receiver<Answer> {
        self.stand(What::Work(work), &[])
    }

    fn stand(&self, what: What, readers: &[Reader]) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let job = Job { bytes: what.bytes(readers), what, reply };
        let mut waiting = self.lock();
        // A closed queue drops the job, and with it the sender: the answer is `Closed`.
        if !waiting.closed {
            waiting.jobs.push(job);
            self.wake.notify_one();
        }
        answer
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Drops what waits: the answer is `Closed`.
    pub(crate) fn clear(&self) {
        self.lock().jobs.clear();
    }

    /// Has jobs that were taken wait again, before all others, since the disk refused their bytes.
    pub(crate) fn put_back(&self, jobs: Vec<Job>) {
        let mut waiting = self.lock();
        waiting.jobs.splice(..0, jobs);
        waiting.refused_until = Some(Instant::now() + LOOK_AGAIN);
    }

    /// All that had waited was written: what the disk refused before is over.
    pub(crate) fn goes_on(&self) {
        self.lock().refused_until = None;
    }

    /// Waits for jobs and takes all of them, as far as there is room: `left` says how many bytes are left. Those that make
    /// room wait for none. Whenever others have to, `falls_short` hears of it. Once the queue is closed, nothing waits any
    /// longer: it is tried. None once it is closed and empty.
    ///
    /// Only the writer's thread takes. Neither function is called while the line is locked: a disk that does not answer
    /// keeps nobody from standing in line.
    pub(crate) fn take(&self, left: impl Fn() -> u64, falls_short: impl Fn()) -> Option<Taken> {
        let mut waiting = self.lock();
        loop {
            if waiting.jobs.is_empty() {
                if waiting.closed {
                    return None;
                }
                waiting = self.wake.wait(waiting).expect("nothing panics in here");
                continue;
            }
            if waiting.closed {
                let jobs = waiting.first(u64::MAX);
                return Some(waiting.taken(jobs));
            }
            let refused_just_now = waiting.refused_until.is_some_and(|until| Instant::now() < until);
            drop(waiting);
            let room = if refused_just_now { None } else { left().checked_sub(RESERVE) };
            let mut locked = self.lock();
            let jobs = locked.take(room);
            if !jobs.is_empty() {
                return Some(locked.taken(jobs));
            }
            drop(locked);
            falls_short();
            waiting = self.lock();
            if !waiting.closed {
                (waiting, _) = self.wake.wait_timeout(waiting, LOOK_AGAIN).expect("nothing panics in here");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics in here")
    }
}

impl Waiting {
    fn taken(&self, jobs: Vec<Job>) -> Taken {
        Taken { jobs, is_all: self.jobs.is_empty() }
    }

    /// What goes while there is so much room beyond the reserve; none: there is not even that.
    fn take(&mut self, room: Option<u64>) -> Vec<Job> {
        let all: u64 = self.jobs.iter().map(|job| job.bytes).sum();
        let most = if self.refused_until.is_some() { SHORT_OF_ROOM } else { u64::MAX };
        if room.is_some_and(|room| all <= room.min(most)) {
            return std::mem::take(&mut self.jobs);
        }
        let making: Vec<Job> = self.jobs.extract_if(.., |job| job.makes_room()).collect();
        match room {
            Some(room) if making.is_empty() => self.first(room),
            _ => making,
        }
    }

    /// As many as fit from the head of the line, and not more than is taken while room is short.
    fn first(&mut self, room: u64) -> Vec<Job> {
        let mut bytes = 0;
        let fits = |(place, job): &(usize, &Job)| {
            bytes += job.bytes;
            bytes <= room && (*place == 0 || bytes <= SHORT_OF_ROOM)
        };
        let count = self.jobs.iter().enumerate().take_while(fits).count();
        self.jobs.drain(..count).collect()
    }
}
