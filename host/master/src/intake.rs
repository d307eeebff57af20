//! Where changes come in: each gets its codebase and its number, and what it leads to becomes durable
//! in the same commit as itself and its source's place. Nothing is lost or doubled by a crash.
//!
//! One task owns the schedulers. Policies are asked in the task of whoever brings the changes, so that
//! a slow one delays no other source.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use windlass_config::config;
use windlass_core::builder::OnError;
use windlass_core::change::Change;
use windlass_core::digest::Digest;
use windlass_core::health::Health;
use windlass_core::id::{BuildsetId, ChangeId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::policy::{Answer, Fault, FaultKind, HookKind, Lookups, Question, used_by};
use windlass_core::schedule::PolicyStatus;
use windlass_core::time::Timestamp;
use windlass_core::user::Users;
use windlass_runtime::Runtime;
use windlass_runtime::registry::Resolved;
use windlass_store::{CommitError, ReadError, Store};

use crate::clock::Clock;
use crate::events::Events;
use crate::fatal::{Fatal, is_gone};
use crate::plugins;
use crate::scheduler::{Decided, Schedulers};
use crate::submission::Submit;
use crate::view;
use crate::world::World;

/// Batches that may wait for the task: each change source has at most one under way, so that more only
/// matters with many of them, and a source that waits here is told nothing wrong.
const INBOX: usize = 64;

/// The longest sleep: a clock that jumped, as after a suspend, is noticed so much later at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// After a commit or a read that failed, timers are tried again so much later.
const RETRY: Duration = Duration::from_secs(5);

/// What the intake is made of.
pub struct Parts {
    /// Where changes go.
    pub store: Store,
    /// Where the `codebase-generator` runs.
    pub runtime: Runtime,
    /// Who builds what the schedulers submit.
    pub submit: Arc<dyn Submit>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where it is told.
    pub events: Events,
    /// Where it is told that the store is gone.
    pub fatal: Fatal,
    /// What it goes by at first.
    pub world: Arc<World>,
}

/// Changes from one source, with its new place.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The changes, oldest first. Their ids and codebases are set by the intake.
    pub changes: Vec<Change>,
    /// Becomes durable with them: how far the source has read.
    pub place: Vec<Persist>,
}

/// Why changes were not taken. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The store did not take them.
    #[error("the changes could not be stored")]
    Commit(#[from] CommitError),
    /// The `codebase-generator` gives no answer, and is configured to hold then.
    #[error("the changes wait: `{hook}` gives no codebase, and holds then (`on_error`): {why}")]
    Held {
        /// Which.
        hook: String,
        /// Its fault.
        why: String,
    },
    /// The master is going down.
    #[error("the master is shutting down")]
    Closed,
}

/// The handle of the intake's task. Cheap to clone.
#[derive(Clone)]
pub struct Intake(Arc<Shared>);

struct Shared {
    inbox: mpsc::Sender<Message>,
    status: watch::Receiver<Vec<view::SchedulerStatus>>,
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    /// What everything goes by.
    world: RwLock<Arc<World>>,
    /// The schedulers for the task, each time that they differ: it takes them before it does anything else.
    configured: mpsc::UnboundedSender<Vec<config::Scheduler>>,
    /// How the `codebase-generator` is doing.
    health: Mutex<Option<Health>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Changes(Batch, oneshot::Sender<Result<Vec<ChangeId>, IntakeError>>),
    Wake(oneshot::Sender<()>),
    Close,
}

impl Intake {
    /// Starts the task. Changes that waited in schedulers before a restart wait on.
    pub fn spawn(parts: Parts) -> Result<Intake, ReadError> {
        let mut schedulers = Schedulers::default();
        let forget = schedulers.configure(&parts.world.config.schedulers, &parts.store)?;
        let (inbox, messages) = mpsc::channel(INBOX);
        // Listens before it looks for what it missed.
        let ends = parts.store.ended_buildsets();
        let (shown, status) = watch::channel(schedulers.status());
        let Parts { store, runtime, submit, clock, events, fatal, world } = parts;
        let (told, configured) = mpsc::unbounded_channel();
        let task = Task {
            configs: world.config.schedulers.clone(),
            forget,
            store,
            submit,
            clock: Arc::clone(&clock),
            events,
            fatal,
            schedulers,
            shown,
            behind: true,
            unconfigured: false,
            retry: None,
        };
        let task = tokio::spawn(task.run(configured, messages, ends));
        Ok(Intake(Arc::new(Shared {
            inbox,
            status,
            runtime,
            clock,
            world: RwLock::new(world),
            configured: told,
            health: Mutex::default(),
            task: Mutex::new(Some(task)),
        })))
    }

