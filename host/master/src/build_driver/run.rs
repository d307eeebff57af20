//! The task of one build.

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;
use windlass_config::{Known, config};
use windlass_core::build::{Action, Build, Effects, Event, StepEnded, record};
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::digest::Digest;
use windlass_core::id::RequestId;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::policy::{Fault, FaultKind, HookKind};
use windlass_core::properties::Properties;
use windlass_core::record::{BuildRow, Computed, StepRow};
use windlass_core::request::Completed;
use windlass_core::secret::Placeholders;
use windlass_core::time::Timestamp;
use windlass_runtime::StepResult;
use windlass_runtime::registry::{Generation, Resolved};
use windlass_store::CommitError;

use super::again::{self, Again};
use super::pace::Pace;
use super::properties::{self, Sources};
use super::rendering::{Given, component};
use super::{Builds, RunningStep, SHUTDOWN_GRACE, chain, changes};
use crate::dispatcher::{BuildEnded, BuildStart};
use crate::fatal::is_gone;
use crate::secrets::{BuildSecrets, OwnTemplates};
use crate::step_port::rights::Rights;
use crate::step_port::{
    self, Deadline, Remains, Resumed, SHUTDOWN, StepContext, Stop, acknowledge, without_logs,
};
use crate::view;

/// The most changes whose properties a build takes over.
const MAX_CHANGES: usize = 1_000;

/// Why a build goes no further: its rows could not be written.
pub(super) struct Unrecorded {
    error: CommitError,
}

