//! Buildsets that a step submits, and those that it waits for.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use windlass_config::config::{Master, Scheduler, SchedulerKind};
use windlass_core::change::SourceStamp;
use windlass_core::id::{BuildsetId, RequestId};
use windlass_core::journal::Call;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::properties::Properties;
use windlass_core::request::Parent;
use windlass_core::value::{Failure, Value};
use windlass_runtime::port::Submission;

use super::StepState;
use crate::build_driver::chain;
use crate::dispatcher::{Standing, StepLocks};
use crate::fatal::is_gone;
use crate::hint::hint;
use crate::submission::Order;

/// The most buildsets of one step.
const MAX_BUILDSETS: usize = 1_000;

/// What a buildset is to the build whose step submits it, as Buildbot calls it.
const RELATIONSHIP: &str = "Triggered from";

/// The buildsets of one run of a step.
#[derive(Default)]
pub(super) struct Children {
    /// Those that it tried to submit, refused ones among them.
    submitted: usize,
    /// Those that it waits for.
    awaited: BTreeMap<u64, Awaited>,
    /// One task for each of them, which ends with it. None: the store has closed.
    ends: JoinSet<Option<(u64, Outcome)>>,
    /// The dispatcher knows of the wait as long as this lives.
    wait: Option<StepLocks>,
}

/// A buildset that the step waits for.
struct Awaited {
    /// Each with its builder.
    requests: Vec<(RequestId, String)>,
    /// Listens for its end.
    ears: Option<AbortHandle>,
}

/// What a wait for buildsets brings.
pub(super) enum News {
    Ended(u64, Outcome),
    /// None of them can ever end; the text names the circle.
    Stuck(String),
}

