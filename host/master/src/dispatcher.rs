//! The dispatcher: one task that owns the pending index, the slots and the generation in use.
//!
//! A thin shell around [`windlass_core::schedule::Board`]: events go in, the board says what is to be asked, claimed
//! and started, and the shell does it. It waits for nothing but its inbox: answers of policies and
//! commits of the store come back as events.

mod actor;
mod looks;
mod pace;
mod plans;
mod policies;
mod records;
mod rules;
mod step_locks;
mod suspensions;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use windlass_core::builder::Builder;
use windlass_core::id::MasterId;
use windlass_core::id::{BuildId, RequestId};
use windlass_core::lock::Access;
use windlass_core::outcome::Outcome;
use windlass_core::record::BuildRow;
use windlass_core::request::{Buildset, Request};
use windlass_core::schedule::{Status, TakenUp};
use windlass_core::time::Timestamp;
use windlass_core::value::Pair;
use windlass_runtime::registry::Generation;
use windlass_store::Store;

use self::actor::{Actor, Event};
pub use self::pace::Figures as PaceFigures;
use self::pace::Pace;
pub use self::policies::Policies;
pub use self::step_locks::{Standing, StepLocks};
use crate::clock::Clock;
use crate::fatal::Fatal;
use crate::world::World;

/// What the dispatcher shows: see [`Status`].
pub type DispatcherStatus = Status;

/// What starts a build that was claimed and recorded. The build driver implements it.
pub trait StartBuild: Send + Sync + 'static {
    /// Starts it in a task of its own and returns at once.
    fn start(&self, build: BuildStart);
}

/// A build to start: its claim and its row are durable.
#[derive(Clone)]
pub struct BuildStart {
    /// The row as committed.
    pub row: BuildRow,
    /// The builder as it was configured at this moment.
    pub builder: Arc<Builder>,
    /// The requests that it serves; the first is the one that it was started for.
    pub requests: Vec<Request>,
    /// Their buildsets, in the same order.
    pub buildsets: Vec<Buildset>,
    /// The plugins that it keeps for its life.
    pub generation: Arc<Generation>,
}

/// A worker that connected.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerUp {
    /// Its name.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
    /// What it said about itself; policies may look these up beside its configured properties.
    pub facts: Vec<Pair>,
}

/// A build that ended. Its requests were completed, or for [`Outcome::Retry`] given back, by the driver's commit.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildEnded {
    /// The build.
    pub build: BuildId,
    /// Its worker.
    pub worker: String,
    /// Its builder.
    pub builder: String,
    /// The requests that it served.
    pub requests: Vec<RequestId>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether its worker was lost before any of its steps had come to an end.
    pub lost_at_once: bool,
    /// When.
    pub at: Timestamp,
}

/// What the dispatcher is made of.
pub struct Parts {
    /// Where requests are claimed and builds recorded.
    pub store: Store,
    /// Who asks policies: the runtime.
    pub policies: Arc<dyn Policies>,
    /// Who starts builds.
    pub start: Arc<dyn StartBuild>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// In whose name requests are claimed.
    pub master: MasterId,
    /// Where it is told that no build can start any more.
    pub fatal: Fatal,
    /// What it goes by at first.
    pub world: Arc<World>,
    /// Builds that run already: those of the last run that go on.
    pub taken_up: Vec<TakenUp>,
}

/// The handle to the dispatcher's task. Its methods never block; what they say is seen in order, and
/// nobody listens any more once the task has ended.
///
/// The inbox has no bound of its own: what comes through it is bounded by what it speaks of (durable
/// requests, which the board keeps anyway, connected workers, running builds), and a sender that had to
/// wait here could be the one whose commit the dispatcher waits for.
#[derive(Clone)]
pub struct Dispatcher {
    /// Each event with the moment when it was put in.
    inbox: mpsc::UnboundedSender<(Instant, Event)>,
    status: watch::Receiver<Arc<DispatcherStatus>>,
    pace: Arc<Pace>,
}

impl Dispatcher {
    /// Starts the task. It reads the first requests of each builder from the store, and ends when the last handle is
    /// dropped or at [`Dispatcher::shutdown`].
    #[must_use]
    pub fn spawn(parts: Parts) -> Dispatcher {
        let (inbox, events) = mpsc::unbounded_channel();
        let (publish, status) = watch::channel(Arc::default());
        let fatal = parts.fatal.clone();
        let pace = Arc::<Pace>::default();
        let actor = tokio::spawn(Actor::new(parts, events, publish, Arc::clone(&pace)).run());
        tokio::spawn(async move {
            // Not aborted by anybody: it panicked, or the program ends.
            if let Err(error) = actor.await
                && error.is_panic()
            {
                fatal.tell(format!("BUG: the dispatcher died, no build starts any more: {error}"));
            }
        });
        Dispatcher { inbox, status, pace }
    }

