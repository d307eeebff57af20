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

use std::collections::HashMap;
use std::path::PathBuf;
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
    /// By the name of their worker, too: one cannot speak for another.
    uploads: HashMap<(String, TransferId), Upload>,
    downloads: HashMap<(String, TransferId), Download>,
}

struct Token {
    worker: String,
    grant: Grant,
    /// Cancelled when the step ends.
    closed: CancellationToken,
}

/// What a token allows.
pub(crate) enum Grant {
    /// One upload.
    Accept {
        /// What becomes of it.
        accept: Arc<Accept>,
        /// The transfer that uses it.
        used: Option<TransferId>,
    },
    /// Any number of downloads.
    Offer(Source),
}

struct Download {
    token: String,
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
        self.desk().tokens.insert(token, Token { worker, grant, closed });
    }

    /// Takes tokens back, and with them the transfers under them.
    pub(crate) fn revoke(&self, tokens: &[String]) {
        let mut desk = self.desk();
        for token in tokens {
            if let Some(Token { closed, .. }) = desk.tokens.remove(token) {
                closed.cancel();
            }
        }
        desk.uploads.retain(|_, upload| !tokens.contains(upload.token()));
        desk.downloads.retain(|_, download| !tokens.contains(&download.token));
    }

    /// A worker wants to send, for the first time or on a new link.
    pub(crate) fn on_send(&self, worker: &str, line: Line, transfer: TransferId, token: &str, sent: &Sent) {
        let mut desk = self.desk();
        let key = (worker.to_owned(), transfer.clone());
        if let Some(upload) = desk.uploads.get(&key) {
            return upload.opened(line);
        }
        let crowded = desk.is_crowded(worker);
        let accepted = match desk.tokens.get_mut(token).filter(|token| token.worker == worker) {
            None => Err(unknown()),
            Some(_) if crowded => Err(too_many()),
            Some(Token { grant: Grant::Offer(_), .. }) => {
                Err(Failure::new("denied", "this token is for a download"))
            }
            Some(Token { grant: Grant::Accept { used: Some(_), .. }, .. }) => {
                Err(Failure::new("denied", "this token was used for another upload already"))
            }
            Some(Token { grant: Grant::Accept { accept, used }, closed, .. }) => {
                *used = Some(transfer.clone());
                Ok((Arc::clone(accept), closed.clone()))
            }
        };
        match accepted {
            Ok((accept, closed)) => {
                let upload = Upload::begin(accept, &key, token.to_owned(), sent, line, closed, &self.0.tasks);
                desk.uploads.insert(key, upload);
            }
            Err(failure) => line.say(ToWorker::Over { transfer, how: Err(failure) }),
        }
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
        let key = (worker.to_owned(), transfer.clone());
        if let Some(download) = desk.downloads.get(&key) {
            // A task that has ended is done with: the worker has all of it, or was told why not.
            download.events.send(download::Event::Opened { line, received }).ok();
            return;
        }
        let crowded = desk.is_crowded(worker);
        let offered = match desk.tokens.get(token).filter(|token| token.worker == worker) {
            None => Err(unknown()),
            Some(_) if crowded => Err(too_many()),
            Some(Token { grant: Grant::Accept { .. }, .. }) => {
                Err(Failure::new("denied", "this token is for an upload"))
            }
            Some(Token { grant: Grant::Offer(source), closed, .. }) => Ok((source.clone(), closed.clone())),
        };
        match offered {
            Ok((source, closed)) => {
                let (events, inbox) = mpsc::unbounded_channel();
                events.send(download::Event::Opened { line, received }).ok();
                let (transfers, done) = (self.clone(), key.clone());
                let task = download::run(source, transfer, inbox);
                self.0.tasks.spawn(async move {
                    closed.run_until_cancelled(task).await;
                    transfers.desk().downloads.remove(&done);
                });
                desk.downloads.insert(key, Download { token: token.to_owned(), events });
            }
            Err(failure) => line.say(ToWorker::Over { transfer, how: Err(failure) }),
        }
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
        match desk.uploads.get_mut(&(worker.to_owned(), transfer)) {
            Some(upload) => upload.part(number, part),
            // Its step has ended: what was on its way still comes.
            None => Ok(()),
        }
    }

    /// A worker has written all parts up to `number`.
    pub(crate) fn on_taken(&self, worker: &str, transfer: TransferId, number: u64) {
        if let Some(download) = self.desk().downloads.get(&(worker.to_owned(), transfer)) {
            download.events.send(download::Event::Taken(number)).ok();
        }
    }

    /// A worker goes no further with a transfer.
    pub(crate) fn on_give_up(&self, worker: &str, transfer: TransferId) {
        let mut desk = self.desk();
        let key = (worker.to_owned(), transfer);
        // Dropping either tells its task.
        desk.uploads.remove(&key);
        desk.downloads.remove(&key);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn is_crowded(&self, worker: &str) -> bool {
        let uploads = self.uploads.iter().filter(|((of, _), upload)| of == worker && !upload.is_over());
        let downloads = self.downloads.keys().filter(|(of, _)| of == worker);
        uploads.count() + downloads.count() >= MOST_OF_A_WORKER
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