    /// Takes changes in. Answers their numbers once they and all that follows from them are durable.
    pub async fn submit(&self, mut batch: Batch) -> Result<Vec<ChangeId>, IntakeError> {
        for change in &mut batch.changes {
            change.codebase = self.codebase(change).await?;
        }
        let (answer, answered) = oneshot::channel();
        let sent = self.0.inbox.send(Message::Changes(batch, answer)).await;
        sent.map_err(|_| IntakeError::Closed)?;
        answered.await.unwrap_or(Err(IntakeError::Closed))
    }

    /// Goes by another configuration and other plugins from now on, and waits for nobody. What waits in schedulers
    /// that stay waits on.
    pub fn configure(&self, world: Arc<World>) {
        self.reloaded(&world);
        let schedulers = &world.config.schedulers;
        let mut current = self.0.world.write().unwrap_or_else(PoisonError::into_inner);
        if *schedulers != current.config.schedulers {
            // A closed intake has nothing left to configure.
            self.0.configured.send(schedulers.clone()).ok();
        }
        *current = world;
    }

    /// Looks at the clock again: it may have moved otherwise than time passed. Returns once what was
    /// due is durable.
    pub async fn wake(&self) {
        let (done, woken) = oneshot::channel();
        if self.0.inbox.send(Message::Wake(done)).await.is_ok() {
            woken.await.ok();
        }
    }

    /// The schedulers, for people.
    #[must_use]
    pub fn schedulers(&self) -> Vec<view::SchedulerStatus> {
        self.0.status.borrow().clone()
    }

    /// How the `codebase-generator` is doing; none: none is configured.
    #[must_use]
    pub fn policy(&self) -> Option<PolicyStatus> {
        let world = self.world();
        let used = world.config.codebase_generator.as_ref()?;
        let health = self.0.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = world.generation.resolve(HookKind::CodebaseGenerator, &used.hook).ok();
        let health = health.as_ref();
        Some(PolicyStatus {
            kind: HookKind::CodebaseGenerator,
            hook: used.hook.clone(),
            builder: None,
            digest: found.map(|found| found.plugin.digest),
            answers: health.map_or(0, |h| h.answers),
            faults: health.map_or(0, |h| h.faults),
            skipped: health.map_or(0, |h| h.skipped),
            fallbacks: health.map_or(0, |h| h.faults + h.skipped),
            suspended_until: health.and_then(|h| h.suspended_until),
            last_fault: health.and_then(|h| h.last_fault.clone()),
        })
    }