    /// Requests that were just committed with their buildset.
    pub fn submitted(&self, buildset: Buildset, requests: Vec<Request>) {
        let buildset = Arc::new(buildset);
        let with_set = |request| (request, Arc::clone(&buildset));
        self.again(requests.into_iter().map(with_set).collect());
    }

    /// Requests that wait again without the end of a build: what an expiry has freed
    /// ([`windlass_core::persist::Committed::freed`]), as [`Store::pending`] finds them.
    pub fn again(&self, requests: Vec<(Request, Arc<Buildset>)>) {
        self.tell(Event::Submitted(requests));
    }

    /// Requests that wait with another priority than before, as [`Store::pending`] finds them after the commit.
    pub fn raised(&self, requests: Vec<(Request, Arc<Buildset>)>) {
        self.tell(Event::Raised(requests));
    }

    /// A pending request was completed without a build.
    pub fn withdrawn(&self, builder: &str, request: RequestId) {
        self.tell(Event::Withdrawn(builder.to_owned(), request));
    }

    /// A worker connected.
    pub fn worker_up(&self, worker: WorkerUp) {
        self.tell(Event::WorkerUp(worker));
    }

    /// A worker's connection ended.
    pub fn worker_down(&self, name: &str) {
        self.tell(Event::WorkerDown(name.to_owned()));
    }

    /// A worker reported its load; 0.0 is idle.
    pub fn worker_load(&self, name: &str, load: f64) {
        self.tell(Event::WorkerLoad(name.to_owned(), load));
    }

    /// A build ended: its slot is free.
    pub fn build_ended(&self, end: BuildEnded) {
        self.tell(Event::BuildEnded(end));
    }

    /// Asks for the locks of a build's step. A build has one step at a time, which asks once.
    pub fn lock_step(&self, build: BuildId, step: &str, uses: Vec<Access>) -> StepLocks {
        let (tell, standing) = watch::channel(Standing::default());
        self.tell(Event::StepLocks { build, step: step.to_owned(), uses, tell });
        let dispatcher = self.clone();
        StepLocks::new(standing, move || dispatcher.tell(Event::StepUnlocks(build)))
    }

    /// The running step of `build` waits for requests, each of a builder, until what this answers is dropped. It
    /// stands `Held` while it may wait, and `Refused` if that would last for ever.
    pub fn wait_for(&self, build: BuildId, requests: Vec<(RequestId, String)>) -> StepLocks {
        let (tell, standing) = watch::channel(Standing::default());
        self.tell(Event::StepWaits { build, requests, tell });
        let dispatcher = self.clone();
        StepLocks::new(standing, move || dispatcher.tell(Event::StepWaitsNoMore(build)))
    }

    /// Goes by another configuration and other plugins from the next decision on.
    pub fn configure(&self, world: Arc<World>) {
        self.tell(Event::Configure(world));
    }

    /// Looks again whether something is due: the clock was moved.
    pub fn look_again(&self) {
        self.tell(Event::LookAgain);
    }

    /// Who waits for what, at most a tenth of a second old.
    #[must_use]
    pub fn snapshot(&self) -> Arc<DispatcherStatus> {
        self.status.borrow().clone()
    }

    /// Makes a snapshot that knows all that was told before. Returns once it is there, or the task has ended.
    pub async fn publish(&self) {
        let (done, published) = oneshot::channel();
        self.tell(Event::Publish(done));
        // An error: the task has ended, and its last snapshot stands.
        let _ = published.await;
    }

    /// The snapshots as they come.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<DispatcherStatus>> {
        self.status.clone()
    }

    /// How quickly it handled the newest events.
    #[must_use]
    pub fn pace(&self) -> PaceFigures {
        self.pace.figures()
    }

    /// Sees to it that the store has the records of all decisions so far, and returns when it has.
    pub async fn keep_records(&self) {
        let (reply, line) = oneshot::channel();
        self.tell(Event::KeepRecords(reply));
        // An error: the task has ended, and its records went before it.
        if let Ok(commit) = line.await
            && let Err(error) = commit.await
        {
            tracing::warn!(%error, "records of decisions were not kept");
        }
    }

    /// Starts no further build, and resolves when every claim under way has become a started build or was
    /// given up.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        self.tell(Event::Shutdown(reply));
        // An error says that the task has ended already.
        done.await.unwrap_or_default();
    }

    fn tell(&self, event: Event) {
        // After a shutdown nobody listens: what happens then is found in the store at the next start.
        drop(self.inbox.send((Instant::now(), event)));
    }
}
