//! Watches git repositories: what is new on a branch becomes changes, once, in order.
//!
//! One task for each poller. How far it has read is the head of each branch; it becomes durable in the
//! same commit as the changes up to it. Deliberately absent: a checkout. It asks the remote, fetches
//! into a bare mirror below the state directory only when a head moved, and reads the mirror.

mod git;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_config::config::GitPoller;
use windlass_core::change::Change;
use windlass_core::digest::Digest;
use windlass_core::persist::Persist;
use windlass_core::text::chain;
use windlass_core::value::Value;
use windlass_store::{ReadError, Store};

use crate::clock::Clock;
use crate::intake::{Batch, Intake, IntakeError};
use crate::view;
use git::{Mirror, Remote};

pub use git::GitError;

/// Polls that may run at once: each is a process or two and a connection.
const AT_ONCE: usize = 4;
/// Changes of one branch that are taken in at once; a branch that has more goes on at once with the rest.
const AT_MOST: usize = 500;
/// The first pause after an error, doubled each time up to the poller's own interval.
const FIRST_RETRY_MS: u64 = 5_000;

/// Why a poll failed.
#[derive(Debug, thiserror::Error)]
pub enum PollFailure {
    /// Git did not answer.
    #[error("failed to look at `{repository}`")]
    Git {
        /// The repository.
        repository: String,
        /// Why.
        #[source]
        source: GitError,
    },
    /// Branches are not there.
    #[error("`{repository}` has no branch {branches}")]
    NoBranch {
        /// The repository.
        repository: String,
        /// Which.
        branches: String,
    },
    /// The place in the store cannot be read.
    #[error("failed to read how far the poller had come")]
    Read(#[from] ReadError),
    /// The changes were not taken in; they will come again.
    #[error("the changes were not taken in")]
    Intake(#[from] IntakeError),
}

/// What pollers are made of.
#[derive(Clone)]
pub struct Parts {
    /// Where they remember how far they have read.
    pub store: Store,
    /// Where changes go.
    pub intake: Intake,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the mirrors lie.
    pub folder: PathBuf,
}

/// All pollers.
pub struct Pollers {
    parts: Parts,
    running: Mutex<BTreeMap<String, Running>>,
    /// The newest of each name that was stopped and may not have ended yet.
    stopped: Mutex<BTreeMap<String, JoinHandle<()>>>,
    slots: Arc<Semaphore>,
    closing: CancellationToken,
}

struct Running {
    config: GitPoller,
    /// Has it look at once.
    look: Arc<Notify>,
    /// At most one is asked for at a time; whoever asks meanwhile waits here.
    asks: mpsc::Sender<oneshot::Sender<Result<usize, String>>>,
    shown: Arc<Mutex<view::PollerStatus>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How far a poller has read: durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// Another repository under the same name begins anew.
    repository: String,
    /// The newest revision taken in, by branch.
    heads: BTreeMap<String, String>,
}

impl Pollers {
    /// Pollers without any configured yet.
    #[must_use]
    pub fn new(parts: Parts) -> Pollers {
        Pollers {
            parts,
            running: Mutex::default(),
            stopped: Mutex::default(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            closing: CancellationToken::new(),
        }
    }

    /// Goes by these from now on, and tells them apart by equality: those that are not among them stop, those that
    /// were not there begin. The others go on as they are; of these, the ones that failed look at once. One that
    /// comes for one of the same name that stopped begins once that one has ended and what it found is taken in: it
    /// reads how far that one came.
    pub fn configure(&self, configs: &[GitPoller]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::take(&mut *running);
        for (name, poller) in old {
            if configs.contains(&poller.config) {
                let failed = poller.shown.lock().unwrap_or_else(PoisonError::into_inner).error.is_some();
                if failed {
                    poller.look.notify_one();
                }
                running.insert(name, poller);
            } else {
                poller.stop.cancel();
                stopped.insert(name, poller.task);
            }
        }
        stopped.retain(|_, task| !task.is_finished());
        for config in configs {
            if !running.contains_key(&config.name) {
                let before = stopped.remove(&config.name);
                running.insert(config.name.clone(), self.begin(config.clone(), before));
            }
        }
    }

    /// Makes a poller look now; answers how many changes it took in. Where a reconfig comes between, the poller that
    /// has the name then is asked.
    pub async fn poll_now(&self, name: &str) -> Result<usize, crate::PollError> {
        let failed = |why| crate::PollError::Failed { poller: name.to_owned(), why };
        let mut asked: Option<mpsc::Sender<_>> = None;
        loop {
            if self.closing.is_cancelled() {
                return Err(crate::PollError::ShuttingDown);
            }
            let asks = {
                let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                running.get(name).map(|poller| poller.asks.clone())
            };
            let asks = asks.ok_or_else(|| crate::PollError::NoSuchPoller(name.to_owned()))?;
            if asked.as_ref().is_some_and(|before| before.same_channel(&asks)) {
                return Err(failed("BUG: it has ended; the master's log says how".to_owned()));
            }
            let (answer, answered) = oneshot::channel();
            if asks.send(answer).await.is_ok()
                && let Ok(answer) = answered.await
            {
                return answer.map_err(failed);
            }
            asked = Some(asks);
        }
    }

    /// For people, by name.
    #[must_use]
    pub fn status(&self) -> Vec<view::PollerStatus> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |poller: &Running| poller.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        running.values().map(shown).collect()
    }

    /// Stops all; git processes are killed, and what was not taken in yet comes again after a restart.
    pub async fn shutdown(&self) {
        self.closing.cancel();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let stopped = std::mem::take(&mut *self.stopped.lock().unwrap_or_else(PoisonError::into_inner));
        let running = running.into_iter().map(|(name, poller)| (name, poller.task));
        for (name, task) in stopped.into_iter().chain(running) {
            if let Err(panic) = task.await {
                tracing::error!(poller = name, %panic, "BUG: a poller ended in a panic");
            }
        }
    }

    fn begin(&self, config: GitPoller, before: Option<JoinHandle<()>>) -> Running {
        let shown = Arc::new(Mutex::new(view::PollerStatus {
            name: config.name.clone(),
            repository: config.repository.clone(),
            heads: BTreeMap::new(),
            last_poll: None,
            next_poll: None,
            error: None,
        }));
        let stop = self.closing.child_token();
        let look = Arc::new(Notify::new());
        let (asks, asked) = mpsc::channel(1);
        let poller = Poller {
            parts: self.parts.clone(),
            config: config.clone(),
            look: Arc::clone(&look),
            slots: Arc::clone(&self.slots),
            shown: Arc::clone(&shown),
            failures: 0,
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                if let Err(panic) = before.await {
                    tracing::error!(poller = poller.config.name, %panic, "BUG: a poller ended in a panic");
                }
                // What it submitted last stands in line before this.
                poller.parts.intake.wake().await;
            }
            // Stopping drops a poll where it is: what it submitted is taken in whole, the rest not at all.
            stopped.run_until_cancelled(poller.run(asked)).await;
        });
        Running { config, look, asks, shown, stop, task }
    }
}