    /// Takes no more changes; returns once those under way are durable.
    pub async fn shutdown(&self) {
        self.0.inbox.send(Message::Close).await.ok();
        let task = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(panic)) = match task {
            Some(task) => Some(task.await),
            None => None,
        } {
            tracing::error!(%panic, "BUG: the intake ended in a panic");
        }
    }

    fn world(&self) -> Arc<World> {
        Arc::clone(&self.0.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the `codebase-generator` says of a change; empty where none is configured or, unless that holds,
    /// it fails.
    async fn codebase(&self, change: &Change) -> Result<String, IntakeError> {
        let world = self.world();
        let Some(used) = &world.config.codebase_generator else { return Ok(String::new()) };
        let found = match world.generation.resolve(HookKind::CodebaseGenerator, &used.hook) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "BUG: the configuration was checked against these plugins");
                return Ok(String::new());
            }
        };
        let now = self.0.clock.now();
        let (may_ask, last) = self.may_ask(found.plugin.digest, now);
        let why = if may_ask {
            match self.ask(&found, &used.args, change, now).await {
                Ok(codebase) => return Ok(codebase),
                Err(fault) => fault.to_string(),
            }
        } else {
            format!("it is suspended after errors: {}", last.unwrap_or_default())
        };
        let as_used = used_by(None, HookKind::CodebaseGenerator.as_str());
        self.0.runtime.count_fallback(found.plugin.digest, &as_used);
        match used.on_error {
            OnError::Default => {
                tracing::warn!(why, revision = change.revision, "a change gets the empty codebase");
                Ok(String::new())
            }
            OnError::Hold => Err(IntakeError::Held { hook: used.hook.clone(), why }),
        }
    }

    async fn ask(
        &self,
        found: &Resolved,
        args: &str,
        change: &Change,
        now: Timestamp,
    ) -> Result<String, Box<Fault>> {
        let (question, lookups) =
            (Question::CodebaseGenerator { change: change.clone() }, Lookups { now, ..Lookups::default() });
        let reply = self.0.runtime.ask(&found.plugin, &found.hook, args, question, lookups).await;
        let refused = |why: String| {
            Err(Box::new(Fault {
                plugin: found.plugin.name.clone(),
                digest: found.plugin.digest,
                call: HookKind::CodebaseGenerator.function().to_owned(),
                kind: FaultKind::BadAnswer(why),
            }))
        };
        let answer = match reply.answer {
            Ok(Answer::Codebase(codebase)) if codebase.chars().any(char::is_control) => {
                refused(format!("the codebase {codebase:?} has a control character in it"))
            }
            Ok(Answer::Codebase(codebase)) => Ok(codebase),
            Ok(other) => refused(format!("{other:?}")),
            Err(fault) => Err(Box::new(fault)),
        };
        // One that was replaced meanwhile says nothing about its successor.
        let mut health = self.0.health.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(health) = health.as_mut().filter(|health| health.digest == found.plugin.digest) {
            match &answer {
                Ok(_) => health.answered(now),
                Err(fault) => health.failed(fault, now),
            }
        }
        answer
    }

    /// No suspension outlives a reload; other bytes, and another hook, start afresh.
    fn reloaded(&self, world: &World) {
        let used = world.config.codebase_generator.as_ref();
        let found =
            used.and_then(|used| world.generation.resolve(HookKind::CodebaseGenerator, &used.hook).ok());
        let mut health = self.0.health.lock().unwrap_or_else(PoisonError::into_inner);
        match (health.as_mut(), found) {
            (Some(health), Some(found)) => health.reloaded(found.plugin.digest),
            (_, None) => *health = None,
            (None, Some(_)) => {}
        }
    }

    /// Whether these bytes may be asked now, and their last fault.
    fn may_ask(&self, digest: Digest, now: Timestamp) -> (bool, Option<String>) {
        let mut health = self.0.health.lock().unwrap_or_else(PoisonError::into_inner);
        let health = health.get_or_insert_with(|| Health::new(digest));
        if health.digest != digest {
            *health = Health::new(digest);
        }
        (health.may_ask(now), health.last_fault.clone())
    }
}

struct Task {
    /// The newest configuration of schedulers.
    configs: Vec<config::Scheduler>,
    /// What the schedulers leave behind that were configured before: to be removed before all else.
    forget: Vec<Persist>,
    store: Store,
    submit: Arc<dyn Submit>,
    clock: Arc<dyn Clock>,
    events: Events,
    fatal: Fatal,
    schedulers: Schedulers,
    shown: watch::Sender<Vec<view::SchedulerStatus>>,
    /// Buildsets may have ended that it has not heard of.
    behind: bool,
    /// The schedulers do not go by the newest configuration yet.
    unconfigured: bool,
    /// After a failure: not before this moment.
    retry: Option<tokio::time::Instant>,
}

