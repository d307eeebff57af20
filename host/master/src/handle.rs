//! What others hold of a running master: the API and the command line know nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::events::{Events, Listener};
use crate::force::ForceError;
use crate::reconfig::ReconfigError;
use crate::view;

/// A running master, for those who ask and order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state_dir: PathBuf,
    events: Events,
}

/// The store did not answer.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the store")]
pub struct QueryError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no such build, step or log; the text lists those that there are.
    #[error("{0}")]
    NotFound(String),
    /// The store did not answer.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Why a build cannot be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// There is no such build.
    #[error("there is no build {0}")]
    NotFound(u64),
    /// It has ended already.
    #[error("build {0} has ended already")]
    Ended(u64),
    /// The store did not answer.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Why a poll that was asked for failed.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// There is no such poller.
    #[error("there is no poller `{0}`")]
    NoSuchPoller(String),
    /// It failed; it will be tried again at its time.
    #[error("poller `{poller}` failed: {why}")]
    Failed {
        /// The poller.
        poller: String,
        /// What git said.
        why: String,
    },
    /// The master is going down.
    #[error("the master is shutting down")]
    ShuttingDown,
}

impl Handle {
    /// Where the master keeps its state: its store, and the socket of its API.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.inner.state_dir
    }

    /// How the master is.
    #[must_use]
    pub fn status(&self) -> view::Status {
        unimplemented!("landing soon")
    }

    /// Builds, newest first.
    pub fn builds(&self, filter: &view::BuildFilter) -> Result<Vec<view::Build>, QueryError> {
        let _ = filter;
        unimplemented!("landing soon")
    }

    /// All about build `id`.
    pub fn build(&self, id: u64) -> Result<Option<view::BuildDetail>, QueryError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// A buildset with its requests.
    pub fn buildset(&self, id: u64) -> Result<Option<view::Buildset>, QueryError> {
        let _ = id;
        unimplemented!("landing soon")
    }

    /// The newest changes, newest first.
    pub fn changes(&self, limit: usize) -> Result<Vec<view::Change>, QueryError> {
        let _ = limit;
        unimplemented!("landing soon")
    }

    /// The plugins of the current generation, then those that only running builds hold.
    pub fn plugins(&self) -> Result<Vec<view::Plugin>, QueryError> {
        unimplemented!("landing soon")
    }

    /// At most `max_bytes` of a log from `offset`. `step` is its name or its position.
    pub fn read_log(
        &self,
        build: u64,
        step: &str,
        log: &str,
        offset: u64,
        max_bytes: usize,
    ) -> Result<view::LogChunk, LogError> {
        let _ = (build, step, log, offset, max_bytes);
        unimplemented!("landing soon")
    }

    /// As [`Handle::read_log`], but waits until there is something after `offset` or the log ends.
    /// Waits for the step and the log to come, too, while the build runs.
    pub async fn follow_log(
        &self,
        build: u64,
        step: &str,
        log: &str,
        offset: u64,
        max_bytes: usize,
    ) -> Result<view::LogChunk, LogError> {
        let _ = (build, step, log, offset, max_bytes);
        unimplemented!("landing soon")
    }

    /// Stops a running build: its step is interrupted, and it ends as cancelled.
    pub async fn stop_build(&self, build: u64, reason: &str) -> Result<(), StopError> {
        let _ = (build, reason);
        unimplemented!("landing soon")
    }

    /// Submits a request for one builder.
    pub async fn force(&self, order: view::Force) -> Result<view::Forced, ForceError> {
        let _ = order;
        unimplemented!("landing soon")
    }

    /// Reads configuration and plugins again and puts them in force, or (`plan_only`) says what that
    /// would change.
    pub async fn reconfig(&self, plan_only: bool) -> Result<view::Reconfigured, ReconfigError> {
        let _ = plan_only;
        unimplemented!("landing soon")
    }

    /// Makes a poller look now.
    pub async fn poll_now(&self, poller: &str) -> Result<view::Polled, PollError> {
        let _ = poller;
        unimplemented!("landing soon")
    }

    /// Listens to what happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> Listener {
        self.inner.events.listen()
    }

    /// Stops taking work, interrupts what runs (it is built again after the next start), and closes
    /// the store. Returns when all that is done, in bounded time.
    pub async fn shutdown(&self) {
        unimplemented!("landing soon")
    }
}
