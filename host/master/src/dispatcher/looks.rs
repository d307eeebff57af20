//! Looks at single things on the board, and the orders that are answered.

use tokio::sync::oneshot;
use windlass_core::id::RequestId;
use windlass_core::schedule::{Board, Failed, Wait};

use super::Dispatcher;
use super::actor::Event;

/// What somebody wants to know, and where the answer goes.
pub(in crate::dispatcher) enum Look {
    Waits(Vec<(String, RequestId)>, oneshot::Sender<Vec<Wait>>),
    Held { builder: Option<String>, after: RequestId, limit: usize, reply: oneshot::Sender<Vec<RequestId>> },
    Forgive(String, oneshot::Sender<Option<Failed>>),
    Lift(String, oneshot::Sender<Vec<String>>),
}

impl Look {
    /// Answers. Whoever asked may have stopped waiting.
    pub(super) fn answer(self, board: &mut Board) {
        match self {
            Look::Waits(requests, reply) => drop(reply.send(board.waits(&requests))),
            Look::Held { builder, after, limit, reply } => {
                drop(reply.send(board.held(builder.as_deref(), after, limit)));
            }
            Look::Forgive(worker, reply) => drop(reply.send(board.forgive(&worker))),
            Look::Lift(policy, reply) => drop(reply.send(board.lift(&policy))),
        }
    }
}

impl Dispatcher {
    /// Why each of these requests waits, each named with its builder. Nothing once the task has ended.
    pub async fn waits(&self, requests: Vec<(String, RequestId)>) -> Vec<Wait> {
        self.look(|reply| Look::Waits(requests, reply)).await.unwrap_or_default()
    }

    /// The first `limit` requests after `after`, by number, that a policy or a retry holds back: of a builder, or of
    /// all.
    pub async fn held(&self, builder: Option<String>, after: RequestId, limit: usize) -> Vec<RequestId> {
        self.look(|reply| Look::Held { builder, after, limit, reply }).await.unwrap_or_default()
    }

    /// Ends a worker's quarantine, and forgets why it was. None: there was nothing.
    pub async fn forgive(&self, worker: String) -> Option<Failed> {
        self.look(|reply| Look::Forgive(worker, reply)).await.flatten()
    }

    /// Ends the suspensions of a policy: what they were of.
    pub async fn lift(&self, policy: String) -> Vec<String> {
        self.look(|reply| Look::Lift(policy, reply)).await.unwrap_or_default()
    }

    async fn look<T>(&self, what: impl FnOnce(oneshot::Sender<T>) -> Look) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(Event::Look(what(reply)));
        answer.await.ok()
    }
}
