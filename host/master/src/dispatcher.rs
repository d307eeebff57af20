//! The dispatcher: one task that owns the pending index, the slots and the generation in use.
//!
//! A thin shell around [`windlass_core::schedule::Board`]: events go in, the board says what is to be asked, claimed
//! and started, and the shell does it. It waits for nothing but its inbox: answers of policies and
//! commits of the store come back as events.

use std::sync::Arc;

use windlass_core::builder::Builder;
use windlass_core::decision::Decision;
use windlass_core::id::MasterId;
use windlass_core::id::{BuildId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::record::BuildRow;
use windlass_core::request::{Buildset, Request};
use windlass_core::schedule::Status;
use windlass_core::time::Timestamp;
use windlass_core::value::Pair;
use windlass_runtime::Runtime;
use windlass_runtime::registry::Generation;
use windlass_store::Store;

use crate::clock::Clock;
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
    /// When.
    pub at: Timestamp,
}

/// What the dispatcher is made of.
pub struct Parts {
    /// Where requests are claimed and builds recorded.
    pub store: Store,
    /// Where policies run.
    pub runtime: Runtime,
    /// Who starts builds.
    pub start: Arc<dyn StartBuild>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// In whose name requests are claimed.
    pub master: MasterId,
    /// What it goes by at first.
    pub world: Arc<World>,
}

/// The handle to the dispatcher's task. Its methods never block; what they say is seen in order.
#[derive(Clone)]
pub struct Dispatcher {
    _landing: (),
}

impl Dispatcher {
    /// Starts the task. It scans the store for pending requests first, and ends when the last handle is dropped
    /// or at [`Dispatcher::shutdown`].
    #[must_use]
    pub fn spawn(parts: Parts) -> Dispatcher {
        let _ = parts;
        unimplemented!("landing soon")
    }

    /// Requests that were just committed with their buildset.
    pub fn submitted(&self, buildset: Buildset, requests: Vec<Request>) {
        let _ = (buildset, requests);
        unimplemented!("landing soon")
    }

    /// A worker connected.
    pub fn worker_up(&self, worker: WorkerUp) {
        let _ = worker;
        unimplemented!("landing soon")
    }

    /// A worker's connection ended.
    pub fn worker_down(&self, name: &str) {
        let _ = name;
        unimplemented!("landing soon")
    }

    /// A worker reported its load; 0.0 is idle.
    pub fn worker_load(&self, name: &str, load: f64) {
        let _ = (name, load);
        unimplemented!("landing soon")
    }

    /// A build ended: its slot is free.
    pub fn build_ended(&self, end: BuildEnded) {
        let _ = end;
        unimplemented!("landing soon")
    }

    /// Goes by another configuration and other plugins from the next decision on.
    pub fn configure(&self, world: Arc<World>) {
        let _ = world;
        unimplemented!("landing soon")
    }

    /// Who waits for what, at most a tenth of a second old.
    #[must_use]
    pub fn snapshot(&self) -> Arc<DispatcherStatus> {
        unimplemented!("landing soon")
    }

    /// The newest decisions of policies, oldest first.
    pub async fn decisions(&self) -> Vec<Decision> {
        unimplemented!("landing soon")
    }

    /// Starts no further build, and resolves when every claim under way has become a started build or was given up.
    pub async fn shutdown(&self) {
        unimplemented!("landing soon")
    }
}
