//! Builds as they go, a line for each thing that happens: for `force --wait` and the demo.

use std::collections::BTreeMap;

use windlass_core::outcome::Outcome;
use windlass_master::view::{self, Event};
use windlass_web::client::{Client, Lines};

use crate::exit::Failed;
use crate::output::{FAINT, HEADING, RUNNING, WARN, duration, outcome_style, paint, tame};

/// How long nothing may happen before somebody who waits is told why.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Follows the events of a master, and prints those of the builds that serve certain requests.
#[derive(Debug)]
pub struct Progress {
    events: Lines<Event>,
    builds: BTreeMap<u64, view::Build>,
    requests: Option<Vec<u64>>,
    quiet: bool,
}

impl Progress {
    /// Listens from now on. Nothing that is asked for after this can be missed.
    pub async fn listen(client: &Client, quiet: bool) -> Result<Progress, Failed> {
        let events = client.follow("/api/v1/events").await?;
        Ok(Progress { events, builds: BTreeMap::new(), requests: None, quiet })
    }

    /// Shows only the builds that serve one of these requests.
    pub fn only(&mut self, requests: &[u64]) {
        self.requests.get_or_insert_default().extend(requests);
    }

    /// The next thing that happened to a build that is shown, printed.
    pub async fn next(&mut self) -> Result<Event, Failed> {
        loop {
            let Some(event) = self.events.next().await else {
                return Err(anyhow::anyhow!("the master went away").into());
            };
            let event = event?;
            if self.take(&event) {
                return Ok(event);
            }
        }
    }

    /// Waits until each of these requests was served by a build that has ended, or by none because it
    /// was cancelled; answers the last build of each. As long as no build has started, it says why.
    pub async fn until_done(&mut self, client: &Client, buildset: u64) -> Result<view::Buildset, Failed> {
        let mut said = None;
        loop {
            let state: view::Buildset = client.get(&format!("/api/v1/buildsets/{buildset}")).await?;
            if state.outcome.is_some() {
                return Ok(state);
            }
            let is_ahead = |event: &Event| !matches!(event, Event::BuildFinished(_) | Event::Missed { .. });
            let settled = async {
                while is_ahead(&self.next().await?) {}
                Ok::<(), Failed>(())
            };
            match tokio::time::timeout(LOOK_AGAIN, settled).await {
                Ok(settled) => settled?,
                Err(_) if self.waits(&state) => self.say_why(client, &state, &mut said).await?,
                Err(_) => {}
            }
        }
    }

    /// Whether no build that was seen serves these requests.
    fn waits(&self, buildset: &view::Buildset) -> bool {
        let ours = |id: &u64| buildset.requests.iter().any(|request| request.id == *id);
        !self.builds.values().any(|build| build.requests.iter().any(ours))
    }

    /// Says what the requests wait for, if that is something else than was said last.
    async fn say_why(
        &self,
        client: &Client,
        buildset: &view::Buildset,
        said: &mut Option<String>,
    ) -> Result<(), Failed> {
        let status: view::Status = client.get("/api/v1/status").await?;
        for request in &buildset.requests {
            let builder = status.builders.iter().find(|builder| builder.name == request.builder);
            let Some(why) = builder.and_then(|builder| Some(builder.waiting.as_ref()?.why.clone())) else {
                continue;
            };
            if said.as_ref() != Some(&why) {
                let withdraw = match said {
                    None => format!(" (`windlass cancel {}` withdraws it)", request.id),
                    Some(_) => String::new(),
                };
                let waits = paint(WARN, format_args!("request {} waits:", request.id));
                self.line(format_args!("{waits} {}{withdraw}", tame(&why)));
                *said = Some(why);
            }
        }
        Ok(())
    }

    /// The builds seen so far, by number.
    #[must_use]
    pub fn builds(&self) -> &BTreeMap<u64, view::Build> {
        &self.builds
    }

    fn shown(&self, build: &view::Build) -> bool {
        self.requests.as_ref().is_none_or(|wanted| build.requests.iter().any(|r| wanted.contains(r)))
    }

    /// Remembers and prints; false: it concerns nothing that is shown.
    fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::BuildStarted(build) if self.shown(build) => {
                self.builds.insert(build.id, build.clone());
                let what = format!("{} on {}", tame(&build.builder), tame(&build.worker));
                self.say(build.id, format_args!("{} {what}", paint(RUNNING, "started")));
            }
            Event::StepStarted { build, step } if self.builds.contains_key(build) => {
                self.say(*build, format_args!("  {} {}", paint(RUNNING, "step"), tame(&step.name)));
            }
            Event::StepFinished { build, step } if self.builds.contains_key(build) => {
                let took = step.ended.map_or(0, |e| e.ms_since(step.started));
                let outcome = paint(outcome_style(step.outcome), crate::output::outcome_word(step.outcome));
                let summary = match step.summary.as_str() {
                    "" => String::new(),
                    summary => paint(FAINT, format_args!(": {}", tame(summary))),
                };
                self.say(
                    *build,
                    format_args!("  {outcome} {} in {}{summary}", tame(&step.name), duration(took)),
                );
                if let Some(fault) = &step.fault {
                    self.say(*build, format_args!("  {}", paint(WARN, tame(fault))));
                }
            }
            Event::BuildFinished(build) if self.shown(build) => {
                self.builds.insert(build.id, build.clone());
                let outcome = paint(outcome_style(build.outcome), crate::output::outcome_word(build.outcome));
                let took = crate::query::took(build);
                self.say(build.id, format_args!("{outcome} {} in {took}", tame(&build.builder)));
            }
            Event::LogStarted { build, .. } if self.builds.contains_key(build) => {}
            Event::Reconfigured { generation } if self.requests.is_none() => {
                self.line(format_args!(
                    "{}",
                    paint(HEADING, format_args!("generation {generation} is live"))
                ));
            }
            Event::WorkerLost { worker, reason } => {
                self.line(format_args!(
                    "{}",
                    paint(WARN, format_args!("worker {} is gone: {}", tame(worker), tame(reason)))
                ));
            }
            Event::WorkerConnected { worker } if self.requests.is_none() => {
                self.line(format_args!("worker {} connected", tame(worker)));
            }
            Event::Missed { .. } => {}
            Event::BuildStarted(_)
            | Event::StepStarted { .. }
            | Event::StepFinished { .. }
            | Event::BuildFinished(_)
            | Event::LogStarted { .. }
            | Event::Reconfigured { .. }
            | Event::WorkerConnected { .. }
            | Event::Submitted { .. }
            | Event::Change(_) => return false,
        }
        true
    }

    fn say(&self, build: u64, what: std::fmt::Arguments<'_>) {
        self.line(format_args!("{} {what}", paint(HEADING, format_args!("build {build}"))));
    }

    /// To standard error: standard output is for what was asked for.
    fn line(&self, what: std::fmt::Arguments<'_>) {
        if !self.quiet {
            anstream::eprintln!("{what}");
        }
    }
}

/// Whether an outcome is one that a person is content with.
#[must_use]
pub fn content(outcome: Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Success | Outcome::Warnings | Outcome::Skipped))
}
