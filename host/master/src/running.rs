//! The parts of a running master, as the wiring put them together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_config::Read;
use windlass_core::text::chain;
use windlass_core::time::Timestamp;
use windlass_runtime::Runtime;
use windlass_store::Store;

use crate::build_driver::Builds;
use crate::clock::Clock;
use crate::debug::Console;
use crate::dispatcher::Dispatcher;
use crate::events::Events;
use crate::fatal::Fatal;
use crate::git_poller::Pollers;
use crate::intake::Intake;
use crate::masters;
use crate::reconfig::Gate;
use crate::reporter::Reporters;
use crate::start::{Folders, MASTER, blocking};
use crate::stats::Names;
use crate::worker_link::Links;
use crate::world::World;

/// How long each part may take to go down. What takes longer is left behind: the next start puts in
/// order what it finds.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Running {
    pub config_path: PathBuf,
    pub folders: Folders,
    /// Where workers connect, with the port that was really taken.
    pub address: String,
    pub started: Timestamp,
    pub bundled: Vec<(String, Bytes)>,
    pub clock: Arc<dyn Clock>,
    pub events: Events,
    /// What the master cannot live with is told here.
    pub fatal: Fatal,
    pub store: Store,
    pub runtime: Runtime,
    /// What everything goes by; reconfiguration alone swaps it.
    pub world: ArcSwap<World>,
    /// The configuration that was read last, which may be none of a world: what is the same need not be read again.
    pub read: ArcSwap<Read>,
    pub dispatcher: Dispatcher,
    pub builds: Builds,
    pub links: Links,
    pub intake: Intake,
    pub pollers: Pollers,
    pub reporters: Reporters,
    /// Of the components whose cost is remembered.
    pub names: Names,
    pub gate: Gate,
    /// Who asked for the console.
    pub console: Console,
    /// Work that goes on when whoever asked for it has gone.
    pub tasks: TaskTracker,
    /// Somebody asked for the end.
    pub asked_down: AtomicBool,
    /// Nothing new is taken on.
    pub closing: CancellationToken,
    /// All is done.
    pub closed: CancellationToken,
}

impl Running {
    /// Takes the parts down in the order of the flow: what makes work first, what does it last.
    pub async fn shut_down(&self) {
        // Whoever waits for the end hears of it even if a part panics on the way.
        let _closed = self.closed.clone().drop_guard();
        self.fatal.close();
        self.closing.cancel();
        within("change sources", self.pollers.shutdown()).await;
        within("reporters", self.reporters.shutdown()).await;
        within("the intake", self.intake.shutdown()).await;
        self.tasks.close();
        within("a reconfiguration", self.tasks.wait()).await;
        within("the dispatcher", self.dispatcher.shutdown()).await;
        within("running builds", self.builds.shutdown()).await;
        within("links to workers", self.links.shutdown()).await;
        within("the master's row", async {
            if let Err(error) = masters::leave(&self.store, MASTER, self.clock.now()).await {
                tracing::warn!(error = chain(&error), "others will take this master for one that died");
            }
        })
        .await;
        let store = self.store.clone();
        within("the store", blocking(move || store.close())).await;
    }
}

async fn within(what: &str, end: impl Future<Output = ()>) {
    if tokio::time::timeout(PATIENCE, end).await.is_err() {
        tracing::error!(what, "took longer than {} s to stop and was left behind", PATIENCE.as_secs());
    }
}
