//! The tokens that commands made, as the links know them: what the store has, in memory.
//!
//! Whoever makes some holds the turn from the commit to the change here, so that both are always the same. Who revokes waits
//! for nobody: from then on they count no more, and they are here until the store has forgotten them, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Mutex, MutexGuard, Notify};
use windlass_config::config;
use windlass_core::id::TokenId;
use windlass_core::persist::Persist;
use windlass_core::time::Timestamp;
use windlass_core::worker_token::WorkerToken;

/// By which token a worker came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// By the one with this hash, which stood in the configuration then.
    Configured(String),
    /// By one that a command made.
    Made(TokenId),
}

/// All of them, by worker.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    of: RwLock<BTreeMap<String, OfWorker>>,
    /// Uses that the store does not know yet.
    unsaved: std::sync::Mutex<BTreeMap<(String, TokenId), Timestamp>>,
    news: Notify,
    turn: Mutex<()>,
}

/// Those of a worker.
#[derive(Debug, Default)]
struct OfWorker {
    /// By number.
    all: Vec<WorkerToken>,
    /// Those of them that count no more.
    revoked: BTreeSet<TokenId>,
}

impl OfWorker {
    fn counting(&self) -> impl Iterator<Item = &WorkerToken> {
        self.all.iter().filter(|one| !self.revoked.contains(&one.number))
    }
}

impl Tokens {
    /// The right to make some.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Those of a worker that the store has, by number.
    pub(crate) fn of(&self, worker: &str) -> Vec<WorkerToken> {
        self.read().get(worker).map(|of| of.all.clone()).unwrap_or_default()
    }

    /// All that the store has, by worker and number.
    pub(crate) fn all(&self) -> Vec<WorkerToken> {
        self.read().values().flat_map(|of| &of.all).cloned().collect()
    }

    /// Which of a worker's tokens this is. Each is compared, however early one fits.
    pub(super) fn find(&self, worker: &str, token: &str) -> Option<TokenId> {
        let mut found = None;
        for one in self.read().get(worker).into_iter().flat_map(OfWorker::counting) {
            if windlass_config::is_token_of(token, &one.hash) {
                found = Some(one.number);
            }
        }
        found
    }

    /// Whether nobody has revoked it.
    pub(crate) fn has(&self, worker: &str, number: TokenId) -> bool {
        self.read().get(worker).is_some_and(|of| of.counting().any(|one| one.number == number))
    }

    /// Adds one that is durable.
    pub(crate) fn add(&self, token: WorkerToken) {
        self.write().entry(token.worker.clone()).or_default().all.push(token);
    }

    /// These count no more; the store is yet to forget them.
    pub(super) fn revoke(&self, worker: &str, numbers: &[TokenId]) {
        if let Some(of) = self.write().get_mut(worker) {
            of.revoked.extend(numbers);
        }
    }

    /// Removes those whose removal is durable.
    pub(crate) fn remove(&self, worker: &str, numbers: &[TokenId]) {
        if let Some(of) = self.write().get_mut(worker) {
            of.all.retain(|one| !numbers.contains(&one.number));
            of.revoked.retain(|number| !numbers.contains(number));
        }
    }

    /// What removes the tokens of all but these workers from the store, if there are any.
    pub(crate) fn without(&self, workers: &[config::Worker]) -> Option<Persist> {
        let gone = self.all().into_iter().filter(|token| !has(workers, &token.worker));
        let gone: Vec<_> = gone.map(|token| (token.worker, token.number)).collect();
        (!gone.is_empty()).then_some(Persist::DropTokens(gone))
    }

    /// Forgets the tokens of all but these workers.
    pub(super) fn keep_only(&self, workers: &[config::Worker]) {
        self.write().retain(|worker, _| has(workers, worker));
    }

    /// A worker came by one.
    pub(super) fn came(&self, worker: &str, number: TokenId, at: Timestamp) {
        let mut all = self.write();
        let found = all.get_mut(worker).and_then(|of| of.all.iter_mut().find(|one| one.number == number));
        if found.is_some_and(|token| token.came(at)) {
            let mut unsaved = self.unsaved.lock().expect("no holder of this lock panics");
            unsaved.insert((worker.to_owned(), number), at);
            self.news.notify_one();
        }
    }

    /// Waits for uses that the store does not know, and answers what tells it.
    pub(crate) async fn uses(&self) -> Vec<Persist> {
        loop {
            let unsaved = std::mem::take(&mut *self.unsaved.lock().expect("no holder of this lock panics"));
            if !unsaved.is_empty() {
                let uses = unsaved.into_iter();
                return uses.map(|((worker, token), at)| Persist::UseToken { worker, token, at }).collect();
            }
            self.news.notified().await;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, OfWorker>> {
        self.of.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, OfWorker>> {
        self.of.write().expect("no holder of this lock panics")
    }
}

fn has(workers: &[config::Worker], name: &str) -> bool {
    workers.iter().any(|worker| worker.name == name)
}
