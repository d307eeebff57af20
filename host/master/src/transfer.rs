//! Files under way between workers and this master: who may send or take what, and what is under way.
//!
//! A step gets tokens, which it hands to a command; whoever shows one on the link of the right worker may
//! use it, until the step ends. What comes over a link is handed in here without waiting; each transfer has
//! a task of its own, which survives the link and goes on with the next one. A worker that sends more than
//! its window, or begins more transfers than it may, is told off: nothing here grows with what it does.
//!
//! - `upload`: takes parts in until an artifact is durable; `download`: sends what a token stands for
//! - `keep`: an artifact in the making, and the deletion of old ones; `tree`: the entries of one

pub(crate) mod download;
pub(crate) mod keep;
mod tree;
mod upload;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::value::Failure;
use windlass_protocol::message::ToWorker;
use windlass_protocol::transfer::{AT_ONCE, Part, Sent, TransferId};

use download::Source;
pub(crate) use upload::Accept;
use upload::Upload;

/// How many transfers of one worker may be under way: the end of one and the beginning of the next cross.
const MOST_OF_A_WORKER: usize = 2 * AT_ONCE;

/// On so many links a worker may leave out a transfer that it has under way: a link may be cut before it says so.
const MISSED: usize = 2;

/// All transfers of this master. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Transfers(Arc<Inner>);

struct Inner {
    desk: Mutex<Desk>,
    tasks: TaskTracker,
    public: OnceLock<PathBuf>,
    stored: Arc<Notify>,
}

#[derive(Default)]
struct Desk {
    tokens: HashMap<String, Token>,
    /// By their names: one cannot speak for another.
    workers: HashMap<String, OfWorker>,
}

/// What is under way with one worker, and uploads that are over, for workers that did not hear of it.
#[derive(Default)]
struct OfWorker {
    uploads: HashMap<TransferId, Upload>,
    downloads: HashMap<TransferId, Download>,
    /// How many have a task that runs.
    live: Arc<AtomicUsize>,
    /// Those that were live when a link began and were not taken up again: on so many links. The worker may have given
    /// them up without a link to say it on.
    away: HashMap<TransferId, usize>,
}

/// A place among the transfers that a worker may have under way, until it is dropped.
struct Place(Arc<AtomicUsize>);

struct Token {
    worker: String,
    grant: Grant,
    /// Cancelled when the step ends.
    closed: CancellationToken,
    /// What is under way under it, or was.
    transfers: HashSet<TransferId>,
}

/// What a token allows.
pub(crate) enum Grant {
    /// One upload.
    Accept {
        /// What becomes of it.
        accept: Arc<Accept>,
        /// There was one.
        used: bool,
    },
    /// Any number of downloads.
    Offer(Source),
}

struct Download {
    events: mpsc::UnboundedSender<download::Event>,
}

/// The link on which a transfer goes on, until it is cut.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) control: mpsc::WeakUnboundedSender<ToWorker>,
    pub(crate) parts: mpsc::WeakSender<ToWorker>,
}

impl Line {
    /// Says something; without the link nobody hears it, and the worker asks again on the next one.
    pub(crate) fn say(&self, message: ToWorker) {
        if let Some(control) = self.control.upgrade() {
            // The link is being cut: as if it were gone already.
            control.send(message).ok();
        }
    }
}

/// A worker broke the rules of a transfer: its link is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

impl Transfers {
    /// None yet; their tasks are tracked by `tasks`.
    pub(crate) fn new(tasks: TaskTracker) -> Transfers {
        Transfers(Arc::new(Inner {
            desk: Mutex::default(),
            tasks,
            public: OnceLock::new(),
            stored: Arc::default(),
        }))
    }

    /// Says where the files are that every build may download. The first call counts.
    pub(crate) fn serve(&self, public: PathBuf) {
        // A second call is a mistake of the wiring that nothing depends on.
        self.0.public.set(public).ok();
    }

    /// Where the files are that every build may download.
    pub(crate) fn public(&self) -> Option<&PathBuf> {
        self.0.public.get()
    }

    /// What is told when an artifact was stored.
    pub(crate) fn stored(&self) -> Arc<Notify> {
        Arc::clone(&self.0.stored)
    }

    /// Makes a token good for a worker, until `closed` is cancelled and the token taken back.
    pub(crate) fn grant(&self, token: String, worker: String, grant: Grant, closed: CancellationToken) {
        let transfers = HashSet::new();
        self.desk().tokens.insert(token, Token { worker, grant, closed, transfers });
    }

    /// Takes tokens back, and with them the transfers under them.
    pub(crate) fn revoke(&self, tokens: &[String]) {
        let mut desk = self.desk();
        for token in tokens {
            let Some(Token { worker, closed, transfers, .. }) = desk.tokens.remove(token) else { continue };
            closed.cancel();
            if let Some(of) = desk.workers.get_mut(&worker) {
                transfers.iter().for_each(|transfer| of.remove(transfer));
            }
        }
    }

    /// The master goes down: nothing goes on, and no worker is told so. The next master hears of it again.
    pub(crate) fn close(&self) {
        self.desk().tokens.values().for_each(|token| token.closed.cancel());
    }

    /// A link of a worker begins, on which it takes up what it has under way.
    pub(crate) fn on_link(&self, worker: &str) {
        if let Some(of) = self.desk().workers.get_mut(worker) {
            of.linked();
        }
    }

