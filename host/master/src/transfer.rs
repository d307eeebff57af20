//! Files under way between workers and this master: who may send or take what, and what is under way.
//!
//! A step gets tokens, which it hands to a command; whoever shows one on the link of the right worker may
//! use it, until the step ends. What comes over a link is handed in here without waiting; each transfer has
//! a task of its own, which survives the link and goes on with the next one. A worker that sends more than
//! its window, or begins more transfers than it may, is told off: nothing here grows with what it does.
//!
//! A token of a step that is taken up after a restart is expected before it is granted again: whoever shows it waits.
//! What is under way and not known here begins again from its first byte, and so does what the next start of a worker
//! does again under the same token.
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
use windlass_protocol::transfer::{AT_ONCE, BEGIN_AGAIN, Part, Sent, TransferId};

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
    /// How many links it had.
    links: u64,
    /// What it wants under tokens that are expected.
    waiting: HashMap<TransferId, Asked>,
}

/// What a worker wants.
struct Asked {
    line: Line,
    token: String,
    way: Way,
}

/// A file or tree that it sends, or one of which it has so many parts.
enum Way {
    Send(Sent),
    Receive(u64),
}

/// A place among the transfers that a worker may have under way, until it is dropped.
struct Place(Arc<AtomicUsize>);

struct Token {
    worker: String,
    /// None: its step has not come to it again.
    grant: Option<Grant>,
    /// The upload under it.
    upload: Option<TransferId>,
    /// Cancelled when the step ends.
    closed: CancellationToken,
    /// What is under way under it, or was.
    transfers: HashSet<TransferId>,
}

