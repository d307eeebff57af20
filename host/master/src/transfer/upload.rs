//! Taking in what a worker sends: parts in order, written and hashed off the async threads, until the artifact
//! is durable and has its row. Only then does the worker hear that it is over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::artifact::{ArtifactRow, Limit};
use windlass_core::id::{BuildId, Fence, StepId};
use windlass_core::persist::Persist;
use windlass_core::value::Failure;
use windlass_protocol::message::ToWorker;
use windlass_protocol::session::{Inbox, Seen};
use windlass_protocol::transfer::{ACKNOWLEDGE, Part, Sent, TransferId, WINDOW};
use windlass_store::{CommitError, Store};

use super::keep::{Made, Making, remove_dropped};
use super::{Broken, Line, Place};
use crate::build_driver::chain;
use crate::clock::Clock;
use crate::start::blocking;

/// Parts that are written in one go off the async threads.
const AT_ONCE: usize = 64;

/// What becomes of an upload: the artifact of a build.
pub(crate) struct Accept {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) build: BuildId,
    pub(crate) fence: Fence,
    pub(crate) step: StepId,
    pub(crate) name: String,
    /// More than that is refused; before compression.
    pub(crate) limit: Limit,
    /// So many bytes of the disk are not for artifacts.
    pub(crate) keep_free: u64,
    /// Told when it is stored.
    pub(crate) stored: Arc<Notify>,
}

impl Accept {
    /// The row of what was made, and is durable.
    pub(crate) fn row(&self, made: Made) -> Persist {
        let Made { id, kind, size, entries, hash, mode, modified_ms } = made;
        let (build, step, name, stored) = (self.build, self.step, self.name.clone(), self.clock.now());
        let artifact =
            ArtifactRow { id, build, step, name, kind, size, entries, hash, mode, modified_ms, stored };
        Persist::PutArtifact { fence: self.fence, artifact }
    }

    /// Gives what was made, and is durable, its row, and removes what had its name before.
    async fn keep(&self, made: Made) -> Result<(), Failure> {
        let (build, id) = (self.build, made.id);
        let put = self.row(made);
        match self.store.commit(vec![put]).await {
            Ok(committed) => {
                remove_dropped(&self.store, committed.dropped).await;
                self.stored.notify_one();
                Ok(())
            }
            Err(error) => {
                // Otherwise nobody knows whether the row is there: the next start removes what has none.
                if matches!(error, CommitError::Refused(_)) {
                    remove_dropped(&self.store, vec![(build, id)]).await;
                }
                Err(Failure::new("io", chain(&error)))
            }
        }
    }
}

/// An upload under way. Dropping it gives it up.
pub(super) struct Upload {
    inbox: Inbox,
    parts: mpsc::UnboundedSender<(u64, Part)>,
    shared: Arc<Shared>,
    gone: CancellationToken,
    /// On which of its worker's links it was spoken of last.
    pub(super) link: u64,
}

struct Shared {
    transfer: TransferId,
    state: Mutex<State>,
    /// What came and is not written yet.
    held: AtomicUsize,
}

struct State {
    line: Line,
    taken: u64,
    over: Option<Result<u64, Failure>>,
}