/// Runs a build to its end. A panic ends that build as an exception, and nothing else. None: the store
/// is gone, and with it whatever could be said of the end; the next start gives the requests back.
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
        Err(Unrecorded { error }) if is_gone(&error) => return None,
        Err(Unrecorded { error }) => {
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
async fn drive(
    builds: &Builds,
    begin: Begin,
    stop: watch::Receiver<Stop>,
) -> Result<(Outcome, bool), Unrecorded> {
    let (mut driver, mut effects) = match begin {
        Begin::New(start) => begin_new(builds, start, Ok(()), stop).await,
        Begin::Anew(start) => {
            let arrived = again::arrival(builds, &start.row.worker, &stop).await;
            begin_new(builds, start, arrived, stop).await
        }
        Begin::Again(again) => again::begin(builds, *again, stop).await?,
    };
    let mut pace = Pace::new(std::time::Instant::now());
    loop {
        let Effects { persist, send } = effects;
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
async fn broken(builds: &Builds, row: BuildRow, reason: &str) -> Result<Outcome, Unrecorded> {
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
pub(super) async fn commit(builds: &Builds, row: &BuildRow, persist: Vec<Persist>) -> Result<(), Unrecorded> {
    let parts = &builds.0.parts;
    parts.fatal.commit(&parts.store, persist).await.map(drop).map_err(|error| {
        tracing::error!(build = %row.id, error = chain(&error), "failed to write rows of a build");
        Unrecorded { error }
    })
}

pub(super) struct Driver<'a> {
    pub(super) builds: &'a Builds,
    config: Arc<config::Master>,
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

/// How a run of a component ended, before its build judges it.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) summary: Option<String>,
    pub(super) fault: Option<String>,
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
        // What ends with the master is no fault of the build.
        if let Some(outcome) = end
            && !(outcome == Outcome::Retry && *self.stop.borrow() == Stop::Shutdown)
        {
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
            Stop::No => return,
            Stop::Step { step, reason } => {
                if self.build.step().is_none_or(|now| now.id != *step) {
                    return;
                }
                Event::StepInterrupted { reason: reason.clone() }
            }
            Stop::Cancel(reason) => Event::Interrupted { reason: reason.clone() },
            Stop::Shutdown => {
                // That is no fault of the build: it gets its last try after the restart.
                self.build.set_last_try(None);
                Event::WorkerLost { reason: SHUTDOWN.to_owned() }
            }
        };
        let Effects { persist, send } = self.on(event);
        // The step itself listens to the same channel.
        debug_assert!(persist.is_empty() && send.len() <= 1, "BUG: an interrupt that writes");
    }

    /// Runs a step and records its end.
    async fn step(&mut self, spec: StepSpec, mut begun: Vec<Persist>) -> Result<Effects, Unrecorded> {
        let parts = &self.builds.0.parts;
        let resolved = self.generation.resolve(HookKind::BuildStep, &spec.hook);
        let (hook, digest) = match &resolved {
            Ok(resolved) => (resolved.qualified(), resolved.plugin.digest),
            Err(_) => (spec.hook.clone(), Digest::of(b"")),
        };
        let id = parts.store.ids().next_step();
        let effects = self.on(Event::StepBegan { id, hook, digest });
        begun.extend(effects.persist);
        let step = self.build.step().expect("it began just now").clone();
        let now = RunningStep { id, position: step.position, name: step.name.clone() };
        self.builds.now_runs(step.build, Some(now));
        let build = step.build.0;
        parts.events.tell(|| view::Event::StepStarted { build, step: view::Step::of(&step, Vec::new()) });
        self.go_through(spec, begun, step, None).await
    }

    /// Brings the step that runs to its end, and records that. `resumed` is what it did before the master was killed.
    pub(super) async fn go_through(
        &mut self,
        spec: StepSpec,
        mut begun: Vec<Persist>,
        mut step: StepRow,
        resumed: Option<Resumed>,
    ) -> Result<Effects, Unrecorded> {
        let resolved = self.generation.resolve(HookKind::BuildStep, &spec.hook);
        let mut locks = None;
        let (ended, remains) = match resolved {
            Ok(resolved) => match self.do_step(spec.do_step_if.as_ref(), &step).await {
                Ok(true) => match self.lock(&spec, &mut step, &mut begun).await? {
                    Ok(held) => {
                        locks = held;
                        self.run(&resolved, &spec, begun, step, resumed).await
                    }
                    Err(ended) => (ended, self.nothing_ran(begun, step)),
                },
                Ok(false) => (skipped(), self.nothing_ran(begun, step)),
                Err(why) => (exception(why), self.nothing_ran(begun, step)),
            },
            Err(error) => {
                // Configured hooks were checked; this is one that vanished between check and start.
                (exception(error.to_string()), self.nothing_ran(begun, step))
            }
        };
        self.builds.now_runs(self.build.row().id, None);
        let effects = self.record_end(&spec, ended, remains).await;
        drop(locks);
        effects
    }

    async fn run(
        &mut self,
        resolved: &Resolved,
        spec: &StepSpec,
        mut begun: Vec<Persist>,
        mut step: StepRow,
        resumed: Option<Resumed>,
    ) -> (Ended, Remains) {
        let Given { args, env } = match self.give(resolved, spec).await {
            Ok(given) => given,
            Err(why) => return (exception(why), self.nothing_ran(begun, step)),
        };
        if !self.computed.is_empty() {
            // Before anything comes of it.
            step.computed.clone_from(&self.computed);
            begun.push(Persist::PutStep { fence: self.build.row().fence, step: step.clone() });
        }
        let parts = &self.builds.0.parts;
        let gone = match &resumed {
            Some(_) => parts.clock.now().ms_since(step.started.plus_ms(step.waited_ms)),
            None => 0,
        };
        let ms = spec.deadline_ms.unwrap_or(self.config.step_deadline_ms);
        let (deadline, step_id) = (deadline(ms, gone), step.id);
        let used = format!("builder {}, step {} ({})", self.builder.name, step.position + 1, step.name);
        let (port, came_home) = step_port::port(StepContext {
            store: parts.store.clone(),
            links: parts.links.clone(),
            clock: Arc::clone(&parts.clock),
            events: parts.events.clone(),
            config: Arc::clone(&self.config),
            generation: Arc::clone(&self.generation),
            hooks: self.hooks.clone(),
            builder: Arc::clone(&self.builder),
            worker: Arc::clone(&self.worker),
            env,
            secrets: Arc::clone(&self.secrets),
            own_templates: OwnTemplates::of(resolved, &self.config, &self.secrets.placeholders),
            build: self.build.row().clone(),
            step,
            steps: self.build.steps(),
            waiting_bytes: self.build.waiting_bytes(),
            begun,
            stop: self.stop.clone(),
            deadline: deadline.clone(),
            runtime: parts.runtime.clone(),
            rights: Rights::of(resolved, &self.config),
            io: tokio::runtime::Handle::current(),
            builds: self.builds.clone(),
            resumed,
            used: used.clone(),
        });
        let runtime = parts.runtime.clone();
        let mut run =
            Box::pin(runtime.run_step(&resolved.plugin, &resolved.hook, &args, &used, Box::new(port)));
        let mut overdue = false;
        let mut last: Option<(Instant, &str)> = None;
        let ended = loop {
            let over = tokio::select! {
                end = &mut run => break judged(end.result, resolved),
                changed = self.stop.changed() => changed.is_err(),
                () = sleep_until(last.map(|(at, _)| at)) => true,
                () = sleep_until(deadline.at), if !overdue => {
                    // The port tells the step; here is who sees to it.
                    overdue = true;
                    let next = Instant::now() + parts.stop_grace;
                    last = Some(last.unwrap_or((next, "it did not stop at its deadline")));
                    continue;
                }
            };
            if over {
                let what = last.map_or("its build was given up", |(_, what)| what);
                let (plugin, digest) = (&resolved.plugin.name, resolved.plugin.digest.short());
                let call = HookKind::BuildStep.function();
                break exception(format!("plugin `{plugin}` ({digest}) failed in `{call}`: {what}"));
            }
            let (grace, what) = match &*self.stop.borrow() {
                Stop::No => continue,
                Stop::Step { step: other, .. } if *other != step_id => continue,
                Stop::Step { .. } | Stop::Cancel(_) => {
                    (parts.stop_grace, "it did not stop when it was asked to")
                }
                Stop::Shutdown => (SHUTDOWN_GRACE, "it was cut off: the master shut down"),
            };
            self.heed_stop();
            // Another word brings the end nearer, and never farther away.
            let next = Instant::now() + grace;
            if last.is_none_or(|(at, _)| next < at) {
                last = Some((next, what));
            }
        };
        // A step that heeds its deadline at once may end before this task has seen the time.
        let overdue = overdue || deadline.at.is_some_and(|at| at <= Instant::now());
        let ended = if overdue { too_late(ended, &deadline.reason) } else { ended };
        // Dropping an unfinished run ends the guest, and its port comes home.
        drop(run);
        let state = came_home.await.expect("BUG: a port that was dropped came home");
        let grace = if *self.stop.borrow() == Stop::Shutdown { SHUTDOWN_GRACE } else { parts.stop_grace };
        (ended, state.finish(Instant::now() + grace).await)
    }

    pub(super) fn nothing_ran(&self, begun: Vec<Persist>, step: StepRow) -> Remains {
        Remains {
            build: self.build.row().clone(),
            step,
            added: Vec::new(),
            persist: begun,
            acks: Vec::new(),
            fault: None,
            worker_lost: None,
        }
    }

    /// One commit with what is left of the step's logs, its row, and (after the last) the build's end.
    pub(super) async fn record_end(
        &mut self,
        spec: &StepSpec,
        ended: Ended,
        remains: Remains,
    ) -> Result<Effects, Unrecorded> {
        let Remains { build: mut row, mut step, added, mut persist, acks, fault, worker_lost } = remains;
        self.heed_news();
        if let Some(reason) = worker_lost {
            // Without effects: the step's end, right below, has them.
            self.lose(reason);
        }
        let mut outcome = if fault.is_some() { Outcome::Exception } else { ended.outcome };
        let mut fault = fault.or(ended.fault);
        step.summary = ended.summary.unwrap_or(step.summary);
        let counts_as = self.build.outcome_of(outcome);
        let hidden = self.hide_step(spec.hide_step_if.as_ref(), &row, &step, counts_as).await;
        let hidden = hidden.unwrap_or_else(|why| {
            outcome = outcome.worst(Outcome::Exception);
            fault.get_or_insert(why);
            false
        });
        let computed = std::mem::take(&mut self.computed);
        computed.iter().for_each(|computed| record(&mut row.components, component(computed)));
        let ended = StepEnded {
            outcome,
            summary: step.summary,
            hidden,
            computed,
            urls: step.urls,
            tests: step.tests,
            fault,
            added,
            properties: row.properties,
            components: row.components,
        };
        // Only a commit with logs can fail for lack of room for them.
        let has_logs = persist.iter().any(|persist| matches!(persist, Persist::AppendLog { .. }));
        let retry = has_logs.then(|| (self.build.clone(), ended.clone(), without_logs(&persist)));
        let mut effects = self.on(Event::StepEnded(ended));
        let mut finished = finished_step(&effects);
        persist.append(&mut effects.persist);
        let mut committed = commit(self.builds, self.build.row(), persist).await;
        if let (
            Err(Unrecorded { error: full @ CommitError::LogsFull { .. } }),
            Some((build, again, mut rows)),
        ) = (&committed, retry)
        {
            tracing::error!(build = %build.row().id, error = chain(full), "no room for a log");
            let mut ended = again;
            ended.outcome = ended.outcome.worst(Outcome::Exception);
            ended.fault = Some(chain(full));
            self.build = build;
            effects = self.on(Event::StepEnded(ended));
            finished = finished_step(&effects);
            rows.append(&mut effects.persist);
            committed = commit(self.builds, self.build.row(), rows).await;
        }
        let parts = &self.builds.0.parts;
        // What can never be written may be forgotten, too. What only the store's end kept from being
        // written may not.
        if !matches!(&committed, Err(Unrecorded { error }) if is_gone(error)) {
            acknowledge(&parts.links, &self.build.row().worker, acks);
        }
        committed?;
        let build = finished.build.0;
        parts
            .events
            .tell(|| view::Event::StepFinished { build, step: view::Step::of(&finished, Vec::new()) });
        Ok(effects)
    }

    async fn end(&mut self, outcome: Outcome, persist: Vec<Persist>) -> Result<Outcome, Unrecorded> {
        // Where there was a step, its commit had the build's end.
        if !persist.is_empty() {
            commit(self.builds, self.build.row(), persist).await?;
        }
        let row = self.build.row();
        self.builds.0.parts.events.tell(|| view::Event::BuildFinished(view::Build::of(row)));
        Ok(outcome)
    }
}

/// The row of the step that these effects record.
fn finished_step(effects: &Effects) -> StepRow {
    let row = effects.persist.iter().find_map(|persist| match persist {
        Persist::PutStep { step, .. } => Some(step.clone()),
        _ => None,
    });
    row.expect("BUG: the end of a step that records no step")
}

pub(super) fn exception(fault: String) -> Ended {
    Ended { outcome: Outcome::Exception, summary: None, fault: Some(fault) }
}

/// A step that its condition kept from running.
fn skipped() -> Ended {
    let summary = Some("skipped by the condition `do_step_if`".to_owned());
    Ended { outcome: Outcome::Skipped, summary, fault: None }
}

/// When a step has had its time, of which so much is gone.
fn deadline(ms: u64, gone: u64) -> Deadline {
    let reason = format!("its deadline of {} s has passed", Duration::from_millis(ms).as_secs_f64());
    Deadline { at: Instant::now().checked_add(Duration::from_millis(ms.saturating_sub(gone))), reason }
}

/// What the end of a step means whose deadline had passed: one that stopped, as it was asked to, has failed.
fn too_late(ended: Ended, reason: &str) -> Ended {
    match ended.outcome {
        Outcome::Success | Outcome::Warnings | Outcome::Failure | Outcome::Skipped | Outcome::Cancelled => {
            Ended { outcome: Outcome::Failure, summary: Some(reason.to_owned()), fault: None }
        }
        Outcome::Exception | Outcome::Retry => ended,
    }
}

/// What a run's end means: the guest's own failure may be worth a retry, all others are exceptions.
fn judged(result: Result<StepResult, Fault>, resolved: &Resolved) -> Ended {
    match result {
        Ok(StepResult { outcome, summary }) => Ended { outcome, summary, fault: None },
        Err(fault) => {
            let outcome = match &fault.kind {
                FaultKind::Failed(failure) if failure.retryable => Outcome::Retry,
                FaultKind::Failed(failure) if failure.code == "interrupted" => Outcome::Cancelled,
                FaultKind::Failed(_)
                | FaultKind::Trap(_)
                | FaultKind::Cpu(_)
                | FaultKind::Wall(_)
                | FaultKind::Memory(_)
                | FaultKind::BadAnswer(_) => Outcome::Exception,
            };
            tracing::warn!(plugin = resolved.plugin.name, %fault, "a step gave no result");
            Ended { outcome, summary: None, fault: Some(fault.to_string()) }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
