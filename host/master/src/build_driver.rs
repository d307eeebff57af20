//! Builds that run: one task for each, from its claim to its last commit.
//!
//! The task owns a [`windlass_core::build::Build`], tells it what happened, and does what it says: rows
//! first, then the next step. A step is a component of the generation that was live when the build
//! started; the build keeps that generation for its whole life.
//!
//! - `run`: the task; `step`: one step of it; `again`: how it begins with a build of the last run
//! - `locks`: what a step waits for before it runs
//! - `properties`: what a build begins with
//! - `rendering`: what a step is given, and whether it runs
//! - `retries`: how often a request was tried
//! - `children`: buildsets that its steps submit

mod again;
mod children;
mod locks;
mod pace;
mod properties;
mod rendering;
pub(crate) mod retries;
mod run;
mod step;

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use windlass_core::change::Change;
use windlass_core::id::{BuildId, ChangeId, Fence, RequestId, StepId};
use windlass_core::lock::Access;
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Committed, Persist};
use windlass_core::record::{BuildRow, StopRow};
use windlass_core::request::{Buildset, Request};
use windlass_core::secret::Seal;
pub(crate) use windlass_core::text::chain;
use windlass_runtime::Runtime;
use windlass_store::{CommitError, ReadError, Store};

use self::retries::Retries;
use crate::clock::Clock;
use crate::dispatcher::{BuildEnded, BuildStart, Dispatcher, StartBuild, StepLocks};
use crate::events::Events;
use crate::fatal::Fatal;
use crate::recovery::TakeUp;
use crate::step_port::Stop;
use crate::worker_link::Links;
use crate::world::World;

/// How long a step that was asked to stop may take for it, and its commands thereafter. A worker has ended a command
/// that does not heed an interrupt after 35 s.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(40);

/// What drives builds.
pub struct DriverParts {
    /// Where builds are recorded.
    pub store: Store,
    /// Where steps run.
    pub runtime: Runtime,
    /// Where their commands go.
    pub links: Links,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where progress is told.
    pub events: Events,
    /// Where it is told that the store is gone.
    pub fatal: Fatal,
    /// Properties, grants and limits of logs at first.
    pub world: Arc<World>,
    /// How long a step that was asked to stop may take for it.
    pub stop_grace: Duration,
    /// Makes the placeholders of secrets.
    pub seal: Seal,
}

/// Who is told of builds: the dispatcher, whose slots and locks they have.
pub trait BuildReport: Send + Sync + 'static {
    /// A step asks for its locks.
    fn lock_step(&self, build: BuildId, step: &str, uses: &[Access]) -> StepLocks;

    /// A build ended; its requests were completed or given back in the same commit.
    fn build_ended(&self, end: BuildEnded);

    /// A step submitted these.
    fn submitted(&self, buildset: Buildset, requests: Vec<Request>);

    /// A step waits for requests, each of a builder, until what this answers is dropped.
    fn wait_for(&self, build: BuildId, requests: Vec<(RequestId, String)>) -> StepLocks;

    /// A pending request of this builder was completed without a build.
    fn withdrawn(&self, builder: &str, request: RequestId);
}

impl BuildReport for Dispatcher {
    fn lock_step(&self, build: BuildId, step: &str, uses: &[Access]) -> StepLocks {
        Dispatcher::lock_step(self, build, step, uses.to_vec())
    }

    fn build_ended(&self, end: BuildEnded) {
        Dispatcher::build_ended(self, end);
    }

    fn submitted(&self, buildset: Buildset, requests: Vec<Request>) {
        Dispatcher::submitted(self, buildset, requests);
    }

    fn wait_for(&self, build: BuildId, requests: Vec<(RequestId, String)>) -> StepLocks {
        Dispatcher::wait_for(self, build, requests)
    }

    fn withdrawn(&self, builder: &str, request: RequestId) {
        Dispatcher::withdrawn(self, builder, request);
    }
}