impl Upload {
    pub(super) fn begin(
        accept: Arc<Accept>,
        transfer: &TransferId,
        sent: &Sent,
        (line, link): (Line, u64),
        closed: CancellationToken,
        tasks: &TaskTracker,
        place: Place,
    ) -> Upload {
        let (parts, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            transfer: transfer.clone(),
            state: Mutex::new(State { line, taken: 0, over: None }),
            held: AtomicUsize::new(0),
        });
        let gone = CancellationToken::new();
        let (of_task, given_up, sent) = (Arc::clone(&shared), gone.clone(), sent.clone());
        tasks.spawn(async move {
            let taking = take_in(&accept, &sent, queue, &of_task);
            let how = tokio::select! {
                how = taking => Some(how),
                () = closed.cancelled() => None,
                () = given_up.cancelled() => None,
            };
            // Free before the worker hears of it, and sends the next one.
            drop(place);
            how.into_iter().for_each(|how| of_task.end(how));
        });
        let upload = Upload { inbox: Inbox::default(), parts, shared, gone, link };
        upload.ready();
        upload
    }

    pub(super) fn is_over(&self) -> bool {
        self.shared.state().over.is_some()
    }

    /// The worker is there again: what it hears now may have been said before, on a link that was cut.
    pub(super) fn opened(&mut self, line: Line, link: u64) {
        self.link = link;
        self.shared.state().line = line;
        self.ready();
    }

    fn ready(&self) {
        let (transfer, received) = (self.shared.transfer.clone(), self.inbox.seen());
        let state = self.shared.state();
        state.line.say(ToWorker::Ready { transfer: transfer.clone(), received });
        match &state.over {
            Some(how) => state.line.say(ToWorker::Over { transfer, how: how.clone() }),
            None => state.line.say(ToWorker::Taken { transfer, number: state.taken }),
        }
    }

    pub(super) fn part(&mut self, number: u64, part: Part) -> Result<(), Broken> {
        match self.inbox.accept(number) {
            Seen::New => {}
            Seen::Duplicate => return Ok(()),
            Seen::Gap { expected } => {
                return Err(Broken(format!("part {number} of a file came where {expected} was due")));
            }
        }
        let cost = part.cost();
        if self.shared.held.fetch_add(cost, Ordering::Relaxed) + cost > WINDOW {
            return Err(Broken("it sent more of a file than a window".to_owned()));
        }
        // A task that has ended has said why: what was on its way is of no use.
        self.parts.send((number, part)).ok();
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self, number: u64) {
        let mut state = self.state();
        state.taken = number;
        state.line.say(ToWorker::Taken { transfer: self.transfer.clone(), number });
    }

    fn end(&self, how: Result<u64, Failure>) {
        let mut state = self.state();
        state.line.say(ToWorker::Over { transfer: self.transfer.clone(), how: how.clone() });
        state.over = Some(how);
    }
}

/// Takes parts until the last one, and keeps what they make. Safe to drop: what is unfinished goes.
async fn take_in(
    accept: &Accept,
    sent: &Sent,
    mut queue: mpsc::UnboundedReceiver<(u64, Part)>,
    shared: &Shared,
) -> Result<u64, Failure> {
    let id = accept.store.ids().next_artifact();
    let (files, sent) = (accept.store.artifact_files().clone(), sent.clone());
    let (most, keep_free) = (accept.limit, accept.keep_free);
    let mut making = blocking(move || Making::begin(&files, id, &sent, most, keep_free)).await?;
    let mut unsaid = 0;
    let made = loop {
        let mut batch = Vec::with_capacity(AT_ONCE);
        if queue.recv_many(&mut batch, AT_ONCE).await == 0 {
            // Nobody can send any more: dropped with the upload, and so is this.
            std::future::pending::<()>().await;
        }
        let last = batch.last().map_or(0, |(number, _)| *number);
        let cost: usize = batch.iter().map(|(_, part)| part.cost()).sum();
        let end;
        (making, end) = blocking(move || {
            let mut end = None;
            for (_, part) in batch {
                match part {
                    Part::Data { data } if end.is_none() => making.write(&data)?,
                    Part::Data { .. } => {
                        return Err(Failure::new("io", "parts came behind the end of a file"));
                    }
                    Part::End { bytes, hash } => end = Some((bytes, hash)),
                }
            }
            Ok((making, end))
        })
        .await?;
        shared.held.fetch_sub(cost, Ordering::Relaxed);
        unsaid += cost;
        if let Some((bytes, hash)) = end {
            let build = accept.build;
            break blocking(move || making.finish(build, Some((bytes, hash)))).await?;
        }
        if unsaid >= ACKNOWLEDGE || queue.is_empty() {
            unsaid = 0;
            shared.taken(last);
        }
    };
    let size = made.size;
    accept.keep(made).await?;
    Ok(size)
}