    /// A worker wants to send, for the first time or on a new link.
    pub(crate) fn on_send(&self, worker: &str, line: Line, transfer: TransferId, token: &str, sent: &Sent) {
        let mut desk = self.desk();
        if let Some(upload) = desk.taken_up(worker, &transfer).and_then(|of| of.uploads.get(&transfer)) {
            return upload.opened(line);
        }
        let refused = match desk.begin(worker, token) {
            Err(failure) => failure,
            Ok((Token { grant: Grant::Offer(_), .. }, ..)) => {
                Failure::new("denied", "this token is for a download")
            }
            Ok((Token { grant: Grant::Accept { used: true, .. }, .. }, ..)) => {
                Failure::new("denied", "this token was used for another upload already")
            }
            Ok((Token { grant: Grant::Accept { accept, used }, closed, transfers, .. }, of, place)) => {
                *used = true;
                transfers.insert(transfer.clone());
                let (accept, closed) = (Arc::clone(accept), closed.clone());
                let upload = Upload::begin(accept, &transfer, sent, line, closed, &self.0.tasks, place);
                of.uploads.insert(transfer, upload);
                return;
            }
        };
        line.say(ToWorker::Over { transfer, how: Err(refused) });
    }

    /// A worker wants what a token stands for, for the first time or on a new link.
    pub(crate) fn on_receive(
        &self,
        worker: &str,
        line: Line,
        transfer: TransferId,
        token: &str,
        received: u64,
    ) {
        let mut desk = self.desk();
        if let Some(download) = desk.taken_up(worker, &transfer).and_then(|of| of.downloads.get(&transfer)) {
            // A task that has ended is done with: the worker has all of it, or was told why not.
            download.events.send(download::Event::Opened { line, received }).ok();
            return;
        }
        let refused = match desk.begin(worker, token) {
            Err(failure) => failure,
            Ok((Token { grant: Grant::Accept { .. }, .. }, ..)) => {
                Failure::new("denied", "this token is for an upload")
            }
            Ok((Token { grant: Grant::Offer(source), closed, transfers, .. }, of, place)) => {
                transfers.insert(transfer.clone());
                let (events, inbox) = mpsc::unbounded_channel();
                events.send(download::Event::Opened { line, received }).ok();
                let task = download::run(source.clone(), transfer.clone(), inbox);
                let closed = closed.clone();
                let (all, worker, token, done) =
                    (self.clone(), worker.to_owned(), token.to_owned(), transfer.clone());
                self.0.tasks.spawn(async move {
                    closed.run_until_cancelled(task).await;
                    all.desk().forget(&worker, &token, &done);
                    drop(place);
                });
                of.downloads.insert(transfer, Download { events });
                return;
            }
        };
        line.say(ToWorker::Over { transfer, how: Err(refused) });
    }

    /// A part came.
    pub(crate) fn on_part(
        &self,
        worker: &str,
        transfer: TransferId,
        number: u64,
        part: Part,
    ) -> Result<(), Broken> {
        let mut desk = self.desk();
        match desk.workers.get_mut(worker).and_then(|of| of.uploads.get_mut(&transfer)) {
            Some(upload) => upload.part(number, part),
            // Its step has ended: what was on its way still comes.
            None => Ok(()),
        }
    }

    /// A worker has written all parts up to `number`.
    pub(crate) fn on_taken(&self, worker: &str, transfer: TransferId, number: u64) {
        let desk = self.desk();
        if let Some(download) = desk.workers.get(worker).and_then(|of| of.downloads.get(&transfer)) {
            download.events.send(download::Event::Taken(number)).ok();
        }
    }

    /// A worker goes no further with a transfer.
    pub(crate) fn on_give_up(&self, worker: &str, transfer: TransferId) {
        if let Some(of) = self.desk().workers.get_mut(worker) {
            of.remove(&transfer);
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// What is under way with a worker that says something of a transfer.
    fn taken_up(&mut self, worker: &str, transfer: &TransferId) -> Option<&OfWorker> {
        let of = self.workers.get_mut(worker)?;
        of.away.remove(transfer);
        Some(of)
    }

    /// Whether a worker may begin a transfer under this token, and with whom it then is.
    fn begin(&mut self, worker: &str, token: &str) -> Result<(&mut Token, &mut OfWorker, Place), Failure> {
        let token = self.tokens.get_mut(token).filter(|token| token.worker == worker).ok_or_else(unknown)?;
        let of = self.workers.entry(worker.to_owned()).or_default();
        if of.live.load(Ordering::Relaxed).saturating_sub(of.away.len()) >= MOST_OF_A_WORKER {
            return Err(too_many());
        }
        of.live.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&of.live));
        Ok((token, of, place))
    }

    fn forget(&mut self, worker: &str, token: &str, transfer: &TransferId) {
        if let Some(of) = self.workers.get_mut(worker) {
            of.remove(transfer);
        }
        if let Some(token) = self.tokens.get_mut(token) {
            token.transfers.remove(transfer);
        }
    }
}

impl OfWorker {
    /// Dropping what is under way tells its task.
    fn remove(&mut self, transfer: &TransferId) {
        self.uploads.remove(transfer);
        self.downloads.remove(transfer);
        self.away.remove(transfer);
    }

    fn linked(&mut self) {
        let uploads =
            self.uploads.iter().filter(|(_, upload)| !upload.is_over()).map(|(transfer, _)| transfer);
        let live: Vec<TransferId> = uploads.chain(self.downloads.keys()).cloned().collect();
        let before = std::mem::take(&mut self.away);
        for transfer in live {
            let missed = before.get(&transfer).map_or(1, |missed| missed + 1);
            if missed > MISSED {
                tracing::info!(transfer = transfer.0, "dropped a transfer that its worker takes up no more");
                self.remove(&transfer);
            } else {
                self.away.insert(transfer, missed);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unknown() -> Failure {
    Failure::new("denied", "the master knows no such token on this worker; a token dies with its step")
}

fn too_many() -> Failure {
    let message = format!("{MOST_OF_A_WORKER} transfers of a worker are under way already");
    Failure::retryable("quota", message)
}

#[cfg(test)]
mod tests;
