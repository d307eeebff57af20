//! The masters that share a store: this one says that it is there, and buries those of which nothing was heard.
//!
//! With a store that one process opens there is no other; the rows are right from the first day on, so that the next
//! store (one that several open) finds them.

use std::sync::Weak;
use std::time::Duration;

use windlass_core::id::{MasterId, RequestId};
use windlass_core::master::{Master, Overdue, SILENT_MS};
use windlass_core::persist::Persist;
use windlass_core::time::Timestamp;
use windlass_store::{CommitError, ReadError, Store};

use crate::clock;
use crate::dispatcher::Dispatcher;
use crate::running::Running;

/// Between two signs of life: Buildbot's figure, a tenth of what makes a master count as dead.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Why the rows of masters could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MastersError {
    /// They cannot be read.
    #[error("failed to read who shares the store")]
    Read(#[from] ReadError),
    /// They cannot be written.
    #[error("failed to write who shares the store")]
    Commit(#[from] CommitError),
}

/// Registers this master as one that runs.
pub(crate) async fn register(store: &Store, master: MasterId, now: Timestamp) -> Result<(), MastersError> {
    put(store, master, true, now).await
}

/// Says that this master stops in an orderly way: what it holds waits for its next start.
pub(crate) async fn leave(store: &Store, master: MasterId, now: Timestamp) -> Result<(), MastersError> {
    put(store, master, false, now).await
}

async fn put(store: &Store, id: MasterId, active: bool, now: Timestamp) -> Result<(), MastersError> {
    let row = Master { id, name: format!("master-{}", id.0), active, last_active: now };
    store.commit(vec![Persist::PutMaster(row)]).await?;
    Ok(())
}

/// Says that this master is there, and takes away what others hold of whom nothing was heard for
/// [`SILENT_MS`]. Answers which requests wait again.
pub(crate) async fn heartbeat(
    store: &Store,
    master: MasterId,
    now: Timestamp,
) -> Result<Vec<RequestId>, MastersError> {
    store.commit(vec![Persist::Heartbeat { master, at: now }]).await?;
    let silent_since = Timestamp(now.0.saturating_sub(SILENT_MS));
    let mut freed = Vec::new();
    for dead in store.masters()? {
        if dead.id == master || dead.last_active > silent_since {
            continue;
        }
        // One that was buried before may have come back for a moment.
        if !dead.active && store.claimed_requests(dead.id)?.is_empty() {
            continue;
        }
        let overdue = Overdue::Master { master: dead.id, silent_since };
        let expire = Persist::Expire { overdue, fence: store.ids().next_fence(), at: now };
        match store.commit(vec![expire]).await {
            Ok(done) => {
                tracing::warn!(
                    master = dead.name,
                    requests = done.freed.len(),
                    builds = done.cut_off.len(),
                    "nothing was heard of a master for long; what it held waits again"
                );
                freed.extend(done.freed);
            }
            // It spoke meanwhile.
            Err(CommitError::Refused(refusal)) => tracing::info!(master = dead.name, %refusal, "it lives"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(freed)
}

/// Does so every minute until the store is closed or the master is gone, and tells the dispatcher what waits again.
/// Between two beats it holds nothing of the master: one whose handles were all dropped gives up its store.
pub(crate) async fn mind(running: Weak<Running>, master: MasterId) {
    let mut beats = tokio::time::interval(HEARTBEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let Some(running) = running.upgrade() else { return };
        if let Some(row) = clock::row(&*running.clock, master) {
            // Nobody waits for it. Without it, the next start takes the machine's time.
            drop(running.store.commit(vec![row]));
        }
        match beat(&running.store, &running.dispatcher, master, running.clock.now()).await {
            Ok(()) => {}
            Err(MastersError::Commit(CommitError::Closed)) => return,
            Err(error) => tracing::error!(error = windlass_core::text::chain(&error), "a heartbeat failed"),
        }
    }
}

/// A heartbeat, of which the dispatcher hears what waits again.
pub(crate) async fn beat(
    store: &Store,
    dispatcher: &Dispatcher,
    master: MasterId,
    now: Timestamp,
) -> Result<(), MastersError> {
    let freed = heartbeat(store, master, now).await?;
    if !freed.is_empty() {
        dispatcher.again(store.pending(&freed)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use windlass_core::id::{BuildsetId, Fence};
    use windlass_core::properties::Properties;
    use windlass_core::request::{Buildset, Request};

    use super::*;

    const ME: MasterId = MasterId(1);
    const OTHER: MasterId = MasterId(2);

    #[tokio::test]
    async fn what_a_silent_master_held_waits_again_and_what_a_speaking_one_holds_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), windlass_store::Options::default()).unwrap();
        register(&store, ME, Timestamp(0)).await.unwrap();
        register(&store, OTHER, Timestamp(0)).await.unwrap();
        let request = Request::new(RequestId(1), BuildsetId(1), "b".to_owned(), Timestamp(1));
        let buildset = Buildset {
            id: BuildsetId(1),
            reason: String::new(),
            submitter: "test".to_owned(),
            stamps: Vec::new(),
            properties: Properties::default(),
            submitted: Timestamp(1),
            requests: vec![request.id],
            parent: None,
            complete: None,
        };
        let claim = |master, fence| Persist::Claim {
            requests: vec![RequestId(1)],
            master,
            fence: Fence(fence),
            at: Timestamp(1),
        };
        let add = Persist::AddBuildset { buildset, requests: vec![request] };
        store.commit(vec![add]).await.unwrap();
        store.commit(vec![claim(OTHER, 1)]).await.unwrap();

        assert_eq!(heartbeat(&store, ME, Timestamp(SILENT_MS - 1)).await.unwrap(), []);
        assert_eq!(heartbeat(&store, ME, Timestamp(SILENT_MS)).await.unwrap(), [RequestId(1)]);
        assert!(store.masters().unwrap().iter().all(|m| m.active == (m.id == ME)));
        assert_eq!(heartbeat(&store, ME, Timestamp(2 * SILENT_MS)).await.unwrap(), [], "it is dead already");
        let next = store.ids().next_fence().0;
        store.commit(vec![claim(ME, next)]).await.unwrap();
        assert_eq!(heartbeat(&store, ME, Timestamp(9 * SILENT_MS)).await.unwrap(), [], "it is our own");
        // One that left is not there, and may come again.
        leave(&store, ME, Timestamp(9 * SILENT_MS)).await.unwrap();
        let here = |store: &Store| store.master(ME).unwrap().unwrap().active;
        assert!(!here(&store));
        register(&store, ME, Timestamp(9 * SILENT_MS)).await.unwrap();
        assert!(here(&store));
    }
}