/// A build that runs, for those who want it stopped, or without one of its requests.
struct InProgress {
    builder: String,
    requests: Vec<RequestId>,
    fence: Fence,
    stop: watch::Sender<Stop>,
    /// Its running step.
    step: Option<RunningStep>,
    /// Requests that it ends without: they were cancelled while it ran.
    detached: BTreeSet<RequestId>,
    /// How it ends is decided, and for which requests.
    ends: bool,
}

/// A step that runs, by all that people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RunningStep {
    id: StepId,
    position: u32,
    name: String,
}

impl RunningStep {
    /// Whether somebody who says `step` means it: by its name or its position, `@3` by its position alone.
    fn is(&self, step: &str) -> bool {
        let position = self.position.to_string();
        match step.strip_prefix('@') {
            Some(place) if place.parse::<u32>().is_ok() => place == position,
            _ => self.name == step || step == position,
        }
    }
}

/// What became of an order to take a request out of the build that serves it.
enum Detached {
    /// It is out, and its end goes down with this; its builder. The build goes on for others.
    Out(String, Pin<Box<dyn Future<Output = Result<Committed, CommitError>> + Send>>),
    /// It is the last one of that build, which goes on.
    Last,
    /// That build does not run, or its end is on its way.
    Elsewhere,
}

/// What became of an order to stop a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopStep {
    /// It is being stopped.
    Asked,
    /// Another step runs, of this name; none: the build is between two steps.
    Elsewhere(Option<String>),
    /// No such build runs.
    NoBuild,
}

/// The builds that run. Cheap to clone.
#[derive(Clone)]
pub struct Builds(Arc<Inner>);

struct Inner {
    parts: DriverParts,
    world: ArcSwap<World>,
    report: OnceLock<Arc<dyn BuildReport>>,
    /// Locked for a look-up, an insertion, or one decision of a build.
    running: Mutex<HashMap<BuildId, InProgress>>,
    retries: Retries,
    tasks: TaskTracker,
}

impl Builds {
    /// No builds yet.
    pub fn new(parts: DriverParts) -> Result<Builds, ReadError> {
        let world = ArcSwap::new(Arc::clone(&parts.world));
        let retries = Retries::load(&parts.store)?;
        Ok(Builds(Arc::new(Inner {
            parts,
            world,
            report: OnceLock::new(),
            running: Mutex::default(),
            retries,
            tasks: TaskTracker::new(),
        })))
    }

    /// Says who is told about builds that end. The first call counts.
    pub fn report_to(&self, report: Arc<dyn BuildReport>) {
        // A second call is a mistake of the wiring that nothing depends on.
        self.0.report.set(report).ok();
    }

    /// Builds that start from now on go by these properties, grants and limits.
    pub fn configure(&self, world: Arc<World>) {
        self.0.world.store(world);
    }

    /// Stops a running build: its step is interrupted, steps that always run still run, and it ends
    /// as cancelled. Once more interrupts such a step, too. That is durable when this answers. False: no such build
    /// runs.
    pub async fn stop(&self, build: BuildId, reason: &str) -> bool {
        let Some((fence, step)) =
            self.lock().get(&build).map(|running| (running.fence, running.step.as_ref().map(|now| now.id)))
        else {
            return false;
        };
        self.keep(fence, StopRow { build, whole: true, step, reason: reason.to_owned() }).await;
        self.tell(build, |stop| {
            if *stop != Stop::Shutdown {
                *stop = Stop::Cancel(reason.to_owned());
            }
        })
    }

