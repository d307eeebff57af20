//! The task of one build.

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::watch;
use windlass_config::{Known, config};
use windlass_core::build::{Action, Build, Effects, Event};
use windlass_core::builder::Builder;
use windlass_core::id::RequestId;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::properties::Properties;
use windlass_core::record::{BuildRow, Computed};
use windlass_core::request::Completed;
use windlass_core::secret::Placeholders;
use windlass_core::time::Timestamp;
use windlass_runtime::registry::Generation;
use windlass_store::CommitError;

use super::again::{self, Again};
use super::pace::Pace;
use super::properties::{self, Sources};
use super::{Builds, chain, changes};
use crate::dispatcher::{BuildEnded, BuildStart};
use crate::fatal::is_gone;
use crate::secrets::BuildSecrets;
use crate::step_port::Stop;
use crate::transfer::keep::remove_dropped;
use crate::view;

/// The most changes whose properties a build takes over.
const MAX_CHANGES: usize = 1_000;

/// Why a build goes no further here.
pub(super) enum Halt {
    /// Its rows could not be written.
    Unrecorded(CommitError),
    /// The master goes down: the next one takes it up where it stands.
    Left,
}

/// Runs a build to its end. A panic ends that build as an exception, and nothing else. None: the store
/// is gone, or the master goes down: the next start takes the build up.
pub(super) async fn build(builds: &Builds, begin: Begin, stop: watch::Receiver<Stop>) -> Option<BuildEnded> {
    let row = begin.row().clone();
    let ended = match AssertUnwindSafe(Box::pin(drive(builds, begin, stop))).catch_unwind().await {
        Ok(ended) => ended,
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            tracing::error!(build = %row.id, what, "BUG: the task of a build panicked");
            let why = format!("BUG: the master's task for this build panicked: {what}");
            broken(builds, row.clone(), &why).await.map(|outcome| (outcome, false))
        }
    };
    let at = builds.0.parts.clock.now();
    // Those that were detached ended before.
    let served = |detached: &BTreeSet<RequestId>| {
        let requests = row.requests.iter().copied().filter(|request| !detached.contains(request));
        (requests.collect::<Vec<_>>(), true)
    };
    let requests = builds.decide(row.id, served);
    let (outcome, lost_at_once) = match ended {
        Ok(end) => end,
        Err(Halt::Left) => return None,
        Err(Halt::Unrecorded(error)) if is_gone(&error) => return None,
        Err(Halt::Unrecorded(error)) => {
            // The claim has passed to somebody else, or a row is damaged: that stays so. Its slot is free.
            let (outcome, summary) =
                (Outcome::Exception, format!("its end could not be recorded: {}", chain(&error)));
            let shown = BuildRow { complete: Some(Completed { outcome, at }), summary, ..row.clone() };
            builds.0.parts.events.tell(|| view::Event::BuildFinished(view::Build::of(&shown)));
            (outcome, false)
        }
    };
    Some(BuildEnded {
        build: row.id,
        worker: row.worker,
        builder: row.builder,
        requests,
        outcome,
        lost_at_once,
        at,
    })
}

/// What a build begins with.
pub(super) enum Begin {
    /// Its claim.
    New(BuildStart),
    /// Its claim, which is of the last run: its worker may have to come yet.
    Anew(BuildStart),
    /// What was durable of it when the master was killed, after its first step began.
    Again(Box<Again>),
}

impl Begin {
    pub(super) fn row(&self) -> &BuildRow {
        match self {
            Begin::New(start) | Begin::Anew(start) => &start.row,
            Begin::Again(again) => again.build.row(),
        }
    }
}

