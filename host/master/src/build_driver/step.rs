//! One step of a build: from its beginning to the commit of its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::build::{Effects, Event, StepEnded, record};
use windlass_core::builder::StepSpec;
use windlass_core::digest::Digest;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::policy::{Fault, FaultKind, HookKind};
use windlass_core::record::StepRow;
use windlass_runtime::StepResult;
use windlass_runtime::registry::Resolved;
use windlass_store::CommitError;

use super::again;
use super::rendering::component;
use super::run::{Driver, Halt, commit};
use super::{RunningStep, chain};
use crate::fatal::is_gone;
use crate::secrets::OwnTemplates;
use crate::step_port::rights::Rights;
use crate::step_port::{self, Deadline, Remains, Resumed, StepContext, Stop, acknowledge, without_logs};
use crate::view;

/// How a run of a component ended, before its build judges it.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) summary: Option<String>,
    pub(super) fault: Option<String>,
}

impl Driver<'_> {
    /// Runs a step and records its end.
    pub(super) async fn step(&mut self, spec: StepSpec, mut begun: Vec<Persist>) -> Result<Effects, Halt> {
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
    ) -> Result<Effects, Halt> {
        let resolved = self.generation.resolve(HookKind::BuildStep, &spec.hook);
        let mut locks = None;
        let (ended, remains) = match resolved {
            Ok(resolved) => match self.runs(&spec, &step, resumed.as_ref()).await {
                Ok(true) => match self.lock(&spec, &mut step, &mut begun).await {
                    Ok(Ok(held)) => {
                        locks = held;
                        self.run(&resolved, &spec, begun, step, resumed).await?
                    }
                    Ok(Err(ended)) => (ended, self.nothing_ran(begun, step)),
                    Err(Halt::Left) => {
                        if let Some(resumed) = resumed {
                            again::leave(self.builds, self.build.row(), step.id, resumed).await?;
                        }
                        return Err(Halt::Left);
                    }
                    Err(halt) => return Err(halt),
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

    /// Whether the step runs. One that was given its arguments before the master's end did.
    async fn runs(
        &mut self,
        spec: &StepSpec,
        step: &StepRow,
        resumed: Option<&Resumed>,
    ) -> Result<bool, String> {
        if resumed.is_some_and(|resumed| resumed.given().is_some()) {
            self.computed = std::mem::take(&mut self.recorded).into();
            return Ok(true);
        }
        self.do_step(spec.do_step_if.as_ref(), step).await
    }

    async fn run(
        &mut self,
        resolved: &Resolved,
        spec: &StepSpec,
        mut begun: Vec<Persist>,
        mut step: StepRow,
        resumed: Option<Resumed>,
    ) -> Result<(Ended, Remains), Halt> {
        let before = resumed.as_ref().and_then(Resumed::given).cloned();
        let given = match before {
            Some(given) => Ok(given),
            None => self.give(resolved, spec).await,
        };
        let given = match given {
            Ok(given) => given,
            Err(why) => return Ok((exception(why), self.nothing_ran(begun, step))),
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
            given: given.clone(),
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
            Box::pin(runtime.run_step(&resolved.plugin, &resolved.hook, &given.args, &used, Box::new(port)));
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
            let asked = self.stop.borrow().clone();
            match asked {
                Stop::No => continue,
                Stop::Step { step: other, .. } if other != step_id => continue,
                Stop::Step { .. } | Stop::Cancel(_) => {}
                Stop::Shutdown => {
                    drop(run);
                    let state = came_home.await.expect("BUG: a port that was dropped came home");
                    state.leave().await;
                    return Err(Halt::Left);
                }
            }
            self.heed_stop();
            // Another word brings the end nearer, and never farther away.
            let next = Instant::now() + parts.stop_grace;
            if last.is_none_or(|(at, _)| next < at) {
                last = Some((next, "it did not stop when it was asked to"));
            }
        };
        // A step that heeds its deadline at once may end before this task has seen the time.
        let overdue = overdue || deadline.at.is_some_and(|at| at <= Instant::now());
        let ended = if overdue { too_late(ended, &deadline.reason) } else { ended };
        // Dropping an unfinished run ends the guest, and its port comes home.
        drop(run);
        let state = came_home.await.expect("BUG: a port that was dropped came home");
        let remains = state.finish(Instant::now() + parts.stop_grace).await.ok_or(Halt::Left)?;
        Ok((ended, remains))
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
    ) -> Result<Effects, Halt> {
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
        if let (Err(Halt::Unrecorded(full @ CommitError::LogsFull { .. })), Some((build, again, mut rows))) =
            (&committed, retry)
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
        if !matches!(&committed, Err(Halt::Unrecorded(error)) if is_gone(error)) {
            acknowledge(&parts.links, &self.build.row().worker, acks);
        }
        committed?;
        let build = finished.build.0;
        parts
            .events
            .tell(|| view::Event::StepFinished { build, step: view::Step::of(&finished, Vec::new()) });
        Ok(effects)
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
