//! What a master cannot live with: the first such failure is kept, and brings the master down.
//!
//! A master that cannot write, or whose dispatcher is gone, must not pretend that it works. Whoever
//! finds that out says so here; the wiring hears it and shuts the master down, and its program ends
//! with an error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_core::persist::{Committed, Persist};
use windlass_store::{CommitError, ReadError, Store};

use crate::build_driver::chain;

/// Pauses before a commit is tried again after the database failed. One that fails after the last of
/// them, too, fails for good.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_millis(2_700),
];

/// Where what brings the master down is told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Fatal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    told: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    why: Option<String>,
    closed: bool,
}

impl Fatal {
    /// Tells of a failure that the master cannot live with. The first one counts, and none once the
    /// master goes down anyway.
    pub fn tell(&self, why: impl Into<String>) {
        let why = why.into();
        let mut state = self.lock();
        if state.closed || state.why.is_some() {
            tracing::debug!(why, "failed while the master goes down");
            return;
        }
        tracing::error!(why, "the master cannot go on");
        state.why = Some(why);
        self.0.told.cancel();
    }

    /// Resolves once there is something to tell.
    pub async fn told(&self) {
        self.0.told.cancelled().await;
    }

    /// What brought the master down, if something did.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        self.lock().why.clone()
    }

    /// The master goes down: what fails from now on is part of it.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Commits, and tries again while the database fails. If it fails for good, so has the master.
    pub(crate) async fn commit(&self, store: &Store, batch: Vec<Persist>) -> Result<Committed, CommitError> {
        for pause in PAUSES {
            match store.commit(batch.clone()).await {
                Err(error) if is_gone(&error) && !self.is_over(&error) => {
                    tracing::error!(error = chain(&error), "a commit failed; it is tried again");
                    tokio::time::sleep(pause).await;
                }
                result => return result.inspect_err(|error| self.judge(error)),
            }
        }
        store.commit(batch).await.inspect_err(|error| self.judge(error))
    }

    /// Finds out, after a commit that the database failed, whether it fails for good.
    pub(crate) async fn probe(&self, store: &Store) {
        // Without rows there is nothing to refuse: an error is the database's.
        self.commit(store, Vec::new()).await.map_or_else(drop, drop);
    }

    fn judge(&self, error: &CommitError) {
        if is_gone(error) {
            self.tell(format!("the store takes nothing any more: {}", chain(error)));
        }
    }

    /// Whether there is nothing left to wait for.
    fn is_over(&self, error: &CommitError) -> bool {
        matches!(error, CommitError::Closed) || self.lock().why.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the store failed, and not the batch: nothing is known of what the batch said.
pub(crate) fn is_gone(error: &CommitError) -> bool {
    match error {
        CommitError::Closed | CommitError::Storage(ReadError::Database(_)) => true,
        CommitError::Refused(_)
        | CommitError::LogsFull { .. }
        | CommitError::Storage(ReadError::Row { .. } | ReadError::Segment { .. }) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_failure_counts_and_none_of_an_orderly_end() {
        let fatal = Fatal::default();
        fatal.tell("one");
        fatal.tell("two");
        assert_eq!(fatal.why().as_deref(), Some("one"));
        let orderly = Fatal::default();
        orderly.close();
        orderly.tell("late");
        assert_eq!(orderly.why(), None);
    }
}