impl Children {
    /// Resolves when there is news. Safe to drop while it waits.
    pub(super) async fn news(&mut self) -> News {
        let Children { ends, wait, .. } = self;
        loop {
            let stuck = async {
                match wait {
                    Some(wait) => stuck(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = ends.join_next() => {
                    // A task that was aborted, or saw the store close, has nothing to tell.
                    if let Ok(Some((id, outcome))) = ended {
                        return News::Ended(id, outcome);
                    }
                }
                circle = stuck => return News::Stuck(circle),
                else => std::future::pending().await,
            }
        }
    }

    /// Hears of the end of one that it waits for.
    fn listen(&mut self, id: u64, mut end: watch::Receiver<Option<Outcome>>) {
        let ears = self.ends.spawn(async move {
            let outcome = *end.wait_for(Option::is_some).await.ok()?;
            outcome.map(|outcome| (id, outcome))
        });
        if let Some(awaited) = self.awaited.get_mut(&id) {
            awaited.ears = Some(ears);
        }
    }

    fn over(&mut self, id: u64) {
        if let Some(ears) = self.awaited.remove(&id).and_then(|awaited| awaited.ears) {
            // Of one that was not submitted after all they would listen for ever.
            ears.abort();
        }
        if self.awaited.is_empty() {
            self.wait = None;
        }
    }
}

/// Resolves when the wait turns out to be one for ever.
async fn stuck(wait: &mut StepLocks) -> String {
    loop {
        match wait.changed().await {
            Some(Standing::Refused(circle)) => return circle,
            Some(Standing::Asked | Standing::Held | Standing::Waits(_)) => {}
            None => return std::future::pending().await,
        }
    }
}

impl StepState {
    /// Submits a buildset of the step, durable once it returns.
    /// `args` is the call's, for the journal.
    pub(super) async fn submit(
        &mut self,
        submission: Submission,
        waited_for: bool,
        args: u64,
    ) -> Result<u64, Failure> {
        if self.children.submitted >= MAX_BUILDSETS {
            return Err(Failure::new("quota", format!("a step may submit {MAX_BUILDSETS} buildsets")));
        }
        let world = self.context.builds.present();
        let order = self.order(submission, waited_for, &world.config)?;
        let store = self.context.store.clone();
        let submission = order.number(store.ids(), self.context.clock.now());
        let id = submission.buildset.id;
        // One that is refused counts, too: it costs the dispatcher as much.
        self.children.submitted += 1;
        if waited_for {
            let requests = submission.requests.iter().map(|request| (request.id, request.builder.clone()));
            self.children.awaited.insert(id.0, Awaited { requests: requests.collect(), ears: None });
            if let Err(circle) = self.may_wait().await {
                self.forget_child(id.0).await;
                let message = format!("build {} would wait for ever: {circle}", self.context.build.id.0);
                return Err(Failure::new("deadlock", message));
            }
            // Listened for before it exists, so that no end is missed.
            match store.watch_buildset(id) {
                Ok(end) => self.children.listen(id.0, end),
                Err(error) => {
                    self.forget_child(id.0).await;
                    return Err(Failure::new("io", chain(&error)));
                }
            }
        }
        // What the step said before is durable before it; and the build's row refuses it if the build is somebody
        // else's by now.
        self.make_durable().await;
        let mut rows = vec![Persist::PutBuild(self.context.build.clone())];
        self.now = self.context.clock.now();
        // The journal has it if it exists, and only then.
        self.record(Call::Submit, args, &Ok::<u64, Failure>(id.0));
        rows.extend(self.drain_entries(self.context.build.id, self.context.step.id));
        if let Err(error) = self.context.builds.submit(rows, submission).await {
            self.forget_child(id.0).await;
            if is_gone(&error) {
                self.break_off(&chain(&error));
            }
            return Err(Failure::new("io", chain(&error)));
        }
        Ok(id.0)
    }

    /// The step submitted a buildset before the master's restart: if it waits for it, it does so again.
    pub(super) async fn submitted_before(&mut self, id: u64, waited_for: bool) -> Result<(), Failure> {
        self.children.submitted += 1;
        if !waited_for {
            return Ok(());
        }
        let store = self.context.store.clone();
        let io = |error: windlass_store::ReadError| Failure::new("io", chain(&error));
        let buildset = store.buildset(BuildsetId(id)).map_err(io)?;
        let requests = buildset.map(|buildset| store.requests(&buildset.requests)).transpose().map_err(io)?;
        let requests = requests.into_iter().flatten().map(|request| (request.id, request.builder));
        let end = store.watch_buildset(BuildsetId(id)).map_err(io)?;
        self.children.awaited.insert(id, Awaited { requests: requests.collect(), ears: None });
        self.children.listen(id, end);
        self.may_wait().await.map_err(|circle| {
            let message = format!("build {} would wait for ever: {circle}", self.context.build.id.0);
            Failure::new("deadlock", message)
        })
    }

    /// The step heard of its end before the master's restart.
    pub(super) fn child_ended_before(&mut self, id: u64) {
        self.children.over(id);
    }

    /// Something came of what the step waits for.
    pub(super) fn on_child(&mut self, news: News) {
        match news {
            News::Ended(id, outcome) => {
                if !self.children.awaited.contains_key(&id) {
                    // Heard of before the master's restart.
                    return;
                }
                self.children.over(id);
                self.queue(windlass_runtime::port::StepEvent::BuildsetDone { id, outcome });
            }
            News::Stuck(circle) => {
                self.children.wait = None;
                let build = self.context.build.id.0;
                self.break_off(&format!("build {build} would wait for ever: {circle}"));
            }
        }
    }

    /// The step has ended: nobody waits for its buildsets any more.
    pub(super) fn cancel_children(&mut self) {
        let children = std::mem::take(&mut self.children);
        if children.awaited.is_empty() {
            return;
        }
        let reason = match &self.interrupted {
            Some(reason) => format!("build {} was stopped: {reason}", self.context.build.id.0),
            None => format!("step {} of build {} has ended", self.context.step.name, self.context.build.id.0),
        };
        self.context.builds.cancel(children.awaited.into_keys().map(BuildsetId).collect(), reason);
    }

    /// A buildset was not submitted after all: the step waits for the others, as before.
    async fn forget_child(&mut self, id: u64) {
        self.children.over(id);
        if !self.children.awaited.is_empty() {
            // What it waited for before it may wait for again.
            self.may_wait().await.ok();
        }
    }

    /// Tells the dispatcher what the step waits for. The error names the circle in which it would wait for ever.
    async fn may_wait(&mut self) -> Result<(), String> {
        // Before the dispatcher hears of the new one, which stands in its place: dropped after that, the old one would
        // take the new one back.
        self.children.wait = None;
        let requests =
            self.children.awaited.values().flat_map(|awaited| &awaited.requests).cloned().collect();
        let Some(mut wait) = self.context.builds.wait_for(self.context.build.id, requests) else {
            return Ok(());
        };
        loop {
            match wait.changed().await {
                Some(Standing::Asked | Standing::Waits(_)) => {}
                Some(Standing::Refused(circle)) => return Err(circle),
                Some(Standing::Held) => break,
                // The master goes down, and will say so.
                None => return Ok(()),
            }
        }
        self.children.wait = Some(wait);
        Ok(())
    }

    /// What is to be submitted: builders and schedulers are those that the master has now.
    fn order(&self, submission: Submission, waited_for: bool, config: &Master) -> Result<Order, Failure> {
        let build = &self.context.build;
        let (mut builders, mut properties) = (Vec::new(), Properties::default());
        let served = self.context.store.requests(&build.requests);
        let served = served.map_err(|error| Failure::new("io", chain(&error)))?;
        let mut priority = served.iter().map(|request| request.priority).fold(submission.priority, i32::max);
        for name in &submission.schedulers {
            let scheduler = triggerable(name, config)?;
            builders.extend(scheduler.builders.iter().cloned());
            properties.extend(&scheduler.properties);
            properties.set("scheduler", Value::Text(scheduler.name.clone()), "Scheduler");
            priority = priority.max(scheduler.priority);
        }
        for name in submission.builders {
            if !config.builders.iter().any(|builder| builder.name == name) {
                let names = config.builders.iter().map(|builder| builder.name.as_str());
                return Err(not_there("builder", &name, names));
            }
            builders.push(name);
        }
        let mut seen = std::collections::BTreeSet::new();
        builders.retain(|builder| seen.insert(builder.clone()));
        if builders.is_empty() {
            return Err(Failure::new("bad-argument", "a buildset needs a builder or a scheduler"));
        }
        for pair in submission.properties {
            properties.set(&pair.name, pair.value, &self.context.step.name);
        }
        // In the name of a scheduler it can have others that depend on it.
        let submitter = match submission.schedulers.as_slice() {
            [one] => one.clone(),
            _ => format!("step {}", self.context.step.name),
        };
        let reason = match submission.reason.as_str() {
            "" => format!("{}: build {} of {}", self.context.step.name, build.number, build.builder),
            reason => reason.to_owned(),
        };
        let parent = Some(Parent { build: build.id, relationship: RELATIONSHIP.to_owned() });
        let stamps = stamps(submission.stamps, &build.stamps)?;
        Ok(Order { builders, submitter, reason, priority, stamps, properties, parent, waited_for })
    }
}

fn triggerable<'a>(name: &str, config: &'a Master) -> Result<&'a Scheduler, Failure> {
    match config.schedulers.iter().find(|scheduler| scheduler.name == name) {
        Some(scheduler) if scheduler.kind == SchedulerKind::Triggerable => Ok(scheduler),
        Some(scheduler) => {
            let kind = scheduler.kind.as_str();
            let message =
                format!("scheduler `{name}` is `{kind}`: a step triggers those of type `triggerable`");
            Err(Failure::new("bad-argument", message))
        }
        None => {
            let triggerable = config.schedulers.iter().filter(|s| s.kind == SchedulerKind::Triggerable);
            Err(not_there("triggerable scheduler", name, triggerable.map(|s| s.name.as_str())))
        }
    }
}

fn not_there<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    Failure::new("not-found", format!("there is no {what} `{name}`{}", hint(name, known)))
}

/// The stamps as a step gave them, with the build's own patches where it wants them.
fn stamps(asked: Vec<SourceStamp>, own: &[SourceStamp]) -> Result<Vec<SourceStamp>, Failure> {
    let mut seen = std::collections::BTreeSet::new();
    let mut stamps = Vec::with_capacity(asked.len());
    for mut stamp in asked {
        if !seen.insert(stamp.codebase.clone()) {
            let message = format!("there are two source stamps of codebase `{}`", stamp.codebase);
            return Err(Failure::new("bad-argument", message));
        }
        if stamp.patch.is_some() {
            let patched = own.iter().find(|own| own.codebase == stamp.codebase && own.patch.is_some());
            let Some(patched) = patched else {
                let message = format!("this build has no patch for codebase `{}` to hand on", stamp.codebase);
                return Err(Failure::new("bad-argument", message));
            };
            stamp.patch.clone_from(&patched.patch);
        }
        stamps.push(stamp);
    }
    Ok(stamps)
}