struct Poller {
    parts: Parts,
    config: GitPoller,
    look: Arc<Notify>,
    slots: Arc<Semaphore>,
    shown: Arc<Mutex<view::PollerStatus>>,
    failures: u32,
}

enum Woken {
    Time,
    Asked(oneshot::Sender<Result<usize, String>>),
    Look,
}

impl Poller {
    async fn run(mut self, mut asks: mpsc::Receiver<oneshot::Sender<Result<usize, String>>>) {
        let mut next = Instant::now();
        loop {
            let woken = tokio::select! {
                () = tokio::time::sleep_until(next) => Woken::Time,
                Some(answer) = asks.recv() => Woken::Asked(answer),
                () = self.look.notified() => Woken::Look,
            };
            let config = self.config.clone();
            let started = Instant::now();
            let polled = self.poll(&config).await;
            self.failures = if polled.is_ok() { 0 } else { self.failures.saturating_add(1) };
            let pause = pause_ms(self.failures, config.poll_interval_ms);
            next = started + Duration::from_millis(pause);
            let polled = polled.map_err(|error| {
                let text = chain(&error);
                tracing::warn!(poller = config.name, error = text, "a poll failed and will be tried again");
                text
            });
            self.show(|shown, now| {
                shown.repository.clone_from(&config.repository);
                shown.last_poll = Some(now);
                shown.next_poll = Some(now.plus_ms(pause));
                shown.error = polled.as_ref().err().cloned();
            });
            match woken {
                // Who asked may have gone; what was found is in all the same.
                Woken::Asked(answer) => answer.send(polled).unwrap_or_default(),
                Woken::Time | Woken::Look => {}
            }
        }
    }

    /// Looks once; answers how many changes came in.
    async fn poll(&self, config: &GitPoller) -> Result<usize, PollFailure> {
        let _slot = self.slots.acquire().await.expect("nobody closes it");
        let failed = |source| PollFailure::Git { repository: config.repository.clone(), source };
        let owner = format!("poller/{}", config.name);
        let place = place(&self.parts.store, &owner)?;
        let first = place.repository != config.repository;
        let mut place = if first { Place::default() } else { place };
        place.repository.clone_from(&config.repository);
        self.show(|shown, _| shown.heads.clone_from(&place.heads));

        let remote = git::remote(&config.repository).await.map_err(failed)?;
        let (branches, missing) = watched(config, &remote);
        let mut count = 0;
        let moved = branches.iter().any(|b| place.heads.get(b) != remote.heads.get(b));
        if moved || first {
            let mirror = Mirror::new(folder(&self.parts.folder, config));
            let heads = if branches.is_empty() {
                BTreeMap::new()
            } else {
                mirror.fetch(&config.repository, &branches).await.map_err(failed)?
            };
            if first {
                // At the very first look there is no "new": the heads alone, if they are wanted.
                let mut batch = Batch::default();
                if config.build_existing {
                    for (branch, head) in &heads {
                        let found = mirror.changes(std::slice::from_ref(head)).await.map_err(failed)?;
                        batch.changes.extend(found.into_iter().map(|c| dressed(c, config, branch)));
                    }
                }
                place.heads = heads;
                count += self.take_in(batch, &owner, &place).await?;
            } else {
                for (branch, head) in heads {
                    count += self.branch(config, &mirror, &owner, &mut place, &branch, &head).await?;
                }
            }
        }
        if missing.is_empty() {
            Ok(count)
        } else {
            let branches = missing.iter().map(|b| format!("`{b}`")).collect::<Vec<_>>().join(", ");
            Err(PollFailure::NoBranch { repository: config.repository.clone(), branches })
        }
    }

