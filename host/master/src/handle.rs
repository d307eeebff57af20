//! What others hold of a running master: the API and the command line know nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use windlass_core::id::{BuildId, BuildsetId, RequestId};
use windlass_core::record::BuildRow;
use windlass_store::{BuildFilter, CommitError, ReadError};

use crate::artifacts::{self, ArtifactContent, ArtifactError};
use crate::build_driver::StopStep;
use crate::debug::{self, DebugError};
use crate::events::Listener;
use crate::force::{self, ForceError};
use crate::reconfig::{self, ReconfigError};
use crate::release::{self, ReleaseError};
use crate::requests::{self, ListError};
use crate::running::Running;
use crate::start::MASTER;
use crate::withdraw::WithdrawError;
use crate::worker_tokens::{self, TokenError};
use crate::{
    archive, build_driver, logs, masters, plugins, policies, results, start, status, users, view, view_build,
    why,
};

/// The most builds of one answer; `before` asks for the next ones.
const BUILDS_SHOWN: usize = 10_000;

/// The newest changes of a build that its details show; a build of more is rare, its stamps have all.
const CHANGES_SHOWN: usize = 1_000;

/// A running master, for those who ask and order. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Running>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("config", &self.0.config_path).finish_non_exhaustive()
    }
}

/// The store did not answer.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the store")]
pub struct QueryError(#[from] ReadError);

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
    /// That step does not run now.
    #[error("step `{step}` of build {build} does not run now; {}", running.as_ref().map_or("no step does".to_owned(), |now| format!("`{now}` does")))]
    Step {
        /// The build.
        build: u64,
        /// Which was to be stopped.
        step: String,
        /// Which runs.
        running: Option<String>,
    },
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
    pub(crate) fn new(running: Running) -> Handle {
        Handle(Arc::new(running))
    }

    /// Where the master keeps its state: its store, and the socket of its API.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.0.folders.state
    }

    /// How the master is, with all that happened before this call.
    pub async fn status_now(&self) -> view::Status {
        self.0.dispatcher.publish().await;
        self.status()
    }

    /// How the master is; who waits for what is at most a tenth of a second old.
    #[must_use]
    pub fn status(&self) -> view::Status {
        status::status(&self.0)
    }

    /// Builds, newest first.
    pub fn builds(&self, filter: &view::BuildFilter) -> Result<Vec<view::Build>, QueryError> {
        let filter = BuildFilter {
            builder: filter.builder.clone(),
            worker: filter.worker.clone(),
            complete: filter.complete,
            limit: filter.limit.unwrap_or(50).min(BUILDS_SHOWN),
            before: filter.before.map(BuildId),
        };
        let (store, config) = (&self.0.store, Arc::clone(&self.0.world.load().config));
        let rows = store.builds(&filter)?;
        let authors = users::authors(store, &rows, &config.users);
        let shown = |(row, authors): (&BuildRow, _)| view::Build { authors, ..view::Build::of(row) };
        Ok(rows.iter().zip(authors).map(shown).collect())
    }

    /// All about build `id`.
    pub fn build(&self, id: u64) -> Result<Option<view::BuildDetail>, QueryError> {
        let store = &self.0.store;
        let Some(row) = store.build(BuildId(id))? else { return Ok(None) };
        let logs = store.logs(row.id)?;
        let mut figures = results::of_steps(store, row.id)?;
        let mut steps = Vec::new();
        for step in store.steps(row.id)? {
            let of_step = logs.iter().filter(|log| log.step == step.id);
            let logs = of_step.map(|log| Ok(view::Log::of(log, store.log_len(log.id)?)));
            let shown = view::Step::of(&step, logs.collect::<Result<_, ReadError>>()?);
            let statistics = figures.remove(&step.id).unwrap_or_default();
            steps.push(view::Step { statistics, ..shown });
        }
        let world = self.0.world.load_full();
        let (config, generation) = (&world.config, &world.generation);
        let changes = build_driver::changes(store, &row, CHANGES_SHOWN);
        Ok(Some(view::BuildDetail {
            build: view::Build {
                authors: users::named(
                    changes.iter().map(|change| change.author.as_str()),
                    &row,
                    &config.users,
                ),
                ..view::Build::of(&row)
            },
            steps,
            components: row.components.iter().map(|c| view::Component::of(c, generation)).collect(),
            failed_policies: why::failed(store, &row)?,
            stamps: row.stamps.iter().map(view::Stamp::from).collect(),
            changes: changes.iter().map(|change| view::Change::of(change, &config.users)).collect(),
            properties: view_build::properties(&row.properties),
        }))
    }

    /// Test results of a build, by pages.
    pub fn tests(&self, build: u64, query: &view::TestQuery) -> Result<view::Tests, LogError> {
        results::tests(&self.0.store, build, query)
    }

    /// Figures of the newest builds of a builder that have ended, the newest first.
    pub fn figures(&self, builder: &str, query: &view::FigureQuery) -> Result<Vec<view::Figure>, QueryError> {
        Ok(results::figures(&self.0.store, builder, query)?)
    }

    /// A buildset with its requests.
    pub fn buildset(&self, id: u64) -> Result<Option<view::Buildset>, QueryError> {
        let store = &self.0.store;
        let Some(buildset) = store.buildset(BuildsetId(id))? else { return Ok(None) };
        let requests = store.requests(&buildset.requests)?;
        Ok(Some(view::Buildset::of(&buildset, &requests)))
    }

    /// What became of request `id`, or what it waits for, with the decisions of policies about it. `verify` asks
    /// the recorded components again.
    pub async fn why_request(&self, id: u64, verify: bool) -> Result<Option<view::Why>, QueryError> {
        Ok(why::request(&self.0, RequestId(id), verify).await?)
    }

    /// What led to build `id`: the decisions of policies about its requests.
    pub async fn why_build(&self, id: u64, verify: bool) -> Result<Option<view::Why>, QueryError> {
        Ok(why::build(&self.0, BuildId(id), verify).await?)
    }

    /// The newest changes, newest first.
    pub fn changes(&self, limit: usize) -> Result<Vec<view::Change>, QueryError> {
        let config = Arc::clone(&self.0.world.load().config);
        let changes = self.0.store.changes(limit)?;
        Ok(changes.iter().map(|change| view::Change::of(change, &config.users)).collect())
    }

    /// The users of the configuration, or the one of this name, with what they wrote lately.
    pub fn users(&self, name: Option<&str>) -> Result<Vec<view::User>, QueryError> {
        let config = Arc::clone(&self.0.world.load().config);
        Ok(users::list(&self.0.store, &config.users, name)?)
    }

    /// The plugins of the current generation, then those that only running builds hold.
    pub fn plugins(&self) -> Result<Vec<view::Plugin>, QueryError> {
        let world = self.0.world.load_full();
        let running = self.0.store.running_builds()?;
        let usage = self.0.runtime.usage();
        Ok(plugins::view(&world.generation, &world.config, &usage, &running, self.0.store.cas()))
    }

    /// What plugins cost since the start, by their bytes and by their uses: the current ones, then those that
    /// were replaced or that only running builds hold.
    pub fn plugin_stats(&self) -> Result<Vec<view::PluginStats>, QueryError> {
        let generation = Arc::clone(&self.0.world.load().generation);
        let running = self.0.store.running_builds()?;
        Ok(self.0.names.stats(&generation, &running, &self.0.runtime))
    }

    /// At most `max_bytes` of a log from `offset`. `step` is its name or its position; `@3` is a position only.
    pub fn read_log(
        &self,
        build: u64,
        step: &str,
        log: &str,
        offset: u64,
        max_bytes: usize,
    ) -> Result<view::LogChunk, LogError> {
        let row = logs::find(&self.0.store, BuildId(build), step, log)?;
        logs::read(&self.0.store, row.id, offset, max_bytes)
    }

    /// At most `lines` lines of a log, and at most `max_bytes` of them: it costs what is read, however long the log
    /// is, and whether it is being written or lies in the archive.
    pub fn read_log_lines(
        &self,
        build: u64,
        step: &str,
        log: &str,
        window: view::Window,
        lines: u64,
        max_bytes: usize,
    ) -> Result<view::LogChunk, LogError> {
        let row = logs::find(&self.0.store, BuildId(build), step, log)?;
        logs::window(&self.0.store, row.id, window, lines, max_bytes)
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
        logs::follow(&self.0.store, BuildId(build), step, log, offset, max_bytes).await
    }

    /// The artifacts of a build, by name.
    pub fn artifacts(&self, build: u64) -> Result<Vec<view::Artifact>, ArtifactError> {
        artifacts::list(&self.0.store, build)
    }

    /// An artifact of a build, or a file in one that is a tree. Of a tree, what comes behind the path `after`.
    pub async fn open_artifact(
        &self,
        build: u64,
        name: &str,
        after: Option<String>,
    ) -> Result<(view::Artifact, ArtifactContent), ArtifactError> {
        let (store, name) = (self.0.store.clone(), name.to_owned());
        start::blocking(move || artifacts::open(&store, build, &name, after.as_deref())).await
    }

    /// Stops a running build: its step is interrupted, and it ends as cancelled.
    pub async fn stop_build(&self, build: u64, reason: &str) -> Result<(), StopError> {
        if self.0.builds.stop(BuildId(build), reason).await {
            return Ok(());
        }
        match self.0.store.build(BuildId(build)).map_err(QueryError::from)? {
            Some(_) => Err(StopError::Ended(build)),
            None => Err(StopError::NotFound(build)),
        }
    }

    /// Stops a step that runs, named by its name or its position: it ends as cancelled, and its build does what the
    /// rule says; steps that always run still run.
    pub async fn stop_step(&self, build: u64, step: &str, reason: &str) -> Result<(), StopError> {
        match self.0.builds.stop_step(BuildId(build), step, reason).await {
            StopStep::Asked => Ok(()),
            StopStep::Elsewhere(running) => Err(StopError::Step { build, step: step.to_owned(), running }),
            StopStep::NoBuild => match self.0.store.build(BuildId(build)).map_err(QueryError::from)? {
                Some(_) => Err(StopError::Ended(build)),
                None => Err(StopError::NotFound(build)),
            },
        }
    }

    /// Submits a request for one builder.
    pub async fn force(&self, order: view::Force) -> Result<view::Forced, ForceError> {
        if self.0.closing.is_cancelled() {
            return Err(ForceError::ShuttingDown);
        }
        let config = Arc::clone(&self.0.world.load().config);
        let submission = force::order(order, &config)?.number(self.0.store.ids(), self.0.clock.now());
        // In line before the first wait; announced even if whoever asked has gone meanwhile.
        let committed = self.0.store.commit(submission.persist(&config.schedulers));
        let running = Arc::clone(&self.0);
        let done = self.0.tasks.spawn(async move {
            committed.await?;
            let forced = view::Forced {
                buildset: submission.buildset.id.0,
                requests: submission.requests.iter().map(|r| r.id.0).collect(),
            };
            running.events.tell(|| submission.event());
            running.dispatcher.submitted(submission.buildset, submission.requests);
            Ok(forced)
        });
        match done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Ok(forced) => Ok(forced),
            Err(CommitError::Closed) => Err(ForceError::ShuttingDown),
            Err(error) => Err(ForceError::Store(Box::new(error))),
        }
    }

    /// Requests, page by page.
    pub async fn requests(&self, filter: view::RequestFilter) -> Result<view::RequestPage, ListError> {
        requests::list(&self.0, filter).await
    }

    /// Ends the quarantine of a worker, and forgets why it was.
    pub async fn release_worker(&self, name: &str) -> Result<view::Released, ReleaseError> {
        release::release(&self.0, name).await
    }

    /// A worker may connect by the token with this hash from now on; durable when this returns. Goes on to its end even
    /// if nobody waits for the answer.
    pub async fn mint_token(&self, worker: String, hash: String) -> Result<view::WorkerToken, TokenError> {
        let running = Arc::clone(&self.0);
        let done = self.0.tasks.spawn(async move { worker_tokens::mint(&running, &worker, &hash).await });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// The tokens that commands made for a worker, or for all.
    pub fn worker_tokens(&self, worker: Option<&str>) -> Result<Vec<view::WorkerToken>, TokenError> {
        worker_tokens::list(&self.0, worker)
    }

    /// A worker cannot connect any more by this token, or by any that a command made; if it came by it, its link is
    /// closed. Goes on to its end even if nobody waits for the answer.
    pub async fn revoke_tokens(
        &self,
        worker: String,
        number: Option<u64>,
    ) -> Result<view::RevokedTokens, TokenError> {
        let running = Arc::clone(&self.0);
        let done = self.0.tasks.spawn(async move { worker_tokens::revoke(&running, &worker, number).await });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Withdraws a request that no build serves yet, or one that serves others, too: it is complete then, as cancelled.
    /// Goes on to its end even if nobody waits for the answer.
    pub async fn withdraw(&self, request: u64) -> Result<(), WithdrawError> {
        let running = Arc::clone(&self.0);
        let done = self.0.tasks.spawn(async move { running.builds.withdraw(RequestId(request)).await });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Reads configuration and plugins again and puts them in force, or (`plan_only`) says what that
    /// would change. Goes on to its end even if nobody waits for the answer.
    pub async fn reconfig(&self, plan_only: bool) -> Result<view::Reconfigured, ReconfigError> {
        let running = Arc::clone(&self.0);
        let done = self.0.tasks.spawn(async move { reconfig::reconfigure(&running, plan_only).await });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Looks into this master for somebody who has the password of its console. Goes on to its end even if nobody waits
    /// for the answer: whoever hangs up has tried a password all the same.
    pub async fn debug(&self, order: view::DebugOrder) -> Result<serde_json::Value, DebugError> {
        let running = Arc::clone(&self.0);
        let done = self.0.tasks.spawn(async move { debug::answer(&running, order).await });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Makes a poller look now.
    pub async fn poll_now(&self, poller: &str) -> Result<view::Polled, PollError> {
        let changes = self.0.pollers.poll_now(poller).await?;
        Ok(view::Polled { poller: poller.to_owned(), changes })
    }

    /// Looks at the clock again, for schedulers whose timers are due: it may have moved otherwise than
    /// time passed.
    pub async fn wake(&self) {
        self.0.intake.wake().await;
    }

    /// Listens to what happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> Listener {
        self.0.events.listen()
    }

    /// Stops taking work, leaves what runs as it stands (it goes on after the next start), and closes
    /// the store. Returns when all that is done, in bounded time.
    pub async fn shutdown(&self) {
        // The first call does it, in a task of its own; every call waits for its end.
        if !self.0.asked_down.swap(true, Ordering::SeqCst) {
            let running = Arc::clone(&self.0);
            tokio::spawn(async move { running.shut_down().await });
        }
        self.stopped().await;
    }

    /// Resolves once the master has shut down.
    pub async fn stopped(&self) {
        self.0.closed.cancelled().await;
    }

    /// What forced the master down, in words for people; none: it runs, or somebody asked it to stop.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.0.fatal.why()
    }

    /// Names in the log every policy that begins to fail or is suspended, as long as the master runs.
    pub(crate) fn log_policies(&self) {
        let (closing, running) = (self.0.closing.clone(), Arc::downgrade(&self.0));
        let mut boards = self.0.dispatcher.watch();
        tokio::spawn(async move {
            let mut before = boards.borrow_and_update().clone();
            loop {
                tokio::select! {
                    changed = boards.changed() => match changed {
                        Ok(()) => {}
                        Err(_) => return,
                    },
                    () = closing.cancelled() => return,
                }
                let after = boards.borrow_and_update().clone();
                let news = policies::news(&before.policies, &after.policies);
                if !news.is_empty()
                    && let Some(running) = running.upgrade()
                {
                    policies::log(&news, &running.world.load(), running.clock.now());
                }
                before = after;
            }
        });
    }

    /// Says every minute that this master is there, and takes over from those that are not.
    pub(crate) fn mind_masters(&self) {
        let minding = masters::mind(Arc::downgrade(&self.0), MASTER);
        tokio::spawn(self.0.closing.clone().run_until_cancelled_owned(minding));
    }

    /// Tends the archive of logs.
    pub(crate) fn mind_archive(&self) {
        let (running, store) = (Arc::downgrade(&self.0), self.0.store.clone());
        self.0.tasks.spawn(archive::mind(running, store));
    }

    /// Notes when tokens of workers were used.
    pub(crate) fn mind_tokens(&self) {
        let minding = worker_tokens::mind(Arc::downgrade(&self.0), Arc::clone(self.0.links.tokens()));
        tokio::spawn(self.0.closing.clone().run_until_cancelled_owned(minding));
    }

    /// Drops artifacts that are not kept any longer.
    pub(crate) fn mind_artifacts(&self) {
        let minding = artifacts::mind(Arc::downgrade(&self.0));
        tokio::spawn(self.0.closing.clone().run_until_cancelled_owned(minding));
    }

    /// Shuts down as soon as something is told that the master cannot live with.
    pub(crate) fn heed_fatal(&self) {
        // Holds nothing of the master: one whose handles were all dropped is gone.
        let (fatal, running) = (self.0.fatal.clone(), Arc::downgrade(&self.0));
        tokio::spawn(async move {
            fatal.told().await;
            if let Some(running) = running.upgrade() {
                Handle(running).shutdown().await;
            }
        });
    }
}

#[cfg(test)]
mod tests;