/// Answers how the build ended, and whether its worker was lost at once.
async fn drive(builds: &Builds, begin: Begin, stop: watch::Receiver<Stop>) -> Result<(Outcome, bool), Halt> {
    let (mut driver, mut effects) = match begin {
        Begin::New(start) => begin_new(builds, start, Ok(()), stop).await,
        Begin::Anew(start) => {
            let arrived = again::arrival(builds, &start.row.worker, &stop).await?;
            begin_new(builds, start, arrived, stop).await
        }
        Begin::Again(again) => Box::pin(again::begin(builds, *again, stop)).await?,
    };
    let mut pace = Pace::new(std::time::Instant::now());
    loop {
        let Effects { persist, send } = effects;
        let ends = matches!(send.first(), Some(Action::End { .. }));
        if *driver.stop.borrow() == Stop::Shutdown && !ends {
            return Err(Halt::Left);
        }
        effects = match send.into_iter().next() {
            Some(Action::RunStep(spec)) => {
                let wait = pace.next(std::time::Instant::now());
                if !wait.is_zero() {
                    // A build that is stopped meanwhile hears it in the step, and that soon.
                    tokio::time::sleep(wait).await;
                }
                driver.step(spec, persist).await?
            }
            Some(Action::End { outcome }) => {
                let lost_at_once = driver.build.lost_at_once();
                return driver.end(outcome, persist).await.map(|outcome| (outcome, lost_at_once));
            }
            Some(Action::InterruptStep { .. }) | None => {
                unreachable!("BUG: between two steps a build either goes on or ends")
            }
        };
    }
}

/// Begins a build up to what follows first. `arrived` says whether its worker is there.
async fn begin_new(
    builds: &Builds,
    start: BuildStart,
    arrived: Result<(), String>,
    stop: watch::Receiver<Stop>,
) -> (Driver<'_>, Effects) {
    let BuildStart { mut row, builder, requests: _, buildsets, generation } = start;
    let parts = &builds.0.parts;
    let config = Arc::clone(&builds.0.world.load().config);
    let worker = config.workers.iter().find(|worker| worker.name == row.worker);
    row.properties = properties::of(&Sources {
        config: &config.properties,
        changes: &changes(&parts.store, &row, MAX_CHANGES),
        buildsets: &buildsets,
        builder: &builder,
        worker,
        row: &row,
    });
    parts.events.tell(|| view::Event::BuildStarted(view::Build::of(&row)));
    let build = Build::new(row, &builder.steps);
    let mut driver = Driver::new(builds, config, builder, generation, build, stop);
    driver.heed_news();
    if let Err(reason) = arrived {
        driver.lose(reason);
        let effects = driver.on(Event::Started);
        return (driver, effects);
    }
    let effects = match driver.do_build().await {
        Ok(true) => driver.on(Event::Started),
        Ok(false) => {
            driver.on(Event::Skipped { reason: "skipped by the condition `do_build_if`".to_owned() })
        }
        Err(reason) => driver.on(Event::Broke { reason }),
    };
    (driver, effects)
}

/// Ends a build whose task is gone.
async fn broken(builds: &Builds, row: BuildRow, reason: &str) -> Result<Outcome, Halt> {
    let (store, now) = (&builds.0.parts.store, builds.0.parts.clock.now());
    let fence = row.fence;
    let mut persist = Vec::new();
    match store.steps(row.id) {
        Ok(steps) => {
            for mut step in steps.into_iter().filter(|step| step.complete.is_none()) {
                step.complete = Some(Completed { outcome: Outcome::Exception, at: now });
                step.fault = Some(reason.to_owned());
                persist.push(Persist::PutStep { fence, step });
            }
        }
        Err(error) => tracing::error!(build = %row.id, error = chain(&error), "failed to read its steps"),
    }
    let mut build = Build::new(row, &[]);
    let effects = decide(builds, &mut build, Event::Broke { reason: reason.to_owned() }, now);
    persist.extend(effects.persist);
    persist.extend(builds.0.retries.rows(&build.served(), Outcome::Exception));
    commit(builds, build.row(), persist).await?;
    builds.0.parts.events.tell(|| view::Event::BuildFinished(view::Build::of(build.row())));
    Ok(Outcome::Exception)
}

/// What follows from an event, for the requests that the build serves at this moment.
fn decide(builds: &Builds, build: &mut Build, event: Event, now: Timestamp) -> Effects {
    builds.decide(build.row().id, |detached| {
        build.detach(detached.iter().copied());
        let effects = build.on(event, now);
        let ends = effects.send.iter().any(|action| matches!(action, Action::End { .. }));
        (effects, ends)
    })
}