/// What a token allows.
pub(crate) enum Grant {
    /// One upload: what becomes of it.
    Accept(Arc<Accept>),
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
        let mut desk = self.desk();
        let asked = desk.workers.get_mut(&worker).map(|of| of.waited_for(&token)).unwrap_or_default();
        desk.tokens.insert(token, Token::new(worker.clone(), Some(grant), closed));
        // No new link of the worker comes in between: these lines are of the present one.
        for (transfer, Asked { line, token, way }) in asked {
            match way {
                Way::Send(sent) => self.send(&mut desk, &worker, line, transfer, &token, &sent),
                Way::Receive(received) => {
                    self.receive(&mut desk, &worker, line, transfer, &token, received);
                }
            }
        }
    }

    /// A token that a step got before the master's restart: whoever shows it waits until the step has come to it again.
    pub(crate) fn expect(&self, token: String, worker: String, closed: CancellationToken) {
        self.desk().tokens.insert(token, Token::new(worker, None, closed));
    }

    /// Takes tokens back, and with them the transfers under them.
    pub(crate) fn revoke(&self, tokens: &[String]) {
        let mut desk = self.desk();
        for token in tokens {
            let Some(Token { worker, closed, transfers, .. }) = desk.tokens.remove(token) else { continue };
            closed.cancel();
            if let Some(of) = desk.workers.get_mut(&worker) {
                transfers.iter().for_each(|transfer| of.remove(transfer));
                for (transfer, Asked { line, .. }) in of.waited_for(token) {
                    line.say(ToWorker::Over { transfer, how: Err(unknown()) });
                }
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
        self.send(&mut self.desk(), worker, line, transfer, token, sent);
    }

    fn send(
        &self,
        desk: &mut Desk,
        worker: &str,
        line: Line,
        transfer: TransferId,
        token: &str,
        sent: &Sent,
    ) {
        if let Some(of) = desk.taken_up(worker, &transfer)
            && let Some(upload) = of.uploads.get_mut(&transfer)
        {
            return upload.opened(line, of.links);
        }
        let Some(line) = desk.put_off(worker, line, &transfer, token, Way::Send(sent.clone())) else {
            return;
        };
        let refused = match desk.begin(worker, token) {
            Err(failure) => failure,
            Ok((Token { grant: Some(Grant::Accept(accept)), upload, closed, transfers, .. }, of, place)) => {
                // One of an earlier link, of which the worker speaks no more, was its last start's.
                let before = upload.replace(transfer.clone());
                let rival =
                    before.filter(|before| of.uploads.get(before).is_some_and(|u| u.link == of.links));
                if rival.is_some() {
                    *upload = rival;
                    Failure::new("denied", "this token was used for another upload already")
                } else {
                    transfers.drain().for_each(|before| of.remove(&before));
                    transfers.insert(transfer.clone());
                    let (accept, closed) = (Arc::clone(accept), closed.clone());
                    let on = (line, of.links);
                    let upload = Upload::begin(accept, &transfer, sent, on, closed, &self.0.tasks, place);
                    of.uploads.insert(transfer, upload);
                    return;
                }
            }
            Ok((Token { grant: Some(Grant::Offer(_)) | None, .. }, ..)) => {
                Failure::new("denied", "this token is for a download")
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
        self.receive(&mut self.desk(), worker, line, transfer, token, received);
    }

    fn receive(
        &self,
        desk: &mut Desk,
        worker: &str,
        line: Line,
        transfer: TransferId,
        token: &str,
        received: u64,
    ) {
        if let Some(download) = desk.taken_up(worker, &transfer).and_then(|of| of.downloads.get(&transfer)) {
            // A task that has ended is done with: the worker has all of it, or was told why not.
            download.events.send(download::Event::Opened { line, received }).ok();
            return;
        }
        let Some(line) = desk.put_off(worker, line, &transfer, token, Way::Receive(received)) else { return };
        let refused = match desk.begin(worker, token) {
            Err(failure) => failure,
            Ok((Token { grant: Some(Grant::Accept(_)) | None, .. }, ..)) => {
                Failure::new("denied", "this token is for an upload")
            }
            Ok(_) if received > 0 => {
                let message = "the master does not know the beginning of this download any more";
                Failure::retryable(BEGIN_AGAIN, message)
            }
            Ok((Token { grant: Some(Grant::Offer(source)), closed, transfers, .. }, of, place)) => {
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
            of.waiting.remove(&transfer);
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// What is under way with a worker that says something of a transfer.
    fn taken_up(&mut self, worker: &str, transfer: &TransferId) -> Option<&mut OfWorker> {
        let of = self.workers.get_mut(worker)?;
        of.away.remove(transfer);
        Some(of)
    }

    /// Puts off what a worker wants under a token that is expected; else hands its line back.
    fn put_off(
        &mut self,
        worker: &str,
        line: Line,
        transfer: &TransferId,
        token: &str,
        way: Way,
    ) -> Option<Line> {
        let known = self.tokens.get(token).filter(|token| token.worker == worker);
        if known.is_none_or(|token| token.grant.is_some()) {
            return Some(line);
        }
        let of = self.workers.entry(worker.to_owned()).or_default();
        if of.waiting.len() >= MOST_OF_A_WORKER && !of.waiting.contains_key(transfer) {
            line.say(ToWorker::Over { transfer: transfer.clone(), how: Err(too_many()) });
            return None;
        }
        of.waiting.insert(transfer.clone(), Asked { line, token: token.to_owned(), way });
        None
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

impl Token {
    fn new(worker: String, grant: Option<Grant>, closed: CancellationToken) -> Token {
        Token { worker, grant, upload: None, closed, transfers: HashSet::new() }
    }
}

impl OfWorker {
    /// Takes out what waits for a token.
    fn waited_for(&mut self, token: &str) -> Vec<(TransferId, Asked)> {
        self.waiting.extract_if(|_, asked| asked.token == token).collect()
    }

    /// Dropping what is under way tells its task.
    fn remove(&mut self, transfer: &TransferId) {
        self.uploads.remove(transfer);
        self.downloads.remove(transfer);
        self.away.remove(transfer);
    }

    fn linked(&mut self) {
        self.links += 1;
        // It asks for these again.
        self.waiting.clear();
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
