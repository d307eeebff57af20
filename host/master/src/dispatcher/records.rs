//! Records of decisions on their way into the store. The dispatcher never waits for them: they go along with the
//! next claim, which most of them led to, or after a moment by themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::decision::Decision;
use windlass_core::id::{BuildId, DecisionId};
use windlass_core::persist::{Committed, Persist};
use windlass_store::{CommitError, Store};

/// Records that no claim takes along wait so long for others, so that a burst of them is one commit.
const PATIENCE: Duration = Duration::from_secs(1);

/// As many do not wait.
const MANY: usize = 256;

/// A commit that is in line.
pub(super) type Commit = Pin<Box<dyn Future<Output = Result<Committed, CommitError>> + Send>>;

/// Records that are not in the store's line yet, oldest first.
#[derive(Default)]
pub(super) struct Records {
    waiting: Vec<Arc<Decision>>,
    since: Option<Instant>,
}

impl Records {
    pub(super) fn add(&mut self, decision: Decision) {
        self.since.get_or_insert_with(Instant::now);
        self.waiting.push(Arc::new(decision));
    }

    /// Hands out all that wait, to go into the commit of a claim. Those that it names led to `build`.
    pub(super) fn go_along(&mut self, named: &[DecisionId], build: BuildId) -> Vec<Arc<Decision>> {
        let mut all = self.take();
        for record in all.iter_mut().filter(|record| named.contains(&record.id)) {
            Arc::make_mut(record).build = Some(build);
        }
        all
    }

    /// The claim that took these along was refused: there is no such build, and they wait again.
    pub(super) fn come_back(&mut self, records: Vec<Arc<Decision>>, build: BuildId) {
        if records.is_empty() {
            return;
        }
        self.since.get_or_insert_with(Instant::now);
        self.waiting.extend(records.into_iter().map(|mut record| {
            if record.build == Some(build) {
                Arc::make_mut(&mut record).build = None;
            }
            record
        }));
    }

    /// When they have waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = (self.waiting.len() >= MANY).then(Instant::now);
        now.or_else(|| Some(self.since? + PATIENCE))
    }

    /// Puts all that wait into the store's line. It is written even if nobody waits for it.
    pub(super) fn go(&mut self, store: &Store) -> Commit {
        Box::pin(store.commit(persist(&self.take())))
    }

    fn take(&mut self) -> Vec<Arc<Decision>> {
        self.since = None;
        std::mem::take(&mut self.waiting)
    }
}

/// What puts these into the store.
pub(super) fn persist(records: &[Arc<Decision>]) -> Vec<Persist> {
    records.iter().map(|record| Persist::AddDecision(Arc::clone(record))).collect()
}
