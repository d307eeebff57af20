//! Tends the archive of logs: now and then, and when there is something that should not wait. Each visit has a thread
//! of its own at low priority, since it compresses; the store says what a visit does.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use windlass_core::artifact::Keep;
use windlass_core::keeping::Keeping;
use windlass_core::text::chain;
use windlass_core::time::Timestamp;
use windlass_store::{Store, TendError, Tended};

use crate::artifacts;
use crate::clock::Clock;
use crate::running::Running;

/// Between two visits: what is too old goes within a minute, and a master that starts is busy with other things.
const BETWEEN: Duration = Duration::from_secs(60);

/// Builds come first; as of `nice`.
const SLOW: i32 = 10;

/// Tends the archive until the master shuts down.
pub(crate) async fn mind(running: Weak<Running>, store: Store) {
    let Some(closing) = running.upgrade().map(|running| running.closing.clone()) else { return };
    loop {
        tokio::select! {
            () = store.logs_to_tend() => {}
            () = tokio::time::sleep(BETWEEN) => {}
            () = closing.cancelled() => return,
        }
        let Some((keeping, now)) =
            running.upgrade().map(|running| (running.world.load().config.logs.keeping, running.clock.now()))
        else {
            return;
        };
        let stop = Stop::default();
        let visit = visit(store.clone(), keeping, now, Arc::clone(&stop.0));
        tokio::pin!(visit);
        let tended = tokio::select! {
            tended = &mut visit => tended,
            () = closing.cancelled() => {
                drop(stop);
                visit.await
            }
        };
        tell(tended);
    }
}

/// Makes room for a master that cannot become ready, since what it writes first waits for room on its disk.
pub(crate) async fn make_room(store: &Store, keeping: Keeping, keep: Keep, clock: &dyn Clock) -> Infallible {
    loop {
        tokio::select! {
            () = store.logs_to_tend() => {}
            () = tokio::time::sleep(BETWEEN) => {}
        }
        artifacts::drop_overdue(store, keep, clock.now()).await;
        let stop = Stop::default();
        tell(visit(store.clone(), keeping, clock.now(), Arc::clone(&stop.0)).await);
    }
}

/// Ends a visit when it is dropped.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn tell(tended: Result<Tended, TendError>) {
    match tended {
        Ok(Tended { archived: 0, expired: 0, builds: 0, changes: 0, .. }) => {}
        Ok(Tended { archived, bytes, stored, expired, builds, changes }) => {
            tracing::info!(
                archived,
                bytes,
                stored,
                expired,
                builds,
                changes,
                "the archive of logs was tended"
            );
        }
        Err(error) => tracing::error!(error = chain(&error), "the archive of logs is not up to date"),
    }
}

async fn visit(
    store: Store,
    keeping: Keeping,
    now: Timestamp,
    stop: Arc<AtomicBool>,
) -> Result<Tended, TendError> {
    let (answer, answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name("archive".to_owned()).spawn(move || {
        if let Err(error) = rustix::process::setpriority_process(None, SLOW) {
            tracing::warn!(%error, "the archive of logs keeps the priority of the rest");
        }
        let tended = store.tend_logs(&keeping, now, &stop);
        // Whoever hears the answer may open the store anew.
        drop(store);
        answer.send(tended).ok();
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "there is no thread for the archive of logs");
        return Ok(Tended::default());
    }
    answered.await.unwrap_or_else(|_| {
        tracing::error!("BUG: a visit to the archive of logs panicked");
        Ok(Tended::default())
    })
}