    /// Stops the running step of a build, named by its name or its position: it ends as cancelled, and steps that
    /// always run still run. That is durable when this answers.
    pub async fn stop_step(&self, build: BuildId, step: &str, reason: &str) -> StopStep {
        let (fence, id) = match self.lock().get(&build) {
            None => return StopStep::NoBuild,
            Some(InProgress { fence, step: Some(now), .. }) if now.is(step) => (*fence, now.id),
            Some(InProgress { step: now, .. }) => {
                return StopStep::Elsewhere(now.as_ref().map(|now| now.name.clone()));
            }
        };
        self.keep(fence, StopRow { build, whole: false, step: Some(id), reason: reason.to_owned() }).await;
        // A build that is stopped as a whole is so once more.
        self.tell(build, |stop| {
            if matches!(stop, Stop::No | Stop::Step { .. }) {
                *stop = Stop::Step { step: id, reason: reason.to_owned() };
            }
        });
        StopStep::Asked
    }

    /// Keeps the order to stop a build, so that it outlives this master.
    async fn keep(&self, fence: Fence, stop: StopRow) {
        let build = stop.build;
        match self.0.parts.store.commit(vec![Persist::PutStop { fence, stop }]).await {
            Ok(_) => {}
            // It has ended meanwhile, and somebody else builds its requests.
            Err(CommitError::Refused(refusal)) => tracing::debug!(%build, %refusal, "it needs no stop"),
            Err(error) => {
                tracing::error!(%build, error = chain(&error), "the order to stop it could not be kept");
            }
        }
    }

    /// Takes a request out of the build that serves it and others: it ends as cancelled, by itself.
    fn detach(&self, build: BuildId, request: RequestId) -> Detached {
        let mut running = self.lock();
        let Some(found) = running.get_mut(&build).filter(|found| !found.ends) else {
            return Detached::Elsewhere;
        };
        let goes_on = |other: &RequestId| *other != request && !found.detached.contains(other);
        if !found.requests.iter().any(goes_on) {
            return Detached::Last;
        }
        found.detached.insert(request);
        let (requests, fence, at) = (vec![request], found.fence, self.0.parts.clock.now());
        let complete = Persist::Complete { requests, fence, outcome: Outcome::Cancelled, at };
        let (fatal, store) = (self.0.parts.fatal.clone(), self.0.parts.store.clone());
        Detached::Out(
            found.builder.clone(),
            Box::pin(async move { fatal.commit(&store, vec![complete, retries::forget(request)]).await }),
        )
    }

    /// Lets a build decide, given the requests that it goes on without: what it says, and whether that is its end. No
    /// request is detached meanwhile, nor behind the end.
    fn decide<T>(&self, build: BuildId, decide: impl FnOnce(&BTreeSet<RequestId>) -> (T, bool)) -> T {
        let mut running = self.lock();
        match running.get_mut(&build) {
            Some(found) => {
                let (said, ends) = decide(&found.detached);
                found.ends = ends;
                said
            }
            None => decide(&BTreeSet::new()).0,
        }
    }

    /// Says which step of a build runs.
    fn now_runs(&self, build: BuildId, step: Option<RunningStep>) {
        if let Some(running) = self.lock().get_mut(&build) {
            running.step = step;
        }
    }

    /// The builds that run, by id.
    #[must_use]
    pub fn running(&self) -> Vec<BuildId> {
        let mut running: Vec<BuildId> = self.lock().keys().copied().collect();
        running.sort();
        running
    }

    /// Leaves all builds as they run, with all that is known of them durable: the next start takes them up. Waits until
    /// nothing moves here any more. Bounded in time.
    pub async fn shutdown(&self) {
        // Closed first: whoever starts now either stands in the map already or sees that it is closed.
        self.0.tasks.close();
        for running in self.lock().values() {
            running.stop.send_replace(Stop::Shutdown);
        }
        self.0.tasks.wait().await;
    }

