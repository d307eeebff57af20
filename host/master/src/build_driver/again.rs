//! How the task of a build begins that ran when the master was killed.

use std::sync::Arc;

use tokio::sync::watch;
use windlass_core::build::{Build, Effects, Event, Stands};
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::id::StepId;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_runtime::registry::Generation;

use super::run::{Begin, Driver, Halt, commit};
use super::step::Ended;
use super::{Builds, chain};
use crate::dispatcher::BuildStart;
use crate::recovery::TakeUp;
use crate::step_port::{Remains, Resumed, Stop};

/// A build that goes on.
pub(super) struct Again {
    pub(super) build: Build,
    builder: Arc<Builder>,
    generation: Arc<Generation>,
    /// The step that ran, with what it did so far; none: the build stands between two steps.
    running: Option<(StepSpec, Option<Resumed>)>,
}

impl Begin {
    /// A build of which no step has begun begins as a new one does.
    pub(super) fn of(taken: TakeUp) -> Begin {
        let TakeUp { build, stands, builder, generation, stop: _, resumed, requests, detached: _ } = taken;
        let running = match stands {
            Stands::New => {
                let (requests, buildsets) = requests.into_iter().unzip();
                let row = build.row().clone();
                return Begin::Anew(BuildStart { row, builder, requests, buildsets, generation });
            }
            Stands::Between => None,
            Stands::Running(spec) => Some((spec, resumed)),
        };
        Begin::Again(Box::new(Again { build, builder, generation, running }))
    }
}

/// Goes on up to what follows first: the end of the step that ran, or the next step.
pub(super) async fn begin(
    builds: &Builds,
    again: Again,
    stop: watch::Receiver<Stop>,
) -> Result<(Driver<'_>, Effects), Halt> {
    let Again { build, builder, generation, running } = again;
    let arrived = match arrival(builds, &build.row().worker, &stop).await {
        Ok(arrived) => arrived,
        Err(halt) => {
            if let (Some((_, Some(resumed))), Some(step)) = (running, build.step()) {
                leave(builds, build.row(), step.id, resumed).await?;
            }
            return Err(halt);
        }
    };
    let config = Arc::clone(&builds.0.world.load().config);
    let mut driver = Driver::new(builds, config, builder, generation, build, stop);
    let effects = match (running, arrived) {
        (None, arrived) => {
            driver.heed_news();
            if let Err(reason) = arrived {
                driver.lose(reason);
            }
            driver.on(Event::Started)
        }
        (Some((spec, resumed)), Ok(())) => {
            let step = driver.build.step().expect("BUG: a build without the step that runs").clone();
            driver.recorded = step.computed.clone().into();
            driver.go_through(spec, Vec::new(), StepRow { computed: Vec::new(), ..step }, resumed).await?
        }
        (Some((spec, _)), Err(reason)) => driver.give_up_step(spec, reason).await?,
    };
    Ok((driver, effects))
}

/// Leaves a step that has not gone on to the next master.
pub(super) async fn leave(
    builds: &Builds,
    build: &BuildRow,
    step: StepId,
    resumed: Resumed,
) -> Result<(), Halt> {
    let left = resumed.part(build, step);
    commit(builds, build, vec![left]).await
}

/// Waits for the worker of a build of the last run: what templates know of it, it says when it connects, and no command
/// can begin before. The inner error says, for people, why it is waited for no longer.
pub(super) async fn arrival(
    builds: &Builds,
    worker: &str,
    stop: &watch::Receiver<Stop>,
) -> Result<Result<(), String>, Halt> {
    let mut stop = stop.clone();
    tokio::select! {
        arrived = builds.0.parts.links.arrival(worker) => Ok(arrived),
        // The task holds what would end this.
        Ok(_) = stop.wait_for(|stop| *stop == Stop::Shutdown) => Err(Halt::Left),
    }
}

impl Driver<'_> {
    /// The build's worker is gone, or has not come back.
    pub(super) fn lose(&mut self, reason: String) {
        let Effects { persist, send } = self.on(Event::WorkerLost { reason });
        debug_assert!(persist.is_empty() && send.is_empty(), "BUG: a loss that writes");
    }

    /// Ends the step that ran: its worker has not come back.
    async fn give_up_step(&mut self, spec: StepSpec, reason: String) -> Result<Effects, Halt> {
        let step = self.build.step().expect("BUG: a build without the step that runs").clone();
        let (store, now) = (&self.builds.0.parts.store, self.builds.0.parts.clock.now());
        let logs = store.logs(step.build).unwrap_or_else(|error| {
            tracing::error!(build = %step.build, error = chain(&error), "failed to read its logs");
            Vec::new()
        });
        let fence = self.build.row().fence;
        let unfinished = logs.into_iter().filter(|log| log.step == step.id && !log.finished);
        let finish = |log: LogRow| LogRow { finished: true, ended: Some(now), ..log };
        let persist = unfinished.map(|log| Persist::PutLog { fence, log: finish(log) }).collect();
        let ended = Ended { outcome: Outcome::Retry, summary: Some(reason.clone()), fault: None };
        let remains = Remains { worker_lost: Some(reason), ..self.nothing_ran(persist, step) };
        self.record_end(&spec, ended, remains).await
    }
}