impl Task {
    async fn run(
        mut self,
        mut configured: mpsc::UnboundedReceiver<Vec<config::Scheduler>>,
        mut messages: mpsc::Receiver<Message>,
        mut ends: broadcast::Receiver<(BuildsetId, Outcome)>,
    ) {
        // In line before all else that is written; and again if that fails.
        self.unconfigured = !self.clean_up().await;
        loop {
            let timer = self.timer();
            let message = tokio::select! {
                // What comes after a reconfiguration finds its schedulers.
                biased;
                Some(configs) = configured.recv() => {
                    self.configs = configs;
                    self.configure().await;
                    self.shown.send_replace(self.schedulers.status());
                    continue;
                }
                message = messages.recv() => Some(message),
                end = ends.recv() => {
                    match end {
                        Ok((buildset, outcome)) => self.ended(buildset, outcome).await,
                        Err(RecvError::Lagged(_)) => self.behind = true,
                        // The store lives as long as this task.
                        Err(RecvError::Closed) => return,
                    }
                    continue;
                }
                () = async {
                    match timer {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => None,
            };
            match message {
                None => self.time().await,
                Some(Some(Message::Changes(batch, answer))) => {
                    let taken = self.changes(batch).await;
                    // Who asked may have gone; the changes are in all the same.
                    answer.send(taken).ok();
                }
                Some(Some(Message::Wake(done))) => {
                    self.retry = None;
                    self.time().await;
                    done.send(()).ok();
                }
                Some(Some(Message::Close) | None) => return,
            }
            self.shown.send_replace(self.schedulers.status());
        }
    }

    fn timer(&self) -> Option<tokio::time::Instant> {
        let wait = match self.schedulers.next() {
            _ if self.behind || self.unconfigured => Duration::ZERO,
            Some(due) => Duration::from_millis(due.ms_since(self.clock.now())).min(LONGEST_SLEEP),
            None => return None,
        };
        let at = tokio::time::Instant::now() + wait;
        Some(self.retry.map_or(at, |retry| at.max(retry)))
    }

    async fn changes(&mut self, batch: Batch) -> Result<Vec<ChangeId>, IntakeError> {
        let Batch { mut changes, place } = batch;
        let now = self.clock.now();
        changes.iter_mut().for_each(|change| change.id = self.store.ids().next_change());
        let decided = self.schedulers.on_changes(&changes, self.store.ids(), now);
        let first = changes.iter().cloned().map(Persist::AddChange).chain(place).collect();
        self.carry_out(first, decided).await?;
        for change in &changes {
            // As it came: users are for who looks at it later.
            self.events.tell(|| view::Event::Change(view::Change::of(change, &Users::default())));
        }
        Ok(changes.iter().map(|change| change.id).collect())
    }

    async fn time(&mut self) {
        if self.unconfigured {
            self.retry = None;
            self.configure().await;
        }
        if self.behind {
            let missed = self.schedulers.on_missed_ends(&self.store, self.clock.now());
            self.behind = !self.follow(missed).await;
        }
        let due = self.schedulers.on_time(&self.store, self.clock.now());
        self.follow(due).await;
    }

    /// A buildset ended.
    async fn ended(&mut self, buildset: BuildsetId, outcome: Outcome) {
        let decided = self.schedulers.on_end(buildset, outcome, &self.store, self.clock.now());
        if !self.follow(decided).await {
            self.behind = true;
        }
    }

    /// Does what was decided. False: it has to be tried again.
    async fn follow(&mut self, decided: Result<Decided, ReadError>) -> bool {
        let done = match decided {
            Ok(decided) if decided.is_empty() => return true,
            Ok(decided) => self.carry_out(Vec::new(), decided).await.map_err(|error| plugins::chain(&error)),
            Err(error) => Err(plugins::chain(&error)),
        };
        match done {
            Ok(()) => self.retry = None,
            Err(error) => self.failed(&error),
        }
        self.retry.is_none()
    }

    /// Persists first, applies and announces after.
    async fn carry_out(&mut self, first: Vec<Persist>, decided: Decided) -> Result<(), CommitError> {
        let (persist, submissions, applied) = decided.split();
        let committed = self.store.commit(first.into_iter().chain(persist).collect()).await;
        if committed.as_ref().is_err_and(is_gone) {
            self.fatal.probe(&self.store).await;
        }
        committed?;
        self.schedulers.apply(applied);
        for submission in submissions {
            self.events.tell(|| submission.event());
            self.submit.submitted(submission.buildset, submission.requests);
        }
        Ok(())
    }

    async fn configure(&mut self) {
        self.behind = true;
        self.unconfigured = true;
        // First what those before left: these may have their names, and are others.
        if !self.clean_up().await {
            return;
        }
        match self.schedulers.configure(&self.configs, &self.store) {
            Ok(forget) => self.forget = forget,
            Err(error) => return self.failed(&plugins::chain(&error)),
        }
        self.unconfigured = !self.clean_up().await;
    }

    /// Removes what schedulers that are gone leave behind. False: it has to be tried again.
    async fn clean_up(&mut self) -> bool {
        if self.forget.is_empty() {
            return true;
        }
        let committed = self.store.commit(self.forget.clone()).await;
        if committed.as_ref().is_err_and(is_gone) {
            self.fatal.probe(&self.store).await;
        }
        match committed {
            Ok(_) => self.forget.clear(),
            Err(error) => self.failed(&plugins::chain(&error)),
        }
        self.forget.is_empty()
    }

    fn failed(&mut self, error: &str) {
        tracing::error!(error, "the schedulers cannot go on; they try again");
        self.retry = Some(tokio::time::Instant::now() + RETRY);
    }
}

#[cfg(test)]
pub(crate) mod tests;