    fn tell(&self, build: BuildId, change: impl FnOnce(&mut Stop)) -> bool {
        match self.lock().get(&build) {
            Some(running) => {
                running.stop.send_modify(change);
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BuildId, InProgress>> {
        self.0.running.lock().expect("no holder of this lock panics")
    }
}

impl StartBuild for Builds {
    fn start(&self, build: BuildStart) {
        self.begin(run::Begin::New(build), watch::channel(Stop::No), None, BTreeSet::new());
    }
}

impl Builds {
    /// Goes on with builds of the last run. To be called before workers can connect.
    pub(crate) fn take_up(&self, builds: Vec<TakeUp>) {
        for mut taken in builds {
            let row = taken.build.row();
            if let Some(resumed) = &mut taken.resumed {
                resumed.expect(&self.0.parts.links, &row.worker);
            }
            let running = taken.build.step();
            let step = running.map(|step| RunningStep {
                id: step.id,
                position: step.position,
                name: step.name.clone(),
            });
            let stop = stop_again(taken.stop.as_ref(), taken.build.is_interrupted());
            let detached = std::mem::take(&mut taken.detached);
            self.begin(run::Begin::of(taken), stop, step, detached);
        }
    }

    fn begin(
        &self,
        build: run::Begin,
        (stop, stopped): (watch::Sender<Stop>, watch::Receiver<Stop>),
        step: Option<RunningStep>,
        detached: BTreeSet<RequestId>,
    ) {
        let BuildRow { id, builder, requests, fence, .. } = build.row();
        let (builder, requests) = (builder.clone(), requests.clone());
        let (id, fence) = (*id, *fence);
        let begun = InProgress { builder, requests, fence, stop, step, detached, ends: false };
        self.lock().insert(id, begun);
        // A build that is claimed while the master goes down is left before its first step.
        if self.0.tasks.is_closed() {
            self.tell(id, |stop| *stop = Stop::Shutdown);
        }
        let builds = self.clone();
        self.0.tasks.spawn(async move {
            let ended = run::build(&builds, build, stopped).await;
            builds.lock().remove(&id);
            if let Some(ended) = &ended {
                builds.0.retries.note(&ended.requests, ended.outcome);
            }
            if let (Some(report), Some(ended)) = (builds.0.report.get(), ended) {
                report.build_ended(ended);
            }
        });
    }
}

/// Where a build that goes on hears that it is to stop. Its running step has not heard of it yet if it is to heed that.
fn stop_again(order: Option<&StopRow>, unheard: bool) -> (watch::Sender<Stop>, watch::Receiver<Stop>) {
    let stop = match order {
        None => Stop::No,
        Some(StopRow { whole: true, reason, .. }) => Stop::Cancel(reason.clone()),
        Some(StopRow { step: Some(step), reason, .. }) => Stop::Step { step: *step, reason: reason.clone() },
        Some(StopRow { step: None, .. }) => Stop::No,
    };
    let (sender, mut receiver) = watch::channel(stop);
    if unheard {
        receiver.mark_changed();
    }
    (sender, receiver)
}

/// The changes of a build's source stamps, oldest first, at most the newest `limit`.
pub(crate) fn changes(store: &Store, build: &BuildRow, limit: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    each_change(store, newest_changes(build, limit), |change| changes.push(change));
    changes
}

/// Which they are.
pub(crate) fn newest_changes(build: &BuildRow, limit: usize) -> Vec<ChangeId> {
    let mut ids: Vec<_> = build.stamps.iter().flat_map(|stamp| stamp.changes.iter().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.split_off(ids.len().saturating_sub(limit))
}

/// Hands changes to `take`, each once, oldest first. Those that are gone are left out, and so are those that cannot be read,
/// which is said.
pub(crate) fn each_change(
    store: &Store,
    ids: impl IntoIterator<Item = ChangeId>,
    mut take: impl FnMut(Change),
) {
    let failed = |error: ReadError| tracing::error!(error = chain(&error), "failed to read a change");
    let ids = ids.into_iter().collect();
    let read = store.changes_of(&ids, |change| change.map_or_else(failed, &mut take));
    read.unwrap_or_else(failed);
}

#[cfg(test)]
pub(crate) mod tests;