/// Writes rows of a build; tries again as long as that may help.
pub(super) async fn commit(builds: &Builds, row: &BuildRow, persist: Vec<Persist>) -> Result<(), Halt> {
    let parts = &builds.0.parts;
    let committed = parts.fatal.commit(&parts.store, persist).await.map_err(|error| {
        tracing::error!(build = %row.id, error = chain(&error), "failed to write rows of a build");
        Halt::Unrecorded(error)
    })?;
    remove_dropped(&parts.store, committed.dropped).await;
    Ok(())
}

pub(super) struct Driver<'a> {
    pub(super) builds: &'a Builds,
    pub(super) config: Arc<config::Master>,
    pub(super) builder: Arc<Builder>,
    pub(super) generation: Arc<Generation>,
    /// Those that were looked up already.
    pub(super) hooks: Known,
    /// What templates know of the worker.
    pub(super) worker: Arc<Properties>,
    pub(super) secrets: Arc<BuildSecrets>,
    /// What components computed for the step that runs.
    pub(super) computed: Vec<Computed>,
    /// What they computed for it before the master was killed: it is asked for again in this order.
    pub(super) recorded: VecDeque<Computed>,
    pub(super) stop: watch::Receiver<Stop>,
    pub(super) build: Build,
}

impl<'a> Driver<'a> {
    /// Of a build whose worker is there.
    pub(super) fn new(
        builds: &'a Builds,
        config: Arc<config::Master>,
        builder: Arc<Builder>,
        generation: Arc<Generation>,
        mut build: Build,
        stop: watch::Receiver<Stop>,
    ) -> Driver<'a> {
        let (parts, row) = (&builds.0.parts, build.row());
        let retries = builds.0.retries.of(&row.requests);
        let secrets = Placeholders::new(&parts.seal, row.id, &builder.secrets);
        let worker = config.workers.iter().find(|worker| worker.name == row.worker);
        let worker = properties::of_worker(&row.worker, worker, parts.links.of(&row.worker).as_ref());
        build.set_last_try((retries >= builder.max_retries).then_some(retries + 1));
        Driver {
            builds,
            config,
            builder,
            generation,
            hooks: Known::default(),
            worker: Arc::new(worker),
            secrets: Arc::new(BuildSecrets::new(secrets)),
            computed: Vec::new(),
            recorded: VecDeque::new(),
            stop,
            build,
        }
    }

    pub(super) fn on(&mut self, event: Event) -> Effects {
        let now = self.builds.0.parts.clock.now();
        let mut effects = decide(self.builds, &mut self.build, event, now);
        let end = effects.send.iter().find_map(|action| match action {
            Action::End { outcome } => Some(*outcome),
            Action::RunStep(_) | Action::InterruptStep { .. } => None,
        });
        if let Some(outcome) = end {
            effects.persist.extend(self.builds.0.retries.rows(&self.build.served(), outcome));
        }
        effects
    }

    /// Tells the build that it is to stop, if somebody has said so since it was told last.
    pub(super) fn heed_news(&mut self) {
        if self.stop.has_changed().unwrap_or(false) {
            self.heed_stop();
        }
    }

    /// Tells the build that it is to stop, if it is.
    pub(super) fn heed_stop(&mut self) {
        let event = match &*self.stop.borrow_and_update() {
            // What comes of a shutdown is not the build's affair.
            Stop::No | Stop::Shutdown => return,
            Stop::Step { step, reason } => {
                if self.build.step().is_none_or(|now| now.id != *step) {
                    return;
                }
                Event::StepInterrupted { reason: reason.clone() }
            }
            Stop::Cancel(reason) => Event::Interrupted { reason: reason.clone() },
        };
        let Effects { persist, send } = self.on(event);
        // The step itself listens to the same channel.
        debug_assert!(persist.is_empty() && send.len() <= 1, "BUG: an interrupt that writes");
    }

    async fn end(&mut self, outcome: Outcome, persist: Vec<Persist>) -> Result<Outcome, Halt> {
        // Where there was a step, its commit had the build's end.
        if !persist.is_empty() {
            commit(self.builds, self.build.row(), persist).await?;
        }
        let row = self.build.row();
        self.builds.0.parts.events.tell(|| view::Event::BuildFinished(view::Build::of(row)));
        Ok(outcome)
    }
}