    /// Takes in what is new on a branch, in portions, each with the place that it leads to.
    async fn branch(
        &self,
        config: &GitPoller,
        mirror: &Mirror,
        owner: &str,
        place: &mut Place,
        branch: &str,
        head: &str,
    ) -> Result<usize, PollFailure> {
        let failed = |source| PollFailure::Git { repository: config.repository.clone(), source };
        let old = place.heads.get(branch).cloned();
        if old.as_deref() == Some(head) {
            return Ok(0);
        }
        // A branch's own last head bounds what is new on it; a new branch begins where no watched one
        // has been. Heads that are gone from the repository bound nothing.
        let mut known = Vec::new();
        for revision in old.iter().chain(place.heads.values().filter(|_| old.is_none())) {
            if mirror.has(revision).await.map_err(failed)? {
                known.push(revision.as_str());
            }
        }
        let mut new =
            if known.is_empty() { Vec::new() } else { mirror.between(&known, head).await.map_err(failed)? };
        if new.is_empty() {
            // It was set back, begins at a known commit, or nothing bounds it: its head is the news.
            new.push(head.to_owned());
        }
        for portion in new.chunks(AT_MOST) {
            let found = mirror.changes(portion).await.map_err(failed)?;
            let changes = found.into_iter().map(|change| dressed(change, config, branch)).collect();
            let reached = portion.last().expect("chunks are not empty");
            place.heads.insert(branch.to_owned(), reached.clone());
            self.take_in(Batch { changes, place: Vec::new() }, owner, place).await?;
        }
        Ok(new.len())
    }

    async fn take_in(&self, mut batch: Batch, owner: &str, place: &Place) -> Result<usize, PollFailure> {
        let value = serde_json::to_vec(place).expect("names and revisions are JSON");
        batch.place.push(Persist::PutState {
            owner: owner.to_owned(),
            key: "place".to_owned(),
            value: Some(value),
        });
        let taken = self.parts.intake.submit(batch).await?;
        self.show(|shown, _| shown.heads.clone_from(&place.heads));
        Ok(taken.len())
    }

    fn show(&self, change: impl FnOnce(&mut view::PollerStatus, windlass_core::time::Timestamp)) {
        let now = self.parts.clock.now();
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner), now);
    }
}

fn place(store: &Store, owner: &str) -> Result<Place, ReadError> {
    let Some(value) = store.state(owner, "place")? else { return Ok(Place::default()) };
    Ok(serde_json::from_slice(&value).unwrap_or_else(|error| {
        tracing::warn!(owner, %error, "the place of a poller is unreadable; it begins anew");
        Place::default()
    }))
}

/// Which branches to look at, and which are wanted and not there.
fn watched(config: &GitPoller, remote: &Remote) -> (Vec<String>, Vec<String>) {
    let wanted = if config.branches.is_empty() {
        remote.default.clone().into_iter().collect()
    } else {
        config.branches.clone()
    };
    wanted.into_iter().partition(|branch| remote.heads.contains_key(branch))
}

fn dressed(mut change: Change, config: &GitPoller, branch: &str) -> Change {
    change.repository.clone_from(&config.repository);
    change.project.clone_from(&config.project);
    change.category.clone_from(&config.category);
    change.branch = Some(branch.to_owned());
    change.properties.set("poller", Value::Text(config.name.clone()), "Change");
    change
}

/// A folder for each repository of each poller, whatever its name has in it.
fn folder(below: &Path, config: &GitPoller) -> PathBuf {
    let word: String =
        config.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let digest = Digest::of(format!("{}\0{}", config.name, config.repository).as_bytes());
    below.join(format!("{word}-{}", digest.short()))
}

/// How long after the begin of a poll the next one comes.
fn pause_ms(failures: u32, interval_ms: u64) -> u64 {
    match failures {
        0 => interval_ms,
        n => FIRST_RETRY_MS.saturating_mul(1 << (n - 1).min(20)).min(interval_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_retried_soon_and_then_at_the_usual_pace() {
        let pauses: Vec<u64> = (0..6).map(|failures| pause_ms(failures, 30_000)).collect();
        assert_eq!(pauses, [30_000, 5_000, 10_000, 20_000, 30_000, 30_000]);
        assert_eq!(pause_ms(u32::MAX, 600_000), 600_000);
    }
}
